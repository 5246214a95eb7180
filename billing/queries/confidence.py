"""Billing confidence hour by hour: tokens that gateways metered against what engines counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Sum

from billing.models import UsageHour
from billing.queries.completeness import TOLERATED_DRIFT
from tenants.rules.access import Permission, Viewer

HOUR = timedelta(hours=1)
MOST = 50_000  # rows: more are asked for by shorter ranges
HOURS = """
WITH metered AS (
    SELECT hour, service_id, prompt_tokens + completion_tokens AS tokens FROM usage_service_hour
    WHERE hour >= %(start)s AND hour < %(end)s AND prompt_tokens + completion_tokens > 0
), counted AS (
    SELECT hour, service_id, prompt_tokens + completion_tokens AS tokens, engines FROM engine_hour
    WHERE hour >= %(start)s AND hour < %(end)s
), theirs AS (
    SELECT hour, service_id, sum(prompt_tokens + completion_tokens) AS tokens FROM usage_hour
    WHERE hour >= %(start)s AND hour < %(end)s AND tenant_id = %(tenant)s GROUP BY 1, 2
)
SELECT hour, service_id, coalesce(m.tokens, 0)::bigint, c.tokens::bigint, coalesce(c.engines, 0),
    coalesce(t.tokens, 0)::bigint
FROM metered m FULL JOIN counted c USING (hour, service_id)
LEFT JOIN theirs t USING (hour, service_id)
WHERE (%(service)s::bigint IS NULL OR service_id = %(service)s)
    AND (%(tenant)s::bigint IS NULL OR t.tokens > 0)
    AND (NOT %(off)s OR c.tokens IS NULL
        OR abs(coalesce(m.tokens, 0) - c.tokens) > c.tokens * %(tolerated)s)
ORDER BY hour DESC, service_id LIMIT %(most)s
"""


@dataclass(frozen=True, slots=True)
class HourCompared:
    """One hour of one service."""

    hour: datetime
    service_id: int
    metered: int  # tokens
    counted: int | None  # None: no engine was read in this hour
    engines: int
    theirs: int  # metered of the tenant that was asked for

    @property
    def drift(self) -> float | None:
        """Difference as a part of what engines counted; None when they counted nothing."""
        return abs(self.metered - self.counted) / self.counted if self.counted else None

    @property
    def state(self) -> str:
        if self.counted is None:
            return "unknown"
        is_off = abs(self.metered - self.counted) > self.counted * TOLERATED_DRIFT
        return "off" if is_off else "within"


@dataclass(frozen=True, slots=True)
class TenantPart:
    """What one tenant had metered in an hour of a service."""

    tenant_id: int
    model: str
    requests: int
    tokens: int


def compare_hours(
    viewer: Viewer,
    start: datetime,
    end: datetime,
    *,
    service_id: int | None = None,
    tenant_id: int | None = None,
    is_off: bool = False,
) -> list[HourCompared]:
    """Newest first, of the whole hours in the range. `is_off`: those that need a look alone."""
    viewer.require(Permission.VIEW_MONEY)
    begin, stop = (at.replace(minute=0, second=0, microsecond=0) for at in (start, end))
    given: dict[str, Any] = {"start": begin, "end": stop}
    given |= {"service": service_id, "tenant": tenant_id}
    given |= {"off": is_off, "tolerated": TOLERATED_DRIFT, "most": MOST}
    with connection.cursor() as cursor:
        cursor.execute(HOURS, given)
        return [HourCompared(*row) for row in cursor.fetchall()]


def tenants_of_hour(viewer: Viewer, hour: datetime, service_id: int) -> Sequence[TenantPart]:
    """Most tokens first: their sum is what was metered."""
    viewer.require(Permission.VIEW_MONEY)
    rows = UsageHour.objects.filter(hour=hour, service_id=service_id)
    sums = rows.values_list("tenant_id", "model").annotate(
        Sum("requests"), tokens=Sum("prompt_tokens") + Sum("completion_tokens")
    )
    return [TenantPart(*row) for row in sums.order_by("-tokens", "tenant_id", "model")]
