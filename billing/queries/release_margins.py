"""What each release was charged for and what it cost, in the hours whose cost is known."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import connection

from billing.queries.attributed import Attributed, attributed
from billing.queries.by_release import Of, revenue_of_releases
from billing.queries.economics import hours_beside
from billing.queries.other_costs import costs_of_releases
from tenants.rules.access import Permission, Viewer

ZERO = Decimal(0)
NO_COST = (0, ZERO, ZERO)
MS_PER_HOUR = 3_600_000
COSTS = """
SELECT model, release, sum(weight)::bigint, sum(amount), sum(saved) FROM cost_day
WHERE day >= %s AND day < %s AND currency = %s AND kind = 'tenant' GROUP BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class ReleaseMargin:
    """Cost is direct: the GPU time that its requests took. `other`: its part of the platform and of
    hosted providers' bills. `saved` is in no sum."""

    model: str
    release: str
    charged: Decimal
    gpu_ms: int  # of the GPUs, as the method shares them
    cost: Decimal
    saved: Decimal
    other: Decimal = ZERO

    @property
    def margin(self) -> Decimal:
        return self.charged - self.cost - self.other

    @property
    def ratio(self) -> Decimal | None:
        """Of what is charged; None: nothing was."""
        return self.margin / self.charged if self.charged else None

    @property
    def gpu_hours(self) -> Decimal:
        return Decimal(self.gpu_ms) / MS_PER_HOUR


@dataclass(frozen=True, slots=True)
class ReleaseMargins:
    known: Attributed
    rows: tuple[ReleaseMargin, ...]  # the largest charge first

    @property
    def whole(self) -> ReleaseMargin:
        return ReleaseMargin(
            "",
            "",
            sum((row.charged for row in self.rows), ZERO),
            sum(row.gpu_ms for row in self.rows),
            sum((row.cost for row in self.rows), ZERO),
            sum((row.saved for row in self.rows), ZERO),
            sum((row.other for row in self.rows), ZERO),
        )


def release_margins(viewer: Viewer, start: datetime, end: datetime) -> ReleaseMargins:
    """Of the fleet, for whole UTC days that touch [start, end); empty release: not known."""
    viewer.require(Permission.VIEW_MONEY)
    known = attributed(start, end)
    days, others = hours_beside(known.hours)
    charged = revenue_of_releases(days, others, known.currency)
    costs = _costs(known)
    direct = {of: cost for of, (_, cost, _) in costs.items()}
    other = costs_of_releases(known.hours, known.currency, direct)
    rows = []
    for model, release in charged.keys() | costs.keys() | other.keys():
        gpu_ms, cost, saved = costs.get((model, release), NO_COST)
        amount = charged.get((model, release), ZERO)
        more = other.get((model, release), ZERO)
        rows.append(ReleaseMargin(model, release, amount, gpu_ms, cost, saved, more))
    rows.sort(key=lambda row: (-row.charged, row.model, row.release))
    return ReleaseMargins(known, tuple(rows))


def _costs(known: Attributed) -> Mapping[Of, tuple[int, Decimal, Decimal]]:
    with connection.cursor() as cursor:
        cursor.execute(COSTS, [known.first, known.last, known.currency])
        return {(model, release): (ms, cost, saved) for model, release, ms, cost, saved in cursor}
