"""Traffic statistics: added to in the transaction that stores the usage rows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from django.db import connection
from django.utils import timezone

from fleet.actions.rollout_answers import count_answers
from fleet.rules.traffic import TrafficSample, gather
from tenants.base.arrays import array

FINE_FOR = timedelta(hours=6)  # gates read nothing older; a loaded history needs no fine slots

TRAFFIC = ("traffic_slot", "latency_slot")
COPIES = ("shadow_slot", "shadow_latency_slot")
ADAPTERS = ("adapter_slot", "adapter_latency_slot")
PLACE = "seconds, slot, tenant_id, service_id, release_id, traffic_class"
UPSERT_COUNTS = f"""
INSERT INTO {{table}} ({PLACE}{{adapter}}, outcome, reason,
    requests, prompt_tokens, cached_tokens, completion_tokens)
SELECT seconds, to_timestamp(slot), tenant, service, release, of_class{{adapter}}, outcome, reason,
    requests, prompt, cached, completion
FROM unnest(%s::smallint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
    %s::text[], %s::text[], %s::text[],
    %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]{{of}})
    AS n (seconds, slot, tenant, service, release, of_class, outcome, reason,
    requests, prompt, cached, completion{{adapter}})
ON CONFLICT ({PLACE}{{adapter}}, outcome, reason) DO UPDATE SET
    requests = {{table}}.requests + EXCLUDED.requests,
    prompt_tokens = {{table}}.prompt_tokens + EXCLUDED.prompt_tokens,
    cached_tokens = {{table}}.cached_tokens + EXCLUDED.cached_tokens,
    completion_tokens = {{table}}.completion_tokens + EXCLUDED.completion_tokens
"""
UPSERT_LATENCIES = f"""
INSERT INTO {{table}} ({PLACE}{{adapter}}, metric, bucket, samples)
SELECT seconds, to_timestamp(slot), tenant, service, release, of_class{{adapter}}, metric, bucket,
    samples
FROM unnest(%s::smallint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
    %s::text[], %s::text[], %s::smallint[], %s::bigint[]{{of}})
    AS n (seconds, slot, tenant, service, release, of_class, metric, bucket, samples{{adapter}})
ON CONFLICT ({PLACE}{{adapter}}, metric, bucket) DO UPDATE SET
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
    _add({"": samples}, TRAFFIC, now)
    count_answers(samples, now or timezone.now())
    by_adapter: dict[str, list[TrafficSample]] = {}
    for sample in samples:
        if sample.adapter:
            by_adapter.setdefault(sample.adapter, []).append(sample)
    if by_adapter:
        _add(by_adapter, ADAPTERS, now)
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
    _add({"": samples}, COPIES, now)


def _add(
    groups: Mapping[str, Sequence[TrafficSample]], tables: tuple[str, str], now: datetime | None
) -> None:
    """`groups`: by adapter; empty where the tables have no column of it.

    Lock rows in the order of their keys, so that writers beside each other never deadlock.
    """
    fine_after = (now or timezone.now()) - FINE_FOR
    rows: list[Sequence[object]] = []
    rows_of_latency: list[Sequence[object]] = []
    for adapter in sorted(groups):
        named = (adapter,) if adapter else ()
        counts, latencies = gather(groups[adapter], fine_after=fine_after)
        rows += [(*key, *counts[key], *named) for key in sorted(counts)]
        rows_of_latency += [(*key, latencies[key], *named) for key in sorted(latencies)]
    is_named = "" not in groups
    _upsert(UPSERT_COUNTS, tables[0], rows, is_named)
    _upsert(UPSERT_LATENCIES, tables[1], rows_of_latency, is_named)


def _upsert(query: str, table: str, rows: Sequence[Sequence[object]], is_named: bool) -> None:
    if not rows:
        return
    named = (
        {"adapter": ", adapter", "of": ", %s::text[]"} if is_named else {"adapter": "", "of": ""}
    )
    with connection.cursor() as cursor:
        columns = [array(column) for column in zip(*rows, strict=True)]
        cursor.execute(query.format(table=table, **named), columns)
