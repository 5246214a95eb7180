"""GPU hours of each product by what they were for, and the money that served nobody."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Sum

from billing.models import CostDay
from billing.queries.economics import MS_PER_HOUR, Economics, ProductTime
from billing.rules.allocation import FREE, PICO, SERVING, TENANT, UNUSED
from tenants.rules.access import Permission, Viewer

ZERO = Decimal(0)
LOADING, IDLE, OUT = "loading", "idle", "out"
# As the page names them, in the order of its bar: what is not of a tenant, by the GPUs' state.
USES = (SERVING, LOADING, IDLE, FREE, OUT)
OF_STATE = {
    SERVING: IDLE, FREE: FREE, UNUSED: FREE, "loading": LOADING, "draining": LOADING, "out": OUT
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ProductHours:
    """Milliseconds and money by use; money of `SERVING` is what shares of tenants add up to."""

    product: str
    gpu_ms: int
    of_ms: Mapping[str, int]
    of_money: Mapping[str, Decimal]
    cost: Decimal | None  # None: nobody gave the product a price

    @property
    def gpu_hours(self) -> Decimal:
        return Decimal(self.gpu_ms) / MS_PER_HOUR

    @property
    def hourly(self) -> Decimal | None:
        """The mean of its nodes: they may be paid in several ways."""
        if self.cost is None or not self.gpu_ms:
            return None
        return (self.cost / self.gpu_hours).quantize(PICO)

    @property
    def not_serving(self) -> Decimal | None:
        if self.cost is None:
            return None
        return sum((m for use, m in self.of_money.items() if use != SERVING), ZERO)

    def hours_of(self, use: str) -> Decimal:
        return Decimal(self.of_ms.get(use, 0)) / MS_PER_HOUR

    def share_of(self, use: str) -> Decimal:
        return Decimal(self.of_ms.get(use, 0)) / self.gpu_ms if self.gpu_ms else ZERO


def gpu_hours(viewer: Viewer, found: Economics) -> list[ProductHours]:
    """Of the days that `found` is of, by product. Time without a price counts by state alone."""
    viewer.require(Permission.VIEW_MONEY)
    rows = (
        CostDay.objects.filter(
            day__gte=found.start.date(), day__lt=found.end.date(), currency=found.currency
        )
        .exclude(kind=TENANT)
        .values_list("product", "state")
        .annotate(Sum("weight"), Sum("amount"))
        .order_by("product", "state")
    )
    nobodys: dict[str, list[tuple[str, int, Decimal]]] = defaultdict(list)
    for product, state, ms, amount in rows:
        nobodys[product].append((state, ms, amount))
    times: dict[str, list[ProductTime]] = defaultdict(list)
    for row in found.products:
        times[row.product].append(row)
    return [_of(name, times[name], nobodys[name]) for name in sorted(times)]


def _of(
    product: str, times: list[ProductTime], nobodys: list[tuple[str, int, Decimal]]
) -> ProductHours:
    ms: dict[str, int] = defaultdict(int)
    money: dict[str, Decimal] = defaultdict(Decimal)
    for state, weight, amount in nobodys:
        ms[OF_STATE[state]] += weight
        money[OF_STATE[state]] += amount
    for row in times:
        if row.cost is None and row.state != SERVING:
            ms[OF_STATE[row.state]] += row.gpu_ms
    whole = sum(row.gpu_ms for row in times)
    costs = [row.cost for row in times if row.cost is not None]
    cost = sum(costs, ZERO) if costs else None
    ms[SERVING] = whole - sum(ms.values())
    money[SERVING] = (cost or ZERO) - sum(money.values())
    return ProductHours(product, whole, dict(ms), dict(money), cost)
