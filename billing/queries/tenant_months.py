"""All tenants of a viewer: this month beside the same span of the month before."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from billing.queries.money import budgets, month_amounts, span_amounts
from tenants.queries.directory import tenant_refs
from tenants.rules.access import Permission, Viewer
from tenants.rules.quotas import month_of

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class TenantMonth:
    """Of the UTC month, in the tenant's currency."""

    slug: str
    name: str
    currency: str
    amount: Decimal
    before: Decimal
    budget: Decimal | None
    demo: bool

    @property
    def used(self) -> Decimal | None:
        """Of the budget, 0 to 1 and above. None: there is none."""
        return self.amount / self.budget if self.budget else None

    @property
    def change(self) -> Decimal | None:
        """Of what was before; None: nothing was."""
        return (self.amount - self.before) / self.before if self.before else None


def tenant_months(viewer: Viewer, *, now: datetime) -> list[TenantMonth]:
    """The largest amount first."""
    month = month_of(now, "UTC")
    last = month_of(month.starts_at - timedelta(hours=1), "UTC")
    amounts = month_amounts(viewer, now=now)
    same = min(last.ends_at, last.starts_at + (now - month.starts_at))
    before = span_amounts(viewer, last.starts_at, same)
    limits = budgets()
    rows = [
        TenantMonth(
            t.slug, t.name, t.currency, amounts.get(t.id, ZERO), before.get(t.id, ZERO),
            limits.get(t.id), t.demo,
        )
        for t in tenant_refs().values()
        if viewer.may(Permission.VIEW_MONEY, t.id)
    ]  # fmt: skip
    return sorted(rows, key=lambda r: (-r.amount, r.slug))
