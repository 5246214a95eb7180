"""What arrived of usage, by source, hour and worker; and what gateways said that they sent.

Writers only insert, one small row for each hour and worker of a batch; a task folds them.
"""

from collections.abc import Sequence
from datetime import datetime

from django.conf import settings
from django.db import connection

from billing.rules.events import Accepted, moment
from fleet.queries.reported import worker_reports
from gateway.contract.usage import WorkerReport
from tenants.base.scope import fleet_scope

HOUR = 3_600_000_000  # microseconds
MOST_FOLDED = 50_000
NOTE = """
INSERT INTO usage_arrival (source_id, hour, worker, events, least_ms, most_ms, arrived_at)
SELECT %s, "hour", worker, events, least, most, %s
FROM unnest(%s::timestamptz[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[])
    AS found ("hour", worker, events, least, most)
"""
FOLD = """
WITH taken AS (
    DELETE FROM usage_arrival WHERE id IN (SELECT id FROM usage_arrival ORDER BY id LIMIT %s)
    RETURNING source_id, hour, worker, events, least_ms, most_ms, arrived_at
)
INSERT INTO usage_source_hour AS kept
    (source_id, hour, worker, events, least_ms, most_ms, arrived_at)
SELECT source_id, hour, worker, sum(events), min(least_ms), max(most_ms), max(arrived_at)
FROM taken GROUP BY 1, 2, 3 ORDER BY 2, 1, 3
ON CONFLICT (hour, source_id, worker) DO UPDATE SET events = kept.events + EXCLUDED.events,
    least_ms = least(kept.least_ms, EXCLUDED.least_ms),
    most_ms = greatest(kept.most_ms, EXCLUDED.most_ms),
    arrived_at = greatest(kept.arrived_at, EXCLUDED.arrived_at)
"""
SAID = """
INSERT INTO gateway_hour AS kept
    (hour, worker, started, events, spool_events, spool_oldest_seconds)
SELECT * FROM unnest(%s::timestamptz[], %s::text[], %s::float[], %s::bigint[], %s::bigint[],
    %s::float[])
ON CONFLICT (hour, worker, started) DO UPDATE SET events = greatest(kept.events, EXCLUDED.events),
    spool_events = greatest(kept.spool_events, EXCLUDED.spool_events),
    spool_oldest_seconds = greatest(kept.spool_oldest_seconds, EXCLUDED.spool_oldest_seconds)
"""
# Keys in a fixed order, so that two batches wait for one another instead of for each other.
LIMITED = """
INSERT INTO usage_limited_hour AS kept (hour, service_id, tenant_id, tokens)
SELECT * FROM unnest(%s::timestamptz[], %s::bigint[], %s::bigint[], %s::bigint[])
ON CONFLICT (hour, service_id, tenant_id) DO UPDATE SET tokens = kept.tokens + EXCLUDED.tokens
"""
Said = tuple[datetime, str, float, int, int, float]


def note_arrivals(source_id: int, stored: Sequence[Accepted], *, now: datetime) -> None:
    """Count what a batch brought, and how long after their end its events came, at the extremes."""
    ends: dict[tuple[int, str], list[int]] = {}
    for one in stored:
        ended = one.event.finished_at
        ends.setdefault((ended // HOUR, one.event.worker), []).append(ended)
    if not ends:
        return
    at = round(now.timestamp() * 1_000_000)
    rows = [
        (moment(hour * HOUR), worker, len(all_), (at - max(all_)) // 1000, (at - min(all_)) // 1000)
        for (hour, worker), all_ in sorted(ends.items())
    ]
    with connection.cursor() as cursor:
        columns = (list(column) for column in zip(*rows, strict=True))
        cursor.execute(NOTE, [source_id, now, *columns])


def note_limited(stored: Sequence[Accepted]) -> None:
    """Count what a source of some tenants said that services answered."""
    tokens: dict[tuple[int, int, int], int] = {}
    for event in (one.event for one in stored):
        if event.service_id:
            key = event.finished_at // HOUR, event.service_id, event.tenant_id
            tokens[key] = tokens.get(key, 0) + event.prompt_tokens + event.completion_tokens
    if tokens:
        rows = [(moment(key[0] * HOUR), *key[1:], count) for key, count in sorted(tokens.items())]
        with connection.cursor() as cursor:
            cursor.execute(LIMITED, [list(column) for column in zip(*rows, strict=True)])


def fold_arrivals(now: datetime) -> int:
    """Add up what was noted. Answers how many hours of sources were touched."""
    with fleet_scope(), connection.cursor() as cursor:
        cursor.execute(FOLD, [MOST_FOLDED])
        touched: int = cursor.rowcount
        return touched


def keep_gateway_hours(now: datetime) -> int:
    """Write down what the gateways that report now say of their last hours."""
    rows = [row for report in worker_reports(settings.REDIS_URL) for row in said_by(report)]
    if rows:
        with connection.cursor() as cursor:
            cursor.execute(SAID, [list(column) for column in zip(*sorted(rows), strict=True)])
    return len(rows)


def said_by(report: WorkerReport) -> list[Said]:
    """A row for each hour that it counts. One that does not count yet says nothing."""
    if not report.started:
        return []
    running = int(report.at * 1_000_000) // HOUR
    events = {running: 0, **report.events_by_hour}
    return [
        (
            moment(hour * HOUR),
            report.worker[:128],
            report.started,
            count,
            report.spool_events if hour == running else 0,
            report.spool_oldest_seconds if hour == running else 0.0,
        )
        for hour, count in events.items()
    ]
