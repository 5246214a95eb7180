"""The fleet's bill, who caused it, and what tenants pay for it.

Cost is known for hours in which clusters were observed and GPUs had a price; revenue is compared
for exactly these hours. What tenants were charged in other hours is shown beside it.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from django.db import connection
from django.db.models import QuerySet

from billing.models import Allocation
from billing.queries.attributed import attributed
from billing.queries.charged import ChargeFilter, sum_amounts
from billing.queries.other_costs import OtherCosts, other_costs
from billing.queries.visibility import visible_tenants
from billing.rules.allocation import spread_over
from billing.rules.days import HOURS_OF_DAY
from tenants.queries.directory import TenantRef, tenant_refs
from tenants.rules.access import Permission, Viewer

ZERO = Decimal(0)
NO_OTHER: Mapping[Any, Decimal] = MappingProxyType({})
NOBODY = "nobody"
MS_PER_HOUR = 3_600_000
OF_SHARES = ("", "pool__", "pool__run__")
# Sums by tenant, by model and by product: all three at once would be a row for each of thousands.
COSTS = """
SELECT grouping(tenant_id, model, product), kind, tenant_id, model, product, sum(amount),
    sum(saved)
FROM cost_day WHERE day >= %s AND day < %s AND currency = %s
GROUP BY kind, GROUPING SETS ((tenant_id), (model), (product))
"""
OF_TENANTS, OF_MODELS, OF_PRODUCTS = 0b011, 0b101, 0b110  # what is left out of the three
POOLS = """
SELECT grouping(p.product), r.currency, p.product, p.state, p.hourly, p.price_id,
    sum(p.gpu_ms)::bigint, sum(p.cost)
FROM cost_pool p JOIN allocation_run r ON r.id = p.run_id AND r.is_current
WHERE p.hour >= %s AND p.hour < %s
GROUP BY r.currency, GROUPING SETS ((p.product, p.state, p.hourly), (p.price_id))
ORDER BY 3, 4, 5, 6, 2
"""
# Of a day with one attributed hour or more: all of it, less its other hours. Those are few, where
# the day's own hours have charges by the ten thousand.
REVENUE = """
SELECT grouping(model), tenant_id, model, sum(amount) FROM (
    SELECT tenant_id, model, amount FROM charge_total WHERE day = ANY(%s) AND currency = %s
    UNION ALL
    SELECT tenant_id, model, -amount FROM charge WHERE hour = ANY(%s) AND currency = %s
) AS lines GROUP BY GROUPING SETS ((tenant_id), (model)) HAVING sum(amount) <> 0
"""


@dataclass(frozen=True, slots=True)
class Margin:
    """Charged and caused by one tenant or one model, in attributed hours only."""

    key: str
    name: str
    charged: Decimal
    cost: Decimal  # direct: before idle and overhead
    idle_share: Decimal  # by direct cost, by largest remainder; never in the cost itself
    overhead_share: Decimal
    wanted: ChargeFilter
    other: Decimal = ZERO  # its part of what the fleet costs besides GPUs
    saved: Decimal = ZERO  # what cached tokens would have cost; in no sum

    @property
    def gross(self) -> Decimal:
        return self.charged - self.cost

    @property
    def net(self) -> Decimal:
        return self.gross - self.idle_share - self.overhead_share - self.other


@dataclass(frozen=True, slots=True)
class ProductTime:
    """Time of one GPU product in one state; `cost` None: nobody gave the product a price."""

    product: str
    state: str
    gpu_ms: int
    cost: Decimal | None
    hourly: Decimal | None
    currency: str

    @property
    def gpu_hours(self) -> Decimal:
        return Decimal(self.gpu_ms) / MS_PER_HOUR


@dataclass(frozen=True, slots=True)
class Utilisation:
    """What tenants had of the GPUs of one product, by cost: a GPU that is dearer counts more."""

    product: str
    used: Decimal
    whole: Decimal

    @property
    def share(self) -> Decimal:
        return self.used / self.whole if self.whole else ZERO


@dataclass(frozen=True, slots=True)
class Economics:
    """bill of GPUs = attributed + idle + overhead, exactly; the whole has the other costs too."""

    start: datetime
    end: datetime
    currency: str
    bill: Decimal
    attributed: Decimal
    idle: Decimal
    overhead: Decimal
    charged: Decimal  # in attributed hours
    charged_elsewhere: Decimal  # in hours whose cost is not known
    charged_otherwise: tuple[tuple[str, Decimal], ...]  # in other currencies: in no sum here
    hours_attributed: int
    hours: int
    known_hours: tuple[datetime, ...]  # the attributed ones
    known_until: datetime | None  # the newest hour is not over: its cost is known until then
    tenants: tuple[Margin, ...]
    models: tuple[Margin, ...]
    products: tuple[ProductTime, ...]
    by_price: tuple[tuple[int | None, Decimal], ...]  # the bill by line of node prices
    utilisation: tuple[Utilisation, ...]
    unpriced_products: tuple[str, ...]
    other: OtherCosts
    method: str
    run_id: int | None

    @property
    def whole(self) -> Decimal:
        return self.bill + self.other.whole

    @property
    def margin(self) -> Decimal:
        return self.charged - self.whole

    @property
    def saved(self) -> Decimal:
        """What cached tokens would have cost: known of methods that weigh tokens."""
        return sum((m.saved for m in self.tenants), ZERO)

    @property
    def left_over(self) -> Decimal:
        """Zero, or the attribution lost something."""
        return self.bill - self.attributed - self.idle - self.overhead


def economics(viewer: Viewer, start: datetime, end: datetime, *, now: datetime) -> Economics:
    """The whole fleet's figures for whole UTC days that touch [start, end)."""
    viewer.require(Permission.VIEW_MONEY)
    known = attributed(start, end)
    currency = known.currency
    costs = read_costs(known.first, known.last, currency)
    revenue = read_revenue(known.hours, currency)
    wanted = ChargeFilter(known.start, known.end)
    charged = sum(revenue.by_tenant.values(), ZERO)
    times, lines = product_times(known.start, known.end)
    products = tuple(time for time in times if time.currency == currency)
    other = other_costs(known.hours, currency, costs.by_tenant, costs.by_model)
    every = {row[0]: amount for row, amount in sum_amounts(wanted, by=("currency",)).items()}
    return Economics(
        start=known.start,
        end=known.end,
        currency=currency,
        bill=known.bill,
        attributed=costs.by_kind["tenant"],
        idle=costs.by_kind["idle"],
        overhead=costs.by_kind["overhead"],
        charged=charged,
        charged_elsewhere=every.pop(currency, ZERO) - charged,
        charged_otherwise=tuple(sorted(every.items())),
        hours_attributed=len(known.hours),
        hours=max(0, int((min(known.end, now) - known.start) / timedelta(hours=1))),
        known_hours=known.hours,
        known_until=known.known_until,
        tenants=margins(costs, revenue, wanted, tenant_refs(), other.by_tenant),
        models=margins(costs, revenue, wanted, None, other.by_model),
        products=products,
        by_price=tuple((price, amount) for of, price, amount in lines if of == currency),
        utilisation=costs.by_product,
        unpriced_products=tuple(sorted({p.product for p in products if p.cost is None})),
        other=other,
        method=known.method,
        run_id=known.run_id,
    )


@dataclass(frozen=True, slots=True)
class Costs:
    """What GPUs cost: by what it was for, and directly by who and what caused it."""

    by_kind: Mapping[str, Decimal]
    by_tenant: Mapping[int, Decimal]
    by_model: Mapping[str, Decimal]
    by_product: tuple[Utilisation, ...]
    saved: Mapping[int, Decimal]  # by tenant


@dataclass(frozen=True, slots=True)
class Revenue:
    by_tenant: Mapping[int, Decimal]
    by_model: Mapping[str, Decimal]


def read_costs(first: date, last: date, currency: str) -> Costs:
    kinds = dict.fromkeys(("tenant", "idle", "overhead"), ZERO)
    direct: dict[int, dict[Any, Decimal]] = {of: {} for of in (OF_TENANTS, OF_MODELS, OF_PRODUCTS)}
    whole: dict[str, Decimal] = defaultdict(Decimal)
    savings: dict[int, Decimal] = {}
    with connection.cursor() as cursor:
        cursor.execute(COSTS, [first, last, currency])
        for of, kind, tenant, model, product, amount, saved in cursor.fetchall():
            if kind == "tenant":
                if of == OF_TENANTS:
                    savings[tenant] = saved
                key = {OF_TENANTS: tenant, OF_MODELS: model, OF_PRODUCTS: product}[of]
                direct[of][key] = amount
            if of == OF_PRODUCTS:
                kinds[kind] += amount
                whole[product] += amount
    used = direct[OF_PRODUCTS]
    products = [Utilisation(name, used.get(name, ZERO), whole[name]) for name in sorted(whole)]
    return Costs(kinds, direct[OF_TENANTS], direct[OF_MODELS], tuple(products), savings)


def read_revenue(hours: Sequence[datetime], currency: str) -> Revenue:
    """Charges of the given hours."""
    days, others = hours_beside(hours)
    with connection.cursor() as cursor:
        cursor.execute(REVENUE, [days, currency, others, currency])
        rows = cursor.fetchall()
    return Revenue(
        {tenant: amount for of_models, tenant, _, amount in rows if of_models},
        {model: amount for of_models, _, model, amount in rows if not of_models},
    )


def hours_beside(hours: Sequence[datetime]) -> tuple[list[date], list[datetime]]:
    """The UTC days of `hours`, and what else is an hour of these days."""
    known = {hour.astimezone(UTC) for hour in hours}
    days = sorted({hour.date() for hour in known})
    each = (datetime.combine(day, time(n), UTC) for day in days for n in range(HOURS_OF_DAY))
    return days, [hour for hour in each if hour not in known]


def margins(
    costs: Costs,
    revenue: Revenue,
    wanted: ChargeFilter,
    tenants: dict[int, TenantRef] | None,
    other: Mapping[Any, Decimal] = NO_OTHER,
) -> tuple[Margin, ...]:
    """By tenant, or by model when no tenants are given; the largest charge first."""
    charged: Mapping[Any, Decimal] = revenue.by_model if tenants is None else revenue.by_tenant
    direct: Mapping[Any, Decimal] = costs.by_model if tenants is None else costs.by_tenant
    idle = spread_over(costs.by_kind["idle"], direct)
    overhead = spread_over(costs.by_kind["overhead"], direct)
    found = []
    for key in charged.keys() | direct.keys() | other.keys():
        name = tenants[key].slug if tenants and isinstance(key, int) and key in tenants else key
        narrowed = (
            replace(wanted, tenant_id=key) if isinstance(key, int) else replace(wanted, model=key)
        )
        found.append(
            Margin(
                key=str(key),
                name=str(name),
                charged=charged.get(key, ZERO),
                cost=direct.get(key, ZERO),
                idle_share=idle.get(key, ZERO),
                overhead_share=overhead.get(key, ZERO),
                wanted=narrowed,
                other=other.get(key, ZERO),
                saved=costs.saved.get(key, ZERO) if isinstance(key, int) else ZERO,
            )
        )
    return tuple(sorted(found, key=lambda m: (-m.charged, m.name)))


def product_times(
    start: datetime, end: datetime
) -> tuple[list[ProductTime], list[tuple[str, int | None, Decimal]]]:
    """Times of products, and what each line of node prices made them cost: one look at both, of
    every currency that node prices had."""
    with connection.cursor() as cursor:
        cursor.execute(POOLS, [start, end])
        rows = cursor.fetchall()
    times = [
        ProductTime(p, s, ms, of, at, unit) for by, unit, p, s, at, _, ms, of in rows if not by
    ]
    lines = [(unit, price, of) for by, unit, _, _, _, price, _, of in rows if by and of]
    return times, lines


def list_allocations(
    viewer: Viewer,
    start: datetime,
    end: datetime,
    *,
    tenant_id: int | None = None,
    kind: str = "",
    release: str = "",
    model: str = "",
    product: str = "",
) -> QuerySet[Allocation]:
    """The rows behind cost figures, newest hour first; a tenant's people see their shares.

    `kind` is one of a share, or `NOBODY`: idle and overhead together.
    """
    tenants = visible_tenants(viewer, tenant_id)
    # All three have the same hour. Said of each, PostgreSQL starts from the pools of these hours;
    # else it looks up the pool and the run of every single share.
    first = {f"{of}hour__gte": start for of in OF_SHARES}
    last = {f"{of}hour__lt": end for of in OF_SHARES}
    rows = Allocation.objects.filter(pool__run__is_current=True, **first, **last)
    if tenants is not None:
        rows = rows.filter(tenant_id__in=tenants)
    if kind == NOBODY:
        rows = rows.exclude(kind=Allocation.Kind.TENANT)
    elif kind:
        rows = rows.filter(kind=kind)
    given = {"release": release, "model": model, "pool__product": product}
    rows = rows.filter(**{name: value for name, value in given.items() if value})
    return rows.select_related("pool__run").order_by("-hour", "-id")
