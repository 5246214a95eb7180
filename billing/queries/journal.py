"""The journal: legs, their transactions, and the trial balance that has to be zero."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import Q, QuerySet, Sum
from django.db.models.functions import Coalesce

from billing.models import JournalLeg, JournalTxn
from billing.queries.visibility import visible_tenants
from billing.rules.journal import ACCOUNTS, OF_CREDIT_NOTES, OF_INVOICES
from billing.rules.ledger import TITLES
from tenants.errors import NotFound
from tenants.rules.access import Permission, Viewer

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class JournalFilter:
    """What was posted in [start, end). Empty means any."""

    tenant_id: int | None = None
    account: str = ""
    kind: str = ""
    document: str = ""
    start: datetime | None = None
    end: datetime | None = None

    def of_txn(self, prefix: str = "txn__") -> Q:
        """Whole transactions, whose legs balance."""
        given = {
            "kind": self.kind,
            "document": self.document,
            "at__gte": self.start,
            "at__lt": self.end,
        }
        return Q(**{prefix + name: value for name, value in given.items() if value})


@dataclass(frozen=True, slots=True)
class TrialLine:
    currency: str
    account: str
    debit: Decimal
    credit: Decimal

    @property
    def title(self) -> str:
        return TITLES[self.account]

    @property
    def balance(self) -> Decimal:
        return self.debit - self.credit


@dataclass(frozen=True, slots=True)
class TrialBalance:
    lines: tuple[TrialLine, ...]

    @property
    def totals(self) -> dict[str, TrialLine]:
        """By currency; of a journal that is whole, the balance of each is zero."""
        found: dict[str, TrialLine] = {}
        for line in self.lines:
            old = found.get(line.currency, TrialLine(line.currency, "", ZERO, ZERO))
            found[line.currency] = TrialLine(
                line.currency, "", old.debit + line.debit, old.credit + line.credit
            )
        return found

    @property
    def holds(self) -> bool:
        return not any(total.balance for total in self.totals.values())


def list_legs(viewer: Viewer, wanted: JournalFilter) -> QuerySet[JournalLeg]:
    """Newest first. A tenant's people see their own."""
    rows = _visible(viewer, wanted).filter(wanted.of_txn())
    if wanted.account:
        rows = rows.filter(account=wanted.account)
    return rows.select_related("txn").order_by("-id")


def get_txn(viewer: Viewer, txn_id: int) -> JournalTxn:
    row = JournalTxn.objects.prefetch_related("legs").filter(pk=txn_id).first()
    if row is None:
        raise NotFound("There is nothing here, or it is not yours to see")
    viewer.require(Permission.VIEW_MONEY, row.tenant_id)
    return row


def trial_balance(viewer: Viewer, wanted: JournalFilter) -> TrialBalance:
    """Of whole transactions: the filter's account does not narrow it."""
    rows = _visible(viewer, wanted).filter(wanted.of_txn()).values_list("currency", "account")
    sums = rows.annotate(
        debits=Coalesce(Sum("amount", filter=Q(amount__gt=0)), ZERO),
        credits=Coalesce(Sum("amount", filter=Q(amount__lt=0)), ZERO),
    )
    found = [TrialLine(c, a, debit, -credit) for c, a, debit, credit in sums.order_by()]
    return TrialBalance(tuple(sorted(found, key=_place)))


def _place(line: TrialLine) -> tuple[str, int]:
    return line.currency, ACCOUNTS.index(line.account)


def _visible(viewer: Viewer, wanted: JournalFilter) -> QuerySet[JournalLeg]:
    tenants = visible_tenants(viewer, wanted.tenant_id)
    rows = JournalLeg.objects.all()
    return rows if tenants is None else rows.filter(tenant_id__in=tenants)


def invoice_of(txn: JournalTxn) -> str:
    return txn.document if txn.kind in OF_INVOICES else ""


def credit_note_of(txn: JournalTxn) -> str:
    return txn.document if txn.kind in OF_CREDIT_NOTES else ""


LEG_COLUMNS = (
    *("leg", "at", "transaction", "entry", "kind", "document", "tenant", "account"),
    *("currency", "debit", "credit"),
)


def leg_cells(legs: Iterable[JournalLeg], names: dict[int, str]) -> Iterable[tuple[Any, ...]]:
    """In the order of `LEG_COLUMNS`."""
    for leg in legs:
        yield (
            *(leg.pk, leg.txn.at, leg.txn_id, leg.txn.key, leg.txn.kind, leg.txn.document),
            *(names.get(leg.tenant_id, ""), leg.account, leg.currency),
            *(leg.debit, leg.credit),
        )
