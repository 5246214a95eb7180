"""Requests written by the database itself: a month of them, to check the books over."""

import time
from datetime import timedelta

from django.db import connection

from billing.drive.checks import check_all
from billing.queries import checks
from tenants.base.scope import fleet_scope

FILL = """
WITH sent AS MATERIALIZED (
    SELECT gen_random_uuid() AS id, n, t.tenant_id, t.application_id,
        %(start)s + (%(end)s - %(start)s) * (n::float8 / %(events)s) AS at
    FROM generate_series(0, %(events)s - 1) AS n
    JOIN unnest(%(tenants)s::bigint[], %(applications)s::bigint[])
        WITH ORDINALITY AS t (tenant_id, application_id, place)
        ON t.place = 1 + n %% cardinality(%(tenants)s::bigint[])
), seen AS (
    INSERT INTO usage_seen (source_id, event_id, payload_sha) SELECT %(source)s, id, '' FROM sent
), marked AS (
    INSERT INTO usage_hour_mark (hour, tenant_id)
    SELECT DISTINCT date_bin('1 hour', at, 'epoch'), tenant_id FROM sent
)
INSERT INTO usage_event (request_id, source_id, tenant_id, application_id, credential_id, model,
    service_id, release, cluster, pod, traffic_class, outcome, reason, modifiers, rerouted_from,
    stream, http_status, finish_reason, usage_quality, prompt_tokens, cached_tokens,
    completion_tokens, started_at, event_time, gpu_ms, worker, policy_version, routing_version,
    price_version, limit_versions, engine_id, demo)
SELECT id, %(source)s, tenant_id, application_id, 1, 'model-' || n %% 3, 1 + n %% 3,
    'rel-0123456789ab', 'dc1', 'model-0', 'interactive', 'served', '', '{}', '', true, 200, 'stop',
    'final', 900 + n %% 200, n %% 300, 100 + n %% 100, at - interval '3 s', at, 2900, '', 1, 1, 1,
    '{}', '', false
FROM sent
"""
PART = 500_000


def fill(tenants, source_id, events, start, end):
    """In parts, so that none keeps all of them in memory."""
    columns = [list(c) for c in zip(*tenants, strict=True)]
    parts = max(1, events // PART)
    for part in range(parts):
        span = (end - start) / parts
        given = {"start": start + span * part, "end": start + span * (part + 1)}
        given |= {"events": events // parts, "source": source_id}
        given |= {"tenants": columns[0], "applications": columns[1]}
        with fleet_scope(), connection.cursor() as cursor:
            cursor.execute(FILL, given)
    with connection.cursor() as cursor:
        for table in "usage_event", "usage_seen", "usage_hour_mark":
            cursor.execute(f"ANALYZE {table}")


def check(start, now):
    """All sums; then the comparisons that took longest by themselves."""
    found = check_all(start, now)
    assert all(c.holds for c in found), [c.sentence for c in found if not c.holds]
    return len(found)


def slowest(start, count=6):
    """(seconds, first sentence) of each comparison in the database."""
    took = []
    with fleet_scope():
        for found in (*checks.USAGE, *checks.CHARGES, *checks.COSTS, *checks.BOOKS):
            began = time.perf_counter()
            list(checks.compare(found, {"since": start}))
            took.append((time.perf_counter() - began, found.sentences[0]))
    return sorted(took, reverse=True)[:count]


MONTH = timedelta(days=30)
