"""What each service is charged and costs, with all shares of it and by the million tokens."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import Count, Sum

from billing.models import CostDay, UnpricedUsage
from billing.queries.attributed import attributed
from billing.queries.charged import ChargeFilter
from billing.queries.economics import Economics, Margin, hours_beside
from billing.queries.unit_costs import MILLION, SERVICE, used_by
from tenants.errors import NotFound
from tenants.queries.directory import tenant_refs
from tenants.rules.access import Permission, Viewer

ZERO = Decimal(0)
REVENUE = """
SELECT tenant_id, sum(amount) FROM (
    SELECT tenant_id, amount FROM charge_total
    WHERE day = ANY(%(days)s) AND currency = %(currency)s AND model = %(model)s
    UNION ALL
    SELECT tenant_id, -amount FROM charge
    WHERE hour = ANY(%(others)s) AND currency = %(currency)s AND model = %(model)s
) AS lines GROUP BY 1 HAVING sum(amount) <> 0
"""


@dataclass(frozen=True, slots=True)
class ServiceMargin:
    """A margin with its use; `unpriced` counts hours' sums of usage that no price covers."""

    of: Margin
    requests: int
    tokens: int
    unpriced: int = 0

    @property
    def name(self) -> str:
        return self.of.name

    @property
    def full(self) -> Decimal:
        """Direct, with its shares of idle, overhead and what is no GPU."""
        return self.of.charged - self.of.net

    @property
    def gross_share(self) -> Decimal | None:
        return share_of(self.of.gross, self.of.charged)

    @property
    def net_share(self) -> Decimal | None:
        return share_of(self.of.net, self.of.charged)

    @property
    def cost_per_million(self) -> Decimal | None:
        return self.full * MILLION / self.tokens if self.tokens else None

    @property
    def price_per_million(self) -> Decimal | None:
        return self.of.charged * MILLION / self.tokens if self.tokens else None


def share_of(amount: Decimal, charged: Decimal) -> Decimal | None:
    """Of what is charged; None: nothing is, so there is no share of it."""
    return amount / charged if charged else None


def service_margins(viewer: Viewer, found: Economics) -> list[ServiceMargin]:
    """In the order of `found`; a service that only has usage without a price comes last."""
    viewer.require(Permission.VIEW_MONEY)
    used = used_by(SERVICE, found.known_hours)
    rows = UnpricedUsage.objects.filter(hour__gte=found.start, hour__lt=found.end)
    unpriced = dict(rows.values_list("model").annotate(Count("id")).order_by("model"))
    margins = [
        ServiceMargin(m, *used.get(m.key, (0, 0)), unpriced.pop(m.key, 0)) for m in found.models
    ]
    wanted = ChargeFilter(found.start, found.end)
    nothing = [Margin(name, name, ZERO, ZERO, ZERO, ZERO, wanted) for name in unpriced]
    return margins + [ServiceMargin(m, *used.get(m.key, (0, 0)), unpriced[m.key]) for m in nothing]


@dataclass(frozen=True, slots=True)
class TenantPart:
    """What one tenant was charged for a service, and used its GPUs for."""

    tenant: str
    charged: Decimal
    cost: Decimal


@dataclass(frozen=True, slots=True)
class ServiceTenants:
    start: datetime
    end: datetime
    currency: str
    hours_attributed: int
    rows: tuple[TenantPart, ...]  # the largest charge first


def service_tenants(viewer: Viewer, model: str, start: datetime, end: datetime) -> ServiceTenants:
    """A service's charge and direct cost by tenant: the rows behind its margin."""
    viewer.require(Permission.VIEW_MONEY)
    known = attributed(start, end)
    days, others = hours_beside(known.hours)
    given: dict[str, Any] = {
        "days": days,
        "others": others,
        "currency": known.currency,
        "model": model,
    }
    with connection.cursor() as cursor:
        cursor.execute(REVENUE, given)
        charged = dict(cursor.fetchall())
    costs = CostDay.objects.filter(
        kind="tenant", day__gte=known.first, day__lt=known.last, currency=known.currency,
        model=model,
    )  # fmt: skip
    direct = dict(costs.values_list("tenant_id").annotate(Sum("amount")).order_by("tenant_id"))
    names = {t.id: t.slug for t in tenant_refs().values()}
    rows = [
        TenantPart(names.get(pk, str(pk)), charged.get(pk, ZERO), direct.get(pk, ZERO))
        for pk in charged.keys() | direct.keys()
    ]
    if not rows:
        raise NotFound(f"No hour with a known cost has charges or GPU time of {model[:60]!r}")
    return ServiceTenants(
        start=known.start,
        end=known.end,
        currency=known.currency,
        hours_attributed=len(known.hours),
        rows=tuple(sorted(rows, key=lambda r: (-r.charged, r.tenant))),
    )
