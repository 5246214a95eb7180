"""Roll up: recompute the hours that something new came for, and replace their rows.

1. Take the lock of roll-ups, or leave: one at a time is enough, and a worker that dies frees it.
2. Take marks away, oldest first; a worker that dies puts them back.
3. Recompute the hours that they named from raw events as a whole. Marks that came meanwhile stay.

Events whose mark is visible are visible too, because both were committed together, and every
statement here sees what was committed before it began.
"""

from datetime import datetime
from typing import Any

from django.db import connection

from tenants.base.scope import fleet_scope

MOST_MARKS = 20_000
LOCK = 7_301  # of advisory locks; the other actions of billing have the next numbers
WORK_MEMORY = "64MB"  # sums of a pass stay in memory

PAIRS = """
CREATE TEMPORARY TABLE IF NOT EXISTS roll_pair (hour timestamptz, tenant_id bigint)
ON COMMIT DELETE ROWS
"""
TAKE = """
WITH taken AS (
    DELETE FROM usage_hour_mark
    WHERE id IN (SELECT id FROM usage_hour_mark ORDER BY id LIMIT %s) RETURNING hour, tenant_id
)
INSERT INTO roll_pair SELECT DISTINCT hour, tenant_id FROM taken ORDER BY hour, tenant_id
"""
FORGET = """
DELETE FROM usage_hour u USING roll_pair m WHERE u.hour = m.hour AND u.tenant_id = m.tenant_id
"""
# The hour of an event stands twice: as bounds, for an index where few hours are asked for, and as
# a value, for one look at all events where many are. Only between bounds would compare each event
# with each hour of its tenant.
#
# Clients may send any text as a model. Names that no service has are summed up as one, or a
# client could make the table as long as it likes.
SUM = """
WITH summed AS (
    INSERT INTO usage_hour (hour, tenant_id, application_id, model, service_id, traffic_class,
        outcome, requests, prompt_tokens, cached_tokens, completion_tokens, gpu_ms)
    SELECT m.hour, m.tenant_id, e.application_id,
        CASE WHEN e.reason = 'unknown_model' THEN '' ELSE e.model END AS named,
        coalesce(e.service_id, 0) AS service, e.traffic_class, e.outcome, count(*),
        sum(e.prompt_tokens), sum(e.cached_tokens), sum(e.completion_tokens), sum(e.gpu_ms)
    FROM roll_pair m JOIN usage_event e ON e.tenant_id = m.tenant_id
        AND date_trunc('hour', e.event_time, 'UTC') = m.hour
        AND e.event_time >= m.hour AND e.event_time < m.hour + interval '1 hour'
    WHERE e.event_time >= %s AND e.event_time < %s
    GROUP BY m.hour, m.tenant_id, e.application_id, named, service, e.traffic_class, e.outcome
    RETURNING hour, tenant_id, requests, prompt_tokens, completion_tokens
)
INSERT INTO usage_hour_head (hour, tenant_id, version, events, prompt_tokens, completion_tokens,
    rolled_at, rated_version, amount, currency)
SELECT m.hour, m.tenant_id, 1, coalesce(sum(requests), 0), coalesce(sum(prompt_tokens), 0),
    coalesce(sum(completion_tokens), 0), %s, 0, 0, ''
FROM roll_pair m LEFT JOIN summed s ON s.hour = m.hour AND s.tenant_id = m.tenant_id
GROUP BY m.hour, m.tenant_id ORDER BY m.hour, m.tenant_id
ON CONFLICT (hour, tenant_id) DO UPDATE SET version = usage_hour_head.version + 1,
    events = EXCLUDED.events, prompt_tokens = EXCLUDED.prompt_tokens,
    completion_tokens = EXCLUDED.completion_tokens, rolled_at = EXCLUDED.rolled_at
"""
DAYS = "(SELECT DISTINCT (hour AT TIME ZONE 'UTC')::date AS day, tenant_id FROM roll_pair) AS m"
FORGET_DAYS = f"""
DELETE FROM usage_day USING {DAYS}
WHERE usage_day.day = m.day AND usage_day.tenant_id = m.tenant_id
"""
SUM_DAYS = f"""
INSERT INTO usage_day (day, tenant_id, events, prompt_tokens, completion_tokens)
SELECT m.day, m.tenant_id, sum(events), sum(prompt_tokens), sum(completion_tokens)
FROM {DAYS} JOIN usage_hour_head h ON h.tenant_id = m.tenant_id
    AND h.hour >= m.day::timestamp AT TIME ZONE 'UTC'
    AND h.hour < (m.day + 1)::timestamp AT TIME ZONE 'UTC'
GROUP BY 1, 2
"""


def roll_up(now: datetime) -> int:
    """Recompute marked hours. Returns how many hours of tenants were replaced."""
    with fleet_scope(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            return 0
        hours, first, end = _take(cursor)
        if hours:
            cursor.execute(FORGET)
            cursor.execute(SUM, [first, end, now])
            cursor.execute(FORGET_DAYS)
            cursor.execute(SUM_DAYS)
        return hours


def _take(cursor: Any) -> tuple[int, datetime, datetime]:
    """How many hours of tenants were marked, and the span that they lie in."""
    cursor.execute("SELECT set_config('work_mem', %s, true)", [WORK_MEMORY])
    cursor.execute(PAIRS)
    cursor.execute("DELETE FROM roll_pair")  # a pass in the same transaction left some
    cursor.execute(TAKE, [MOST_MARKS])
    cursor.execute("ANALYZE roll_pair")
    cursor.execute("SELECT count(*), min(hour), max(hour) + interval '1 hour' FROM roll_pair")
    hours, first, end = cursor.fetchone()
    return hours, first, end
