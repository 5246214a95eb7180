"""Traffic statistics: added to in the transaction that stores the usage rows."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import connection
from django.utils import timezone

from fleet.rules.traffic import TrafficSample, gather

FINE_FOR = timedelta(hours=6)  # gates read nothing older; a loaded history needs no fine slots

PLACE = "seconds, slot, tenant_id, service_id, release_id, traffic_class"
UPSERT_COUNTS = f"""
INSERT INTO traffic_slot ({PLACE}, outcome, reason,
    requests, prompt_tokens, cached_tokens, completion_tokens)
SELECT * FROM unnest(%s::smallint[], %s::timestamptz[], %s::bigint[], %s::bigint[], %s::bigint[],
    %s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])
ON CONFLICT ({PLACE}, outcome, reason) DO UPDATE SET
    requests = traffic_slot.requests + EXCLUDED.requests,
    prompt_tokens = traffic_slot.prompt_tokens + EXCLUDED.prompt_tokens,
    cached_tokens = traffic_slot.cached_tokens + EXCLUDED.cached_tokens,
    completion_tokens = traffic_slot.completion_tokens + EXCLUDED.completion_tokens
"""
UPSERT_LATENCIES = f"""
INSERT INTO latency_slot ({PLACE}, metric, bucket, samples)
SELECT * FROM unnest(%s::smallint[], %s::timestamptz[], %s::bigint[], %s::bigint[], %s::bigint[],
    %s::text[], %s::text[], %s::smallint[], %s::bigint[])
ON CONFLICT ({PLACE}, metric, bucket) DO UPDATE SET
    samples = latency_slot.samples + EXCLUDED.samples
"""


def record(samples: Sequence[TrafficSample], *, now: datetime | None = None) -> None:
    """Add requests to the slots, inside the caller's transaction and scope.

    Rows are locked in the order of their keys, so that writers beside each other never deadlock.
    """
    fine_after = (now or timezone.now()) - FINE_FOR
    counts, latencies = gather(samples, fine_after=fine_after)
    with connection.cursor() as cursor:
        if counts:
            rows = [(*key, *counts[key]) for key in sorted(counts)]
            cursor.execute(UPSERT_COUNTS, _columns(rows))
        if latencies:
            rows_of_latency = [(*key, latencies[key]) for key in sorted(latencies)]
            cursor.execute(UPSERT_LATENCIES, _columns(rows_of_latency))


def _columns(rows: Sequence[Sequence[object]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]
