"""Price the GPU time of one hour by the lines of a sheet, unused commitments included."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from billing.models import GpuPriceSheet
from billing.queries.node_prices import SheetLine, lines_of
from billing.rules.allocation import GpuPool, pool_cost
from billing.rules.pool_prices import RateCard
from fleet.queries.inventory import gpu_hours

HOUR = timedelta(hours=1)
MS = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Priced:
    """`line` None: nobody gave these nodes a price; the pool is listed, not counted."""

    pool: GpuPool
    line: SheetLine | None

    @property
    def hourly(self) -> Decimal | None:
        return self.line.rate.hourly if self.line else None

    @property
    def cost(self) -> Decimal | None:
        return pool_cost(self.pool.gpu_ms, self.line.rate.hourly) if self.line else None


def pools_of(hour: datetime) -> list[GpuPool]:
    return [
        GpuPool(
            g.cluster,
            g.product,
            g.state,
            g.service_id or 0,
            g.service,
            g.gpu_ms,
            g.node_pool,
            g.capacity,
            g.profile,
            g.hosted,
            g.device_ms,
        )  # fmt: skip
        for g in gpu_hours(hour)
        if g.gpu_ms > 0
    ]


def elapsed_ms(hour: datetime, now: datetime) -> int:
    """Of the hour, so far."""
    return (min(now, hour + HOUR) - hour) // MS


def price_pools(
    sheet: GpuPriceSheet, pools: Sequence[GpuPool], hour: datetime, now: datetime
) -> list[Priced]:
    known = {found.line.scope: found for found in lines_of(sheet)}
    card = RateCard(found.line for found in known.values())
    return [
        Priced(pool, known[line.scope] if line else None)
        for pool, line in card.price(pools, elapsed_ms(hour, now))
    ]
