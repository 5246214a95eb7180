"""Traffic statistics: added to in the transaction that stores the usage rows."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from django.db import connection
from django.utils import timezone

from fleet.actions.rollout_answers import count_answers
from fleet.rules.traffic import TrafficSample, gather

FINE_FOR = timedelta(hours=6)  # gates read nothing older; a loaded history needs no fine slots

TRAFFIC = ("traffic_slot", "latency_slot")
COPIES = ("shadow_slot", "shadow_latency_slot")
ADAPTERS = ("adapter_slot", "adapter_latency_slot")
PLACE = "seconds, slot, tenant_id, service_id, release_id, traffic_class"
UPSERT_COUNTS = f"""
INSERT INTO {{table}} ({PLACE}{{name}}, outcome, reason,
    requests, prompt_tokens, cached_tokens, completion_tokens)
SELECT seconds, to_timestamp(slot), tenant, service, release, of_class{{value}}, outcome, reason,
    requests, prompt, cached, completion
FROM unnest(%s::smallint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
    %s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])
    AS n (seconds, slot, tenant, service, release, of_class, outcome, reason,
    requests, prompt, cached, completion)
ON CONFLICT ({PLACE}{{name}}, outcome, reason) DO UPDATE SET
    requests = {{table}}.requests + EXCLUDED.requests,
    prompt_tokens = {{table}}.prompt_tokens + EXCLUDED.prompt_tokens,
    cached_tokens = {{table}}.cached_tokens + EXCLUDED.cached_tokens,
    completion_tokens = {{table}}.completion_tokens + EXCLUDED.completion_tokens
"""
UPSERT_LATENCIES = f"""
INSERT INTO {{table}} ({PLACE}{{name}}, metric, bucket, samples)
SELECT seconds, to_timestamp(slot), tenant, service, release, of_class{{value}}, metric, bucket,
    samples
FROM unnest(%s::smallint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
    %s::text[], %s::text[], %s::smallint[], %s::bigint[])
    AS n (seconds, slot, tenant, service, release, of_class, metric, bucket, samples)
ON CONFLICT ({PLACE}{{name}}, metric, bucket) DO UPDATE SET
    samples = {{table}}.samples + EXCLUDED.samples
"""
UPSERT_ADAPTERS = """
INSERT INTO adapter_use (day, service_id, adapter, tenant_id, requests)
SELECT * FROM unnest(%s::date[], %s::bigint[], %s::text[], %s::bigint[], %s::bigint[])
ON CONFLICT (service_id, day, adapter, tenant_id) DO UPDATE SET
    requests = adapter_use.requests + EXCLUDED.requests
"""


def record(samples: Sequence[TrafficSample], *, now: datetime | None = None) -> None:
    """Add requests to the slots, inside the caller's transaction and scope."""
    _add(samples, TRAFFIC, now)
    count_answers(samples, now or timezone.now())
    adapters = sorted({s.adapter for s in samples if s.adapter})
    for adapter in adapters:
        _add([s for s in samples if s.adapter == adapter], ADAPTERS, now, adapter)
    if adapters:
        _count_adapters(samples)


def _count_adapters(samples: Sequence[TrafficSample]) -> None:
    uses = Counter(
        (s.at.astimezone(UTC).date(), s.service_id, s.adapter, s.tenant_id)
        for s in samples
        if s.adapter
    )
    rows = [(*key, uses[key]) for key in sorted(uses)]
    with connection.cursor() as cursor:
        cursor.execute(UPSERT_ADAPTERS, [list(column) for column in zip(*rows, strict=True)])


def record_copies(samples: Sequence[TrafficSample], *, now: datetime | None = None) -> None:
    """Add what shadows of rollouts answered to slots of their own: no client's requests."""
    _add(samples, COPIES, now)


def _add(
    samples: Sequence[TrafficSample],
    tables: tuple[str, str],
    now: datetime | None,
    adapter: str = "",
) -> None:
    """Lock rows in the order of their keys, so that writers beside each other never deadlock."""
    fine_after = (now or timezone.now()) - FINE_FOR
    counts, latencies = gather(samples, fine_after=fine_after)
    rows = [(*key, *counts[key]) for key in sorted(counts)]
    _upsert(UPSERT_COUNTS, tables[0], rows, adapter)
    rows_of_latency = [(*key, latencies[key]) for key in sorted(latencies)]
    _upsert(UPSERT_LATENCIES, tables[1], rows_of_latency, adapter)


def _upsert(query: str, table: str, rows: Sequence[Sequence[object]], adapter: str) -> None:
    if not rows:
        return
    named = {"name": ", adapter", "value": ", %s::text"} if adapter else {"name": "", "value": ""}
    values = [adapter, *_columns(rows)] if adapter else _columns(rows)
    with connection.cursor() as cursor:
        cursor.execute(query.format(table=table, **named), values)


def _columns(rows: Sequence[Sequence[object]]) -> list[list[object] | str]:
    """As arrays for `unnest`: numbers and times as literals, which cost the driver far less."""
    return [_array(column) for column in zip(*rows, strict=True)]


def _array(column: Sequence[object]) -> list[object] | str:
    if isinstance(column[0], str):
        return list(column)
    seconds: dict[object, int] = {
        at: round(at.timestamp()) for at in {*column} if isinstance(at, datetime)
    }
    return f"{{{','.join([str(seconds.get(v, v)) for v in column])}}}"
