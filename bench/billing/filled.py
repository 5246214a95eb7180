"""A month of requests that are there already: what is timed after it need not wait for ingest."""

import os
from datetime import datetime

import psycopg

from bench.pages.database import bare, divide

DENSE = 24  # requests of a tenant in an hour, as in a month of 10 million
BATCH = 5_000  # as if they had come in batches of so many: each left its marks
# Rows as `event` in `__main__` makes them, in the order of time.
EVENTS = """
INSERT INTO usage_event (request_id, source_id, tenant_id, application_id, credential_id, model,
    service_id, release_id, release, cluster, pod, traffic_class, outcome, reason, modifiers,
    rerouted_from, stream, http_status, finish_reason, usage_quality, prompt_tokens, cached_tokens,
    completion_tokens, started_at, event_time, queue_ms, ttft_ms, itl_ms, gpu_ms, worker,
    policy_version, routing_version, price_version, limit_versions, engine_id, demo)
SELECT gen_random_uuid(), 1, a.tenant_id, a.id, 1, 'model-' || n %% 3, 1 + n %% 3, 1,
    'rel-0123456789ab', 'dc1', 'model-0-abcdef', 'interactive',
    CASE WHEN n %% 20 > 0 THEN 'served' ELSE 'cancelled' END, '', '{}', '', true, 200, 'stop',
    'final', 900 + n %% 200, n %% 300, 100 + n %% 100, at - interval '3 s', at, 1.5, 120 + n %% 50,
    20, 2900, '', 0, 0, 0, '{}', '', false
FROM (
    SELECT n, %(now)s - %(hours)s * interval '1 hour' * (1 - n / %(count)s::float) AS at
    FROM generate_series(0, %(count)s - 1) n
) AS numbered JOIN (
    SELECT id, tenant_id, row_number() OVER (ORDER BY tenant_id) - 1 AS place FROM application
) AS a ON a.place = n %% (SELECT count(*) FROM application)
ORDER BY n
"""
MARKS = """
INSERT INTO usage_hour_mark (hour, tenant_id)
SELECT hour, tenant_id FROM (
    SELECT DISTINCT (row_number() OVER (ORDER BY event_time) - 1) / %(batch)s AS batch,
        date_bin('1 hour', event_time, 'epoch') AS hour, tenant_id
    FROM usage_event
) AS marked ORDER BY batch, hour, tenant_id
"""


def fill(count: int, tenants: int, now: datetime) -> None:
    """`count` requests before `now`, stored and marked but not rolled up."""
    hours = max(1, count // (tenants * DENSE))
    given = {"count": count, "hours": hours, "now": now, "batch": BATCH}
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as server:
        for setting in ("app.fleet = 'on'", "work_mem = '512MB'", "maintenance_work_mem = '1GB'"):
            server.execute(f"SET {setting}")
        divide(server, hours // 24 + 1)
        again = bare(server, "usage_event")
        server.execute(EVENTS, given)
        server.execute(MARKS, given)
        for statement in again:
            server.execute(statement)
        server.execute("VACUUM ANALYZE usage_event, usage_hour_mark")
