"""Roll up: recompute the hours that something new came for, and replace their rows.

1. Take the lock of a lane, or leave it: one at a time is enough, and a worker that dies frees it.
2. Take marks of its days away, oldest first; a worker that dies puts them back.
3. Recompute the hours that they named from raw events as a whole. Marks that came meanwhile stay.

Lanes take turns by UTC days, so that two workers use two cores after a backlog. No row that a pass
writes, of hours, of days or of services' hours, is of another day: lanes never wait for each other.

Events whose mark is visible are visible too, because both were committed together, and every
statement here sees what was committed before it began.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from billing.actions.bulk import in_bulk, make_working_tables
from billing.actions.prefixes import sum_prefixes
from tenants.base.scope import fleet_scope

MOST_MARKS = 40_000
LANES = 2
LOCK = 7_301  # of advisory locks; the other actions of billing have the next numbers
# Workers of before there were lanes take the first one alone; while one of them works, none does.
TRY_LOCK = "SELECT pg_try_advisory_xact_lock_shared(%s) AND pg_try_advisory_xact_lock(%s, %s)"
CROWDED = 10  # tenants of an hour, from which on it is read as a whole
HOUR = timedelta(hours=1)

WORKING = {
    "roll_pair": "hour timestamptz, tenant_id bigint",
    "roll_sum": "hour timestamptz, tenant_id bigint, events bigint, prompt bigint, answer bigint",
}
# Without a zone: to reckon with one costs as much as to read the mark.
DAY_OF_LANE = "date_bin('{} day', hour, '2000-01-01T00:00Z')"
OF_LANE = f"{DAY_OF_LANE.format(1)} - {DAY_OF_LANE.format(LANES)} = %s * interval '1 day'"
# How far, and then all up to there: the planner would compare the whole table with a list of ids.
UPTO = f"""
SELECT max(id) FROM (
    SELECT id FROM usage_hour_mark WHERE {OF_LANE} ORDER BY id LIMIT %s
) AS oldest
"""
TAKE = f"""
WITH taken AS (
    DELETE FROM usage_hour_mark WHERE id <= %s AND {OF_LANE} RETURNING hour, tenant_id
)
INSERT INTO roll_pair SELECT hour, tenant_id FROM taken GROUP BY 1, 2
"""
FORGET = """
DELETE FROM usage_hour u USING roll_pair m WHERE u.hour = m.hour AND u.tenant_id = m.tenant_id
"""
# What of the time in an engine was before the hour in which a request ended, as far as the hour
# before it goes. Mostly nothing: two moments are compared before anything is reckoned.
HOUR_OF = "date_bin('1 hour', e.event_time, 'epoch')"
MS = "floor(extract(epoch FROM {}) * 1000)::bigint"
BEFORE = f"""
coalesce(sum(e.gpus * greatest(0, least(3600000,
    e.gpu_ms - {MS.format(f"(e.event_time - {HOUR_OF})")},
    {MS.format(f"({HOUR_OF} - e.started_at)")})))
    FILTER (WHERE e.started_at < {HOUR_OF}), 0)
"""
# Clients may send any text as a model. Names that no service has are summed up as one, or a
# client could make the table as long as it likes.
SUMS = f"""
e.application_id, CASE WHEN e.reason = 'unknown_model' THEN '' ELSE e.model END AS named,
coalesce(e.service_id, 0) AS service, e.traffic_class, e.outcome, e.release, e.hosted,
e.gpu_product, count(*), sum(e.prompt_tokens), sum(e.cached_tokens), sum(e.completion_tokens),
sum(e.gpu_ms * e.gpus), {BEFORE}
FROM usage_event e
"""
STORE = """
WITH {before}summed AS (
    INSERT INTO usage_hour (hour, tenant_id, application_id, model, service_id, traffic_class,
        outcome, release, hosted, gpu_product, requests, prompt_tokens, cached_tokens,
        completion_tokens, gpu_ms, before_ms)
    {rows} RETURNING hour, tenant_id, requests, prompt_tokens, completion_tokens
)
INSERT INTO roll_sum
SELECT hour, tenant_id, sum(requests), sum(prompt_tokens), sum(completion_tokens)
FROM summed GROUP BY 1, 2
"""
# Every event of the span is read once, and no event is compared with marks. Summed before it is
# ordered, or the planner reads all events by tenant; in the order of the widest index of hours,
# which costs a quarter less to keep so.
SUM_CROWDED = STORE.format(
    before=f"""s AS MATERIALIZED (
    SELECT date_bin('1 hour', e.event_time, 'epoch') AS hour, e.tenant_id, {SUMS}
    WHERE e.event_time >= %s AND e.event_time < %s GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
), """,
    rows="""
SELECT s.* FROM s JOIN roll_pair m ON m.hour = s.hour AND m.tenant_id = s.tenant_id
ORDER BY s.tenant_id, s.hour
""",
)
# The span of them all names the parts to look into, before any of them is opened.
SUM_SINGLE = STORE.format(
    before="",
    rows=f"""
SELECT m.hour, m.tenant_id, s.* FROM roll_pair m CROSS JOIN LATERAL (
    SELECT {SUMS} WHERE e.tenant_id = m.tenant_id
        AND e.event_time >= m.hour AND e.event_time < m.hour + interval '1 hour'
        AND e.event_time >= %s AND e.event_time < %s
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
) AS s WHERE m.hour = ANY(%s)
""",
)
HEAD = """
INSERT INTO usage_hour_head (hour, tenant_id, version, events, prompt_tokens, completion_tokens,
    rolled_at, rated_version, amount, currency)
SELECT m.hour, m.tenant_id, 1, coalesce(events, 0), coalesce(prompt, 0), coalesce(answer, 0), %s,
    0, 0, ''
FROM roll_pair m LEFT JOIN roll_sum s ON s.hour = m.hour AND s.tenant_id = m.tenant_id
ORDER BY m.hour, m.tenant_id
ON CONFLICT (hour, tenant_id) DO UPDATE SET version = usage_hour_head.version + 1,
    events = EXCLUDED.events, prompt_tokens = EXCLUDED.prompt_tokens,
    completion_tokens = EXCLUDED.completion_tokens, rolled_at = EXCLUDED.rolled_at
"""
DAYS = "(SELECT DISTINCT (hour AT TIME ZONE 'UTC')::date AS day, tenant_id FROM roll_pair) AS m"
FORGET_DAYS = f"""
DELETE FROM usage_day USING {DAYS}
WHERE usage_day.day = m.day AND usage_day.tenant_id = m.tenant_id
"""
# Day by day: joined, each pass would read all heads there are.
SUM_DAYS = f"""
INSERT INTO usage_day (day, tenant_id, events, prompt_tokens, completion_tokens)
SELECT m.day, m.tenant_id, s.* FROM {DAYS} CROSS JOIN LATERAL (
    SELECT sum(events), sum(prompt_tokens), sum(completion_tokens) FROM usage_hour_head
    WHERE tenant_id = m.tenant_id AND hour >= m.day::timestamp AT TIME ZONE 'UTC'
        AND hour < (m.day + 1)::timestamp AT TIME ZONE 'UTC' OFFSET 0
) AS s
"""


def roll_up(now: datetime) -> int:
    """Recompute marked hours. Returns how many hours of tenants were replaced."""
    return sum(_pass(lane, now) for lane in range(LANES))


def _pass(lane: int, now: datetime) -> int:
    with fleet_scope(), connection.cursor() as cursor:
        cursor.execute(TRY_LOCK, [LOCK, LOCK, lane])
        if not cursor.fetchone()[0]:
            return 0
        with in_bulk(cursor):
            hours = _take(cursor, lane)
            if hours:
                cursor.execute(FORGET)
                _sum(cursor)
                sum_prefixes(cursor)
                cursor.execute(HEAD, [now])
                cursor.execute(FORGET_DAYS)
                cursor.execute(SUM_DAYS)
            return hours


def _take(cursor: Any, lane: int) -> int:
    """How many hours of tenants were marked."""
    cursor.execute(UPTO, [lane, MOST_MARKS])
    upto = cursor.fetchone()[0]
    if upto is None:
        return 0
    make_working_tables(cursor, WORKING)
    cursor.execute(TAKE, [upto, lane])
    hours: int = cursor.rowcount
    cursor.execute("ANALYZE roll_pair")
    return hours


def _sum(cursor: Any) -> None:
    """Hours of many tenants are read as a whole, side by side; the others tenant by tenant."""
    cursor.execute("SELECT hour, count(*) FROM roll_pair GROUP BY 1 ORDER BY 1")
    hours = cursor.fetchall()
    for start, end in spans([hour for hour, tenants in hours if tenants >= CROWDED]):
        cursor.execute(SUM_CROWDED, [start, end])
    single = [hour for hour, tenants in hours if tenants < CROWDED]
    if single:
        cursor.execute(SUM_SINGLE, [single[0], single[-1] + HOUR, single])
    cursor.execute("ANALYZE roll_sum")


def spans(hours: Sequence[datetime]) -> list[tuple[datetime, datetime]]:
    """Hours in a row as [start, end)."""
    found: list[tuple[datetime, datetime]] = []
    for hour in hours:
        if found and found[-1][1] == hour:
            found[-1] = found[-1][0], hour + HOUR
        else:
            found.append((hour, hour + HOUR))
    return found
