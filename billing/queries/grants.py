"""Credits of accounts: what was granted, what is left, and where the rest went."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import F, Q, QuerySet, Sum, Window
from django.db.models.functions import Coalesce

from billing.models import CreditEntry, CreditGrant, CreditNote, Invoice
from billing.queries.visibility import visible_tenants
from billing.rules.grants import Balance, EntryKind, GrantState, Scope, Use
from tenants.errors import Invalid, NotFound
from tenants.rules.access import Permission, Viewer

STATES = tuple(s.value for s in GrantState)
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Used:
    """What one credit paid of an invoice."""

    grant_id: int
    name: str
    paid: bool
    amount: Decimal


def list_grants(
    viewer: Viewer, *, tenant_id: int | None = None, state: str = ""
) -> QuerySet[CreditGrant]:
    """Newest first, each with its `rest`."""
    if state and state not in STATES:
        raise Invalid(state=f"There is no state {state!r}; there are {', '.join(STATES)}")
    tenants = visible_tenants(viewer, tenant_id)
    rows = _with_rest(CreditGrant.objects.order_by("-id"))
    if tenants is not None:
        rows = rows.filter(tenant_id__in=tenants)
    return rows.filter(state=state) if state else rows


def get_grant(viewer: Viewer, grant_id: int) -> CreditGrant:
    row = _with_rest(CreditGrant.objects.filter(pk=grant_id)).first()
    if row is None:
        raise NotFound("There is nothing here, or it is not yours to see")
    viewer.require(Permission.VIEW_MONEY, row.tenant_id)
    return row


def list_entries(viewer: Viewer, grant: CreditGrant) -> QuerySet[CreditEntry]:
    """Newest first, each with what was left after it."""
    viewer.require(Permission.VIEW_MONEY, grant.tenant_id)
    left = Window(Sum("amount"), order_by=F("id").asc())
    rows = CreditEntry.objects.filter(grant=grant).annotate(left=left)
    return rows.select_related("invoice", "line", "note").order_by("-id")


def left_of(viewer: Viewer, tenant_id: int) -> dict[tuple[str, bool], Decimal]:
    """What an account can still use, by currency and whether it was paid for."""
    viewer.require(Permission.VIEW_MONEY, tenant_id)
    rows = CreditEntry.objects.filter(tenant_id=tenant_id)
    sums = rows.values_list("grant__currency", "grant__paid").annotate(s=Sum("amount"))
    found = sums.order_by("grant__currency", "grant__paid")
    return {(currency, paid): amount for currency, paid, amount in found if amount}


def used_on(invoice: Invoice) -> list[Used]:
    """In the order of use. For who may see the invoice."""
    rows = CreditEntry.objects.filter(invoice=invoice, kind=EntryKind.USED)
    found = rows.order_by("id").values_list("grant_id", "grant__name", "grant__paid", "amount")
    sums: dict[tuple[int, str, bool], Decimal] = {}
    for grant_id, name, paid, amount in found:
        place = (grant_id, name, paid)
        sums[place] = sums.get(place, ZERO) - amount
    return [Used(*place, amount) for place, amount in sums.items()]


def standing_uses(invoice: Invoice) -> dict[int, list[Use]]:
    """By line: what grants paid of it and no credit note undid, in the order of use."""
    kinds = (EntryKind.USED, EntryKind.UNDONE)
    rows = CreditEntry.objects.filter(invoice=invoice, kind__in=kinds).order_by("id")
    sums: dict[int, dict[int, Decimal]] = {}
    grants: dict[int, CreditGrant] = {}
    for entry in rows.select_related("grant"):
        assert entry.line_id is not None
        of_line = sums.setdefault(entry.line_id, {})
        of_line[entry.grant_id] = of_line.get(entry.grant_id, ZERO) - entry.amount
        grants[entry.grant_id] = entry.grant
    return {
        line_id: [_use(grants[pk], amount) for pk, amount in of_line.items() if amount]
        for line_id, of_line in sums.items()
    }


def _use(grant: CreditGrant, amount: Decimal) -> Use:
    has_ended = grant.state == GrantState.EXPIRED
    return Use(grant.pk, grant.name, grant.paid, has_ended, amount)


def lock_used(invoice: Invoice) -> None:
    """What paid of an invoice neither ends nor is spent until the transaction is over."""
    used = CreditEntry.objects.filter(invoice=invoice).values("grant_id")
    rows = CreditGrant.objects.select_for_update(no_key=True).filter(pk__in=used)
    list(rows.order_by("id"))


def undone_by(note: CreditNote) -> list[Used]:
    """What went back to credits, in the order of the note."""
    rows = CreditEntry.objects.filter(note=note).order_by("id")
    found = rows.values_list("grant_id", "grant__name", "grant__paid", "amount")
    return [Used(*row) for row in found]


def usable(tenant_id: int, currency: str, now: datetime) -> list[Balance]:
    """What an invoice may draw on. Locked: no other transaction spends it meanwhile."""
    rows = CreditGrant.objects.select_for_update(no_key=True).filter(
        Q(expires_at=None) | Q(expires_at__gt=now),
        tenant_id=tenant_id,
        currency=currency,
        state=GrantState.ACTIVE,
    )
    locked = list(rows.order_by("id"))
    rests = rests_of(locked)
    return [
        Balance(
            id=row.pk,
            name=row.name,
            paid=row.paid,
            priority=row.priority,
            expires_at=row.expires_at,
            scope=Scope(row.model, row.meter),
            rest=rests[row.pk],
        )
        for row in locked
        if rests.get(row.pk)
    ]


def rests_of(grants: list[CreditGrant]) -> dict[int, Decimal]:
    rows = CreditEntry.objects.filter(grant__in=grants).values_list("grant_id")
    return dict(rows.annotate(s=Sum("amount")).order_by("grant_id"))


def _with_rest(rows: QuerySet[CreditGrant]) -> QuerySet[CreditGrant]:
    return rows.annotate(rest=Coalesce(Sum("entries__amount"), ZERO))
