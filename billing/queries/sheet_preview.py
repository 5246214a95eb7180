"""What a sheet of node prices would have made of last month's GPU time."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any

from django.db.models import Sum

from billing.models import CostPool
from billing.queries.node_prices import Sheet
from billing.rules.allocation import UNUSED, GpuPool, pool_cost
from billing.rules.pool_prices import RateCard
from tenants.rules.access import Permission, Viewer
from tenants.rules.quotas import Month, month_of

ZERO = Decimal(0)
Nodes = tuple[str, str, str, str]  # cluster, node pool, capacity, product
OF_NODES = ("cluster", "node_pool", "capacity", "product")


@dataclass(frozen=True, slots=True)
class SheetPreviewLine:
    """Nodes that are paid alike. Milliseconds without a price are counted, never as zero."""

    cluster: str
    node_pool: str
    capacity: str
    product: str
    gpu_ms: int
    old: Decimal
    new: Decimal
    unpriced_before: int
    unpriced: int

    @property
    def difference(self) -> Decimal:
        return self.new - self.old

    @property
    def gpu_hours(self) -> Decimal:
        return Decimal(self.gpu_ms) / 3_600_000


@dataclass(frozen=True, slots=True)
class SheetPreview:
    """In the sheet's currency; hours that were attributed in another one are only counted."""

    month: str
    currency: str
    hours: int
    hours_in_others: int
    lines: tuple[SheetPreviewLine, ...]

    @property
    def old(self) -> Decimal:
        return sum((line.old for line in self.lines), ZERO)

    @property
    def new(self) -> Decimal:
        return sum((line.new for line in self.lines), ZERO)

    @property
    def difference(self) -> Decimal:
        return self.new - self.old

    @property
    def unpriced(self) -> int:
        return sum(line.unpriced for line in self.lines)


@dataclass(slots=True)
class _Sums:
    gpu_ms: int = 0
    old: Decimal = ZERO
    new: Decimal = ZERO
    unpriced_before: int = 0
    unpriced: int = 0


def last_month(now: datetime) -> Month:
    return month_of(month_of(now, "UTC").starts_at - timedelta(hours=1), "UTC")


def preview_sheet(viewer: Viewer, sheet: Sheet, *, now: datetime) -> SheetPreview:
    """Each attributed hour of last month at the prices that held, and at these."""
    viewer.require(Permission.VIEW_MONEY)
    month = last_month(now)
    pools = CostPool.objects.filter(
        run__is_current=True, hour__gte=month.starts_at, hour__lt=month.ends_at
    )
    mine = pools.filter(run__currency=sheet.currency)
    others = pools.exclude(run__currency=sheet.currency)
    rows = (
        mine.values_list("hour", "state", *OF_NODES, "hourly")
        .annotate(ms=Sum("gpu_ms"), of=Sum("cost"))
        .order_by("hour")
    )
    sums: dict[Nodes, _Sums] = {}
    card = RateCard(one.line for one in sheet.lines)
    rates = {one.line.scope: one.rate.hourly for one in sheet.lines}
    hours = 0
    for _, of_hour in groupby(rows.iterator(), key=lambda row: row[0]):
        hours += 1
        _add_hour(sums, card, rates, of_hour)
    return SheetPreview(
        month=month.name,
        currency=sheet.currency,
        hours=hours,
        hours_in_others=others.values("hour").distinct().count(),
        lines=tuple(
            SheetPreviewLine(*nodes, s.gpu_ms, s.old, s.new, s.unpriced_before, s.unpriced)
            for nodes, s in sorted(sums.items(), key=lambda i: (-abs(i[1].new - i[1].old), i[0]))
        ),
    )


def _add_hour(
    sums: dict[Nodes, _Sums],
    card: RateCard,
    rates: Mapping[tuple[str, str, str, str], Decimal],
    rows: Iterable[tuple[Any, ...]],
) -> None:
    pools = []
    for _, state, cluster, node_pool, capacity, product, hourly, ms, cost in rows:
        of = sums.setdefault((cluster, node_pool, capacity, product), _Sums())
        of.old += cost or ZERO
        if state == UNUSED:  # it followed from the sheet that held
            continue
        of.gpu_ms += ms
        of.unpriced_before += ms if hourly is None else 0
        pools.append(GpuPool(cluster, product, state, 0, "", ms, node_pool, capacity))
    for pool, line in card.price(pools):
        nodes = (pool.cluster, pool.node_pool, pool.capacity, pool.product)
        of = sums.setdefault(nodes, _Sums())
        if line is None:
            of.unpriced += pool.gpu_ms
        else:
            of.new += pool_cost(pool.gpu_ms, rates[line.scope])
