"""Usage: what was delivered, its events, hours, days and services; what engines counted."""

from billing.queries.sums import FLEET, NONE, Comparison, Paired, wrong_rows
from billing.rules.confidence import TOLERATED_DRIFT
from billing.rules.events import MAX_LATE

# Hours that still wait for a roll-up or a rating are left out: they have not been compared yet.
ROLLED = """NOT EXISTS (SELECT 1 FROM usage_hour_mark k
    WHERE k.tenant_id = {t}.tenant_id AND k.hour = {t}.hour)"""
DAY = "day::timestamp AT TIME ZONE 'UTC'"
# Of days whose requests are dropped, hours are compared with what is kept of them instead.
KEPT = "({t}.hour AT TIME ZONE 'UTC')::date NOT IN (SELECT day FROM usage_day_dropped)"
# Cached tokens count as far as they are a part of their prompt: the others are missing.
EVENTS = f"""
SELECT s.hour, s.tenant_id, '', s.n1, s.n2, s.n3, s.n4, s.n5 FROM (
    SELECT date_bin('1 hour', event_time, 'epoch') AS hour, tenant_id, count(*) AS n1,
        sum(prompt_tokens) AS n2, sum(completion_tokens) AS n3,
        sum(least(cached_tokens, prompt_tokens)) AS n4, sum(gpu_ms * gpus) AS n5
    FROM usage_event WHERE event_time >= %(since)s GROUP BY 1, 2
) AS s WHERE {ROLLED.format(t="s")}
"""
HOURS = f"""
SELECT u.hour, u.tenant_id, '', sum(requests), sum(prompt_tokens), sum(completion_tokens),
    sum(cached_tokens), sum(gpu_ms)
FROM usage_hour u WHERE u.hour >= %(since)s AND {ROLLED.format(t="u")}
    AND {KEPT.format(t="u")} GROUP BY 1, 2
"""
REPORTS = """
SELECT date_bin('1 hour', started_at, 'epoch') AS hour, tenant_id,
    concat_ws(' ', 'application', application_id, model) AS place, sum(gib_hours) AS n1,
    count(*) AS n2
FROM prefix_report WHERE started_at >= %(since)s GROUP BY 1, 2, 3
"""
# Both are written in one transaction, so they have the same time. Older ids are forgotten. What a
# person took may be of any day: all parts are asked, each by its small index of what is new.
STORED = """
SELECT date_bin('1 hour', {at}, 'epoch'), NULL::bigint, 'source ' || source_id, count(*),
    sum(uuid_hash({id}))
FROM {table} WHERE {at} >= greatest(%(since)s, now() - interval '62 days') {where}
GROUP BY 1, 3
"""
METERED = """
SELECT m.hour, m.service_id, m.prompt_tokens + m.completion_tokens AS tokens
FROM usage_service_hour m WHERE m.hour >= %(since)s
"""
COUNTED = """
SELECT hour, service_id, prompt_tokens + completion_tokens AS tokens
FROM engine_hour WHERE hour >= %(since)s
"""
UUID = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
# A worker that dies before its next report has written more than it said, so more is no fault.
# An hour counts once it is over for an hour, by this clock or by the newest that a gateway reports:
# until then events are on their way. What a person corrected to another hour is not missing;
# of its time the door's rules hold, as of its arrival.
REPORTED = f"""
WITH said AS (
    SELECT hour, worker, sum(events) AS events FROM gateway_hour
    WHERE hour >= %(since)s AND {KEPT.format(t="gateway_hour")}
        AND hour <= greatest(now(), (SELECT max(hour) FROM gateway_hour)) - interval '2 hours'
    GROUP BY 1, 2
), stored AS (
    SELECT date_bin('1 hour', event_time, 'epoch') AS hour, worker, count(*) AS events
    FROM usage_event
    WHERE event_time >= (SELECT min(hour) FROM said)
        AND event_time < (SELECT max(hour) FROM said) + interval '1 hour'
    GROUP BY 1, 2
), corrected AS (
    SELECT i.ended_at, i.worker, e.event_time, e.worker AS stored_worker
    FROM quarantine_item i JOIN usage_event e ON e.source_id = i.source_id
        AND e.request_id = CASE WHEN i.event_id ~* '{UUID}' THEN i.event_id::uuid END
        AND e.event_time >= i.received_at - interval '{MAX_LATE.days + 1} days'
        AND e.event_time < i.received_at + interval '1 day'
    WHERE i.outcome = 'taken' AND i.corrected <> '' AND i.ended_at >= %(since)s
), aside AS (
    SELECT date_bin('1 hour', ended_at, 'epoch') AS hour, worker, count(*) AS events FROM (
        SELECT ended_at, worker FROM usage_quarantine
        UNION ALL SELECT ended_at, worker FROM quarantine_item WHERE outcome = 'dropped'
        UNION ALL SELECT ended_at, worker FROM corrected
            WHERE (date_bin('1 hour', ended_at, 'epoch'), worker)
                <> (date_bin('1 hour', event_time, 'epoch'), stored_worker)
    ) AS kept WHERE ended_at >= %(since)s GROUP BY 1, 2
)
SELECT hour AS at, {FLEET} AS tenant_id, 'worker ' || worker AS place, s.events AS l1,
    coalesce(g.events, 0) + coalesce(a.events, 0) AS r1
FROM said s LEFT JOIN stored g USING (hour, worker) LEFT JOIN aside a USING (hour, worker)
"""

USAGE = (
    Comparison(
        (
            "requests: events = hours",
            "prompt tokens: events = hours",
            "completion tokens: events = hours",
            "cached tokens, each a part of its prompt: events = hours",
            "GPU milliseconds: events = hours",
        ),
        EVENTS,
        HOURS,
    ),
    Comparison(
        ("ids delivered = events stored", "ids delivered = events stored, by digest"),
        STORED.format(at="seen_at", id="event_id", table="usage_seen", where="AND NOT is_copy"),
        STORED.format(at="stored_at", id="request_id", table="usage_event", where=""),
    ),
    Comparison(
        (
            "requests: hours = their heads",
            "prompt tokens: hours = their heads",
            "completion tokens: hours = their heads",
        ),
        "SELECT hour, tenant_id, '', sum(requests), sum(prompt_tokens), sum(completion_tokens)"
        " FROM usage_hour WHERE hour >= %(since)s GROUP BY 1, 2",
        "SELECT hour, tenant_id, '', events, prompt_tokens, completion_tokens"
        " FROM usage_hour_head WHERE hour >= %(since)s",
    ),
    Comparison(
        (
            "requests: hours = days (of all time)",
            "prompt tokens: hours = days (of all time)",
            "completion tokens: hours = days (of all time)",
        ),
        "SELECT date_trunc('day', hour, 'UTC'), tenant_id, '', sum(events), sum(prompt_tokens),"
        " sum(completion_tokens) FROM usage_hour_head GROUP BY 1, 2",
        f"SELECT {DAY}, tenant_id, '', events, prompt_tokens, completion_tokens FROM usage_day",
    ),
    Comparison(
        (
            "requests: hours = days of models (of all time)",
            "prompt tokens: hours = days of models (of all time)",
            "completion tokens: hours = days of models (of all time)",
        ),
        "SELECT date_trunc('day', hour, 'UTC'), tenant_id, model || ' ' || outcome, sum(requests),"
        " sum(prompt_tokens), sum(completion_tokens) FROM usage_hour GROUP BY 1, 2, 3",
        f"SELECT {DAY}, tenant_id, model || ' ' || outcome, requests, prompt_tokens,"
        " completion_tokens FROM usage_model_day",
    ),
    Comparison(
        (
            "prompt tokens: hours = hours of services (of all time)",
            "completion tokens: hours = hours of services (of all time)",
        ),
        f"SELECT hour, {FLEET}, 'service ' || service_id, sum(prompt_tokens),"
        " sum(completion_tokens) FROM usage_hour WHERE service_id > 0 GROUP BY hour, service_id",
        f"SELECT hour, {FLEET}, 'service ' || service_id, prompt_tokens, completion_tokens"
        " FROM usage_service_hour",
    ),
    Comparison(
        ("kept prefixes: reports = hours", "reports of kept prefixes = those of hours"),
        f"SELECT s.hour, s.tenant_id, s.place, s.n1, s.n2 FROM ({REPORTS}) AS s"
        f" WHERE {ROLLED.format(t='s')}",
        "SELECT hour, tenant_id, concat_ws(' ', 'application', application_id, model), gib_hours,"
        " reports FROM prefix_hour"
        f" WHERE hour >= %(since)s AND {ROLLED.format(t='prefix_hour')}",
    ),
    Paired(
        (f"tokens metered = counted by engines, within {TOLERATED_DRIFT:.1%}",),
        f"SELECT {NONE} AS at, {FLEET} AS tenant_id, 'service ' || service_id AS place,"
        " coalesce(sum(m.tokens), 0) AS l1, sum(c.tokens) AS r1"
        f" FROM ({COUNTED}) AS c LEFT JOIN ({METERED}) AS m USING (hour, service_id)"
        " GROUP BY service_id",
        differs=f"abs({{l}} - {{r}}) > {{r}} * {TOLERATED_DRIFT}",
    ),
    Paired(
        ("requests: reported by gateways = events + quarantine",),
        REPORTED,
        differs="{l} > {r}",
    ),
    wrong_rows(
        "requests with more cached than prompt tokens",
        "SELECT event_time AS at, tenant_id, 'request ' || request_id AS place FROM usage_event"
        " WHERE event_time >= %(since)s AND cached_tokens > prompt_tokens",
    ),
)
