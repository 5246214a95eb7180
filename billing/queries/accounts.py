"""Billing accounts: what a person set, or the defaults of the tenant's own row."""

from dataclasses import dataclass, fields
from decimal import Decimal

from django.db.models import OuterRef, QuerySet, Subquery, Sum

from billing.models import BillingAccount, JournalLeg
from billing.queries.money import find_tenant
from billing.queries.visibility import visible_tenants
from billing.rules.accounts import AccountTerms
from billing.rules.invoices import Tax, Terms
from billing.rules.journal import RECEIVABLE
from tenants.queries.directory import TenantRef, tenant_refs
from tenants.rules.access import Permission, Viewer

TERMS_DAYS = 30


@dataclass(frozen=True, slots=True)
class Account:
    tenant_id: int
    tenant: str  # slug
    name: str
    currency: str
    rate_source: str
    time_zone: str
    purchase_order: str
    terms_days: int
    rounding: str
    tax_per: str
    taxes: tuple[Tax, ...]
    rated_in: str  # the currency of its prices
    version: int  # 0: defaults, nobody set anything
    demo: bool

    @property
    def etag(self) -> str:
        return f'"{self.tenant_id}-{self.version}"'

    @property
    def chosen(self) -> AccountTerms:
        return AccountTerms(**{f.name: getattr(self, f.name) for f in fields(AccountTerms)})

    def terms(self, currency: str) -> Terms:
        return Terms(currency, self.rounding, self.taxes, self.tax_per)


def get_account(viewer: Viewer, slug: str) -> Account:
    tenant = find_tenant(viewer, slug)
    return accounts_of([tenant])[tenant.id]


def list_accounts(viewer: Viewer) -> list[Account]:
    visible_tenants(viewer, None)
    mine = [t for t in tenant_refs().values() if viewer.may(Permission.VIEW_MONEY, t.id)]
    return sorted(accounts_of(mine).values(), key=lambda a: a.tenant)


def accounts_of(tenants: list[TenantRef]) -> dict[int, Account]:
    """By tenant. In the scope that is open."""
    rows = BillingAccount.objects.filter(tenant_id__in=[t.id for t in tenants])
    stored = {row.tenant_id: row for row in rows}
    return {t.id: _account(t, stored.get(t.id)) for t in tenants}


def _account(tenant: TenantRef, row: BillingAccount | None) -> Account:
    return Account(
        tenant_id=tenant.id,
        tenant=tenant.slug,
        name=row.name if row else tenant.name,
        currency=row.currency if row else tenant.currency,
        rate_source=row.rate_source if row else "",
        rated_in=tenant.currency,
        time_zone=row.time_zone if row else tenant.time_zone,
        purchase_order=row.purchase_order if row else "",
        terms_days=row.terms_days if row else TERMS_DAYS,
        rounding=row.rounding if row else "HALF_EVEN",
        tax_per=row.tax_per if row else "invoice",
        taxes=read_taxes(row.taxes) if row else (),
        version=row.version if row else 0,
        demo=tenant.demo,
    )


def read_taxes(stored: list[dict[str, str]]) -> tuple[Tax, ...]:
    return tuple(Tax(t["name"], Decimal(t["rate"])) for t in stored)


def statement(viewer: Viewer, tenant_id: int) -> QuerySet[JournalLeg]:
    """What the account was billed, was given back and paid, with the balance after each."""
    viewer.require(Permission.VIEW_MONEY, tenant_id)
    rows = JournalLeg.objects.filter(tenant_id=tenant_id, account=RECEIVABLE)
    # A window would begin anew with the rows of each page.
    until = rows.filter(currency=OuterRef("currency"), id__lte=OuterRef("id")).order_by()
    balance = Subquery(until.values("currency").annotate(s=Sum("amount")).values("s"))
    return rows.annotate(balance=balance).select_related("txn").order_by("-id")


def balances(viewer: Viewer) -> dict[int, dict[str, Decimal]]:
    """What each account of the viewer owes, by currency."""
    tenants = visible_tenants(viewer, None)
    rows = JournalLeg.objects.filter(account=RECEIVABLE)
    if tenants is not None:
        rows = rows.filter(tenant_id__in=tenants)
    found: dict[int, dict[str, Decimal]] = {}
    sums = rows.values_list("tenant_id", "currency").annotate(s=Sum("amount"))
    for tenant_id, currency, amount in sums.order_by("tenant_id", "currency"):
        found.setdefault(tenant_id, {})[currency] = amount
    return found
