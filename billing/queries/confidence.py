"""Billing confidence hour by hour: whether what is billed is what engines and gateways did."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Sum

from billing.models import UsageHour
from billing.rules.confidence import HourCompared
from tenants.rules.access import Permission, Viewer

HOUR = timedelta(hours=1)
MOST = 50_000  # rows: more are asked for by shorter ranges
OF_TENANT = """
    SELECT hour, service_id, sum(prompt_tokens + completion_tokens) AS tokens FROM usage_hour
    WHERE hour >= %(start)s AND hour < %(end)s AND tenant_id = %(tenant)s
    GROUP BY 1, 2 HAVING sum(prompt_tokens + completion_tokens) > 0
"""
OF_NOBODY = "SELECT NULL::timestamptz AS hour, NULL::bigint AS service_id, 0 AS tokens WHERE false"
HOURS = """
WITH metered AS (
    SELECT hour, service_id, prompt_tokens + completion_tokens AS tokens FROM usage_service_hour
    WHERE hour >= %(start)s AND hour < %(end)s AND prompt_tokens + completion_tokens > 0
), counted AS (
    SELECT hour, service_id, prompt_tokens + completion_tokens AS tokens, engines FROM engine_hour
    WHERE hour >= %(start)s AND hour < %(end)s
), theirs AS ({theirs}), estimated AS (
    SELECT date_bin('1 hour', event_time, 'epoch') AS hour, coalesce(service_id, 0) AS service_id,
        sum(prompt_tokens + completion_tokens) AS tokens
    FROM usage_event WHERE usage_quality = 'estimated'
        AND event_time >= %(start)s AND event_time < %(end)s
        AND (%(tenant)s::bigint IS NULL OR tenant_id = %(tenant)s)
    GROUP BY 1, 2
    UNION ALL
    SELECT hour, service_id, sum(tokens) FROM usage_estimate_dropped
    WHERE hour >= %(start)s AND hour < %(end)s
        AND (%(tenant)s::bigint IS NULL OR tenant_id = %(tenant)s)
    GROUP BY 1, 2
), limited AS (
    SELECT hour, service_id, sum(tokens) AS tokens FROM usage_limited_hour
    WHERE hour >= %(start)s AND hour < %(end)s AND tenant_id <> %(tenant)s::bigint
    GROUP BY 1, 2
), said AS (
    SELECT hour, worker, sum(events) AS events, max(spool_events) AS waiting,
        max(spool_oldest_seconds) AS oldest
    FROM gateway_hour WHERE hour >= %(start)s AND hour < %(end)s GROUP BY 1, 2
), got AS (
    SELECT hour, worker, sum(events) AS events FROM (
        SELECT hour, worker, events FROM usage_source_hour
            WHERE hour >= %(start)s AND hour < %(end)s
        UNION ALL SELECT hour, worker, events FROM usage_arrival
            WHERE hour >= %(start)s AND hour < %(end)s
    ) AS arrived GROUP BY 1, 2
), aside AS (
    SELECT date_bin('1 hour', ended_at, 'epoch') AS hour, worker, count(*) AS events,
        count(*) FILTER (WHERE waits) AS waiting
    FROM (
        SELECT ended_at, worker, true AS waits FROM usage_quarantine
        UNION ALL SELECT ended_at, worker, false FROM quarantine_item WHERE outcome = 'dropped'
    ) AS kept WHERE ended_at >= %(start)s AND ended_at < %(end)s GROUP BY 1, 2
), delivered AS (
    SELECT hour, sum(s.events) AS sent, max(s.waiting) AS waiting, max(s.oldest) AS oldest,
        sum(greatest(0, s.events - coalesce(g.events, 0) - coalesce(a.events, 0))) AS missing
    FROM said s LEFT JOIN got g USING (hour, worker) LEFT JOIN aside a USING (hour, worker)
    GROUP BY hour
), waits AS (
    SELECT hour, sum(waiting) AS events FROM aside GROUP BY hour
)
SELECT hour, service_id, coalesce(m.tokens, 0)::bigint, c.tokens::bigint, coalesce(c.engines, 0),
    coalesce(t.tokens, 0)::bigint, coalesce(e.tokens, 0)::bigint, %(tenant)s::bigint IS NOT NULL,
    d.sent::bigint, coalesce(d.missing, 0)::bigint, coalesce(w.events, 0)::bigint,
    coalesce(d.waiting, 0)::bigint, coalesce(d.oldest, 0), coalesce(l.tokens, 0)::bigint
FROM metered m FULL JOIN counted c USING (hour, service_id)
FULL JOIN theirs t USING (hour, service_id)
LEFT JOIN estimated e USING (hour, service_id)
LEFT JOIN limited l USING (hour, service_id)
LEFT JOIN delivered d USING (hour) LEFT JOIN waits w USING (hour)
WHERE (%(service)s::bigint IS NULL OR service_id = %(service)s)
    AND (%(tenant)s::bigint IS NULL OR t.tokens > 0 OR (
        coalesce(m.tokens, 0) = 0 AND c.tokens > 0
        AND service_id IN (SELECT service_id FROM theirs)))
ORDER BY hour DESC, service_id LIMIT %(most)s
"""


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
    found = _hours(begin, stop, service_id=service_id, tenant_id=tenant_id)
    return [h for h in found if h.state != "within"] if is_off else found


def tenant_hours(
    viewer: Viewer, tenant_id: int, start: datetime, end: datetime
) -> list[HourCompared]:
    """All hours of services that a tenant used and that begin in [start, end), as a period is cut.

    Those as well in which engines of these services worked and nothing at all was metered: what was
    lost may be this tenant's.
    """
    viewer.require(Permission.VIEW_MONEY)
    return _hours(start, end, service_id=None, tenant_id=tenant_id, most=None)


def _hours(
    start: datetime,
    end: datetime,
    *,
    service_id: int | None,
    tenant_id: int | None,
    most: int | None = MOST,
) -> list[HourCompared]:
    given: dict[str, Any] = {"start": start, "end": end, "most": most}
    given |= {"service": service_id, "tenant": tenant_id}
    theirs = OF_NOBODY if tenant_id is None else OF_TENANT
    with connection.cursor() as cursor:
        cursor.execute(HOURS.format(theirs=theirs), given)
        return [HourCompared(*row) for row in cursor.fetchall()]


def tenants_of_hour(viewer: Viewer, hour: datetime, service_id: int) -> Sequence[TenantPart]:
    """Most tokens first: their sum is what was metered."""
    viewer.require(Permission.VIEW_MONEY)
    rows = UsageHour.objects.filter(hour=hour, service_id=service_id)
    sums = rows.values_list("tenant_id", "model").annotate(
        Sum("requests"), tokens=Sum("prompt_tokens") + Sum("completion_tokens")
    )
    return [TenantPart(*row) for row in sums.order_by("-tokens", "tenant_id", "model")]
