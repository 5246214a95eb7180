"""What rollouts cost: their GPUs on top, at what these cost in the same hours.

An hour's price of a product in a cluster is what its pools cost by their GPU time, as attributed.
Where no cost of an hour is known yet, its time is counted as unpriced, never as free.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal

from django.db import connection

from fleet.queries.rollout_time import RolloutHour, rollout_hours
from tenants.rules.access import Permission, Viewer

ZERO = Decimal(0)
PICO = Decimal("0.000000000001")
MS_PER_HOUR = 3_600_000
RATES = """
SELECT p.hour, p.cluster, p.product, r.currency, sum(p.cost) / sum(p.gpu_ms)
FROM allocation_run r JOIN cost_pool p ON p.run_id = r.id
WHERE r.is_current AND r.hour = ANY(%s) AND p.hour = ANY(%s) AND p.cost IS NOT NULL AND p.gpu_ms > 0
GROUP BY 1, 2, 3, 4
"""
Place = tuple[datetime, str, str]  # hour, cluster, product


@dataclass(frozen=True, slots=True)
class RolloutCost:
    """One rollout in one currency; empty currency: no price of its hours is known."""

    rollout_id: int  # 0: a drill that has none
    service: str
    cluster: str
    phase: str
    started_at: datetime
    ended_at: datetime | None
    currency: str
    gpu_ms: int
    unpriced_ms: int  # part of `gpu_ms`, in no cost
    cost: Decimal

    @property
    def label(self) -> str:
        return f"RO-{self.rollout_id}" if self.rollout_id else ""

    @property
    def gpu_hours(self) -> Decimal:
        return Decimal(self.gpu_ms) / MS_PER_HOUR

    @property
    def unpriced_hours(self) -> Decimal:
        return Decimal(self.unpriced_ms) / MS_PER_HOUR


def rollout_costs(viewer: Viewer, start: datetime, end: datetime) -> list[RolloutCost]:
    """Of the hours in [start, end), the newest rollout first."""
    viewer.require(Permission.VIEW_MONEY)
    return priced(rollout_hours(viewer, start, end))


def rollout_cost(viewer: Viewer, rollout_id: int) -> RolloutCost | None:
    """All of it; None: nothing was on top of what served before, or it was never watched."""
    viewer.require(Permission.VIEW_MONEY)
    found = priced(rollout_hours(viewer, rollout_id=rollout_id))
    return found[0] if found else None


def priced(hours: list[RolloutHour]) -> list[RolloutCost]:
    """One for each rollout of these hours."""
    rates = _rates({h.hour for h in hours})
    by_rollout: dict[int, list[RolloutHour]] = {}
    for hour in hours:
        by_rollout.setdefault(hour.rollout_id, []).append(hour)
    return [_cost(rows, rates) for rows in by_rollout.values()]


def _cost(rows: list[RolloutHour], rates: Mapping[Place, tuple[str, Decimal]]) -> RolloutCost:
    """In the currency of its first priced hour; hours in another one are unpriced here."""
    one = rows[0]
    priced = [(h, rates.get((h.hour, h.cluster, h.product))) for h in rows]
    currency = next((rate[0] for _, rate in priced if rate), "")
    cost, unpriced = ZERO, 0
    for hour, rate in priced:
        if rate and rate[0] == currency:
            cost += hour.gpu_ms * rate[1]
        else:
            unpriced += hour.gpu_ms
    return RolloutCost(
        rollout_id=one.rollout_id,
        service=one.service,
        cluster=one.cluster,
        phase=one.phase,
        started_at=one.started_at,
        ended_at=one.ended_at,
        currency=currency,
        gpu_ms=sum(h.gpu_ms for h in rows),
        unpriced_ms=unpriced,
        cost=cost.quantize(PICO, ROUND_HALF_EVEN),
    )


def _rates(hours: Iterable[datetime]) -> dict[Place, tuple[str, Decimal]]:
    """Currency and cost of a GPU-millisecond."""
    asked = sorted(hours)
    if not asked:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(RATES, [asked, asked])
        return {
            (hour, cluster, product): (currency, rate)
            for hour, cluster, product, currency, rate in cursor.fetchall()
        }
