"""What each release was charged for and what it cost, in the hours whose cost is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import connection

from billing.queries.attributed import Attributed, attributed
from billing.queries.by_release import Of, revenue_of_releases
from billing.queries.economics import hours_beside
from billing.rules.meters import BILLED
from tenants.rules.access import Permission, Viewer

ZERO = Decimal(0)
MILLION = 1_000_000
NO_COST, NO_USE = (ZERO, ZERO), (0, 0)
COSTS = """
SELECT model, release, sum(amount), sum(saved) FROM cost_day
WHERE day >= %s AND day < %s AND currency = %s AND kind = 'tenant' GROUP BY 1, 2
"""
USED = """
SELECT model, release, sum(requests)::bigint, sum(prompt_tokens + completion_tokens)::bigint
FROM usage_hour WHERE hour = ANY(%s) AND outcome = ANY(%s) GROUP BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class ReleaseMargin:
    """Cost is direct: the GPU time that its requests took. `saved` is in no sum."""

    model: str
    release: str
    requests: int
    tokens: int
    charged: Decimal
    cost: Decimal
    saved: Decimal

    @property
    def margin(self) -> Decimal:
        return self.charged - self.cost

    @property
    def ratio(self) -> Decimal | None:
        """Of what is charged; None: nothing was."""
        return self.margin / self.charged if self.charged else None

    @property
    def per_million(self) -> Decimal | None:
        return self.cost * MILLION / self.tokens if self.tokens else None

    @property
    def charged_per_million(self) -> Decimal | None:
        return self.charged * MILLION / self.tokens if self.tokens else None


@dataclass(frozen=True, slots=True)
class ReleaseMargins:
    known: Attributed
    rows: tuple[ReleaseMargin, ...]  # the largest charge first

    @property
    def whole(self) -> ReleaseMargin:
        return ReleaseMargin(
            "",
            "",
            sum(row.requests for row in self.rows),
            sum(row.tokens for row in self.rows),
            sum((row.charged for row in self.rows), ZERO),
            sum((row.cost for row in self.rows), ZERO),
            sum((row.saved for row in self.rows), ZERO),
        )


def release_margins(viewer: Viewer, start: datetime, end: datetime) -> ReleaseMargins:
    """Of the fleet, for whole UTC days that touch [start, end); empty release: not known."""
    viewer.require(Permission.VIEW_MONEY)
    known = attributed(start, end)
    days, others = hours_beside(known.hours)
    charged = revenue_of_releases(days, others, known.currency)
    costs = _costs(known)
    used = _used(known.hours)
    rows = [
        ReleaseMargin(
            *key, *used.get(key, NO_USE), charged.get(key, ZERO), *costs.get(key, NO_COST)
        )
        for key in charged.keys() | costs.keys() | used.keys()
    ]
    rows.sort(key=lambda row: (-row.charged, row.model, row.release))
    return ReleaseMargins(known, tuple(rows))


def _costs(known: Attributed) -> Mapping[Of, tuple[Decimal, Decimal]]:
    with connection.cursor() as cursor:
        cursor.execute(COSTS, [known.first, known.last, known.currency])
        return {(model, release): (cost, saved) for model, release, cost, saved in cursor}


def _used(hours: Sequence[datetime]) -> Mapping[Of, tuple[int, int]]:
    """Requests and tokens that are paid for."""
    with connection.cursor() as cursor:
        cursor.execute(USED, [list(hours), sorted(BILLED)])
        return {(model, release): (count, tokens) for model, release, count, tokens in cursor}
