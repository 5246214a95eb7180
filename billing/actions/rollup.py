"""Roll up: recompute the hours that something new came for, and replace their rows.

1. Take the lock of roll-ups, or leave: one at a time is enough, and a worker that dies frees it.
2. Read marks, oldest first; the hours they name are recomputed from raw events as a whole.
3. Delete the marks that were read. Marks that came meanwhile have other ids and stay.

Events whose mark is visible are visible too, because both were committed together, and every
statement here sees what was committed before it began.
"""

from datetime import datetime

from django.db import connection

from tenants.base.scope import fleet_scope

MOST_MARKS = 5_000
LOCK = 7_301  # of advisory locks; the other actions of billing have the next numbers

READ = "SELECT id, hour, tenant_id FROM usage_hour_mark ORDER BY id LIMIT %s"
FORGET = """
DELETE FROM usage_hour USING unnest(%s::timestamptz[], %s::bigint[]) AS m (hour, tenant_id)
WHERE usage_hour.hour = m.hour AND usage_hour.tenant_id = m.tenant_id
"""
# Clients may send any text as a model. Names that no service has are summed up as one, or a
# client could make the table as long as it likes.
SUM = """
INSERT INTO usage_hour (hour, tenant_id, application_id, model, service_id, traffic_class, outcome,
    requests, prompt_tokens, cached_tokens, completion_tokens, gpu_ms)
SELECT m.hour, m.tenant_id, e.application_id,
    CASE WHEN e.reason = 'unknown_model' THEN '' ELSE e.model END AS named,
    coalesce(e.service_id, 0) AS service, e.traffic_class, e.outcome, count(*),
    sum(e.prompt_tokens), sum(e.cached_tokens), sum(e.completion_tokens), sum(e.gpu_ms)
FROM unnest(%s::timestamptz[], %s::bigint[]) AS m (hour, tenant_id)
JOIN usage_event e ON e.tenant_id = m.tenant_id
    AND e.event_time >= m.hour AND e.event_time < m.hour + interval '1 hour'
GROUP BY m.hour, m.tenant_id, e.application_id, named, service, e.traffic_class, e.outcome
"""
HEAD = """
INSERT INTO usage_hour_head (hour, tenant_id, version, events, prompt_tokens, completion_tokens,
    rolled_at, rated_version, amount, currency)
SELECT m.hour, m.tenant_id, 1, s.events, s.prompt, s.completion, %s, 0, 0, ''
FROM unnest(%s::timestamptz[], %s::bigint[]) AS m (hour, tenant_id), LATERAL (
    SELECT coalesce(sum(requests), 0) AS events, coalesce(sum(prompt_tokens), 0) AS prompt,
        coalesce(sum(completion_tokens), 0) AS completion
    FROM usage_hour u WHERE u.hour = m.hour AND u.tenant_id = m.tenant_id
) AS s ORDER BY m.hour, m.tenant_id
ON CONFLICT (hour, tenant_id) DO UPDATE SET version = usage_hour_head.version + 1,
    events = EXCLUDED.events, prompt_tokens = EXCLUDED.prompt_tokens,
    completion_tokens = EXCLUDED.completion_tokens, rolled_at = EXCLUDED.rolled_at
"""
FORGET_DAYS = """
DELETE FROM usage_day USING unnest(%s::date[], %s::bigint[]) AS m (day, tenant_id)
WHERE usage_day.day = m.day AND usage_day.tenant_id = m.tenant_id
"""
SUM_DAYS = """
INSERT INTO usage_day (day, tenant_id, events, prompt_tokens, completion_tokens)
SELECT m.day, m.tenant_id, sum(events), sum(prompt_tokens), sum(completion_tokens)
FROM unnest(%s::date[], %s::bigint[]) AS m (day, tenant_id)
JOIN usage_hour_head h ON h.tenant_id = m.tenant_id
    AND h.hour >= m.day::timestamp AT TIME ZONE 'UTC'
    AND h.hour < (m.day + 1)::timestamp AT TIME ZONE 'UTC'
GROUP BY 1, 2
"""
CLEAR = "DELETE FROM usage_hour_mark WHERE id = ANY(%s)"


def roll_up(now: datetime) -> int:
    """Recompute marked hours. Returns how many hours of tenants were replaced."""
    with fleet_scope(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            return 0
        cursor.execute(READ, [MOST_MARKS])
        marks = cursor.fetchall()
        if not marks:
            return 0
        pairs = sorted({(hour, tenant_id) for _, hour, tenant_id in marks})
        hours, tenants = [h for h, _ in pairs], [t for _, t in pairs]
        cursor.execute(FORGET, [hours, tenants])
        cursor.execute(SUM, [hours, tenants])
        cursor.execute(HEAD, [now, hours, tenants])
        days = sorted({(hour.date(), tenant_id) for hour, tenant_id in pairs})
        for statement in (FORGET_DAYS, SUM_DAYS):
            cursor.execute(statement, [[d for d, _ in days], [t for _, t in days]])
        cursor.execute(CLEAR, [[mark for mark, _, _ in marks]])
        return len(pairs)
