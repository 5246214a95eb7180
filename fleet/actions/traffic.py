"""Traffic statistics: added to in the transaction that stores the usage rows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.db import connection
from django.utils import timezone

from fleet.actions.rollout_answers import count_answers
from fleet.queries.audience import applications_named
from fleet.rules.traffic import GATE_SECONDS, TrafficSample, gather
from tenants.base.arrays import array

FINE_FOR = timedelta(hours=6)  # gates read nothing older; a loaded history needs no fine slots

PLACE = "seconds, slot, tenant_id, service_id, release_id, traffic_class"
UPSERT_COUNTS = f"""
INSERT INTO {{table}} ({PLACE}{{more}}, outcome, reason,
    requests, prompt_tokens, cached_tokens, completion_tokens)
SELECT seconds, to_timestamp(slot), tenant, service, release, of_class{{more}}, outcome, reason,
    requests, prompt, cached, completion
FROM unnest(%s::smallint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
    %s::text[], %s::text[], %s::text[],
    %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]{{of}})
    AS n (seconds, slot, tenant, service, release, of_class, outcome, reason,
    requests, prompt, cached, completion{{more}})
ON CONFLICT ({PLACE}{{more}}, outcome, reason) DO UPDATE SET
    requests = {{table}}.requests + EXCLUDED.requests,
    prompt_tokens = {{table}}.prompt_tokens + EXCLUDED.prompt_tokens,
    cached_tokens = {{table}}.cached_tokens + EXCLUDED.cached_tokens,
    completion_tokens = {{table}}.completion_tokens + EXCLUDED.completion_tokens
"""
UPSERT_LATENCIES = f"""
INSERT INTO {{table}} ({PLACE}{{more}}, metric, bucket, samples)
SELECT seconds, to_timestamp(slot), tenant, service, release, of_class{{more}}, metric, bucket,
    samples
FROM unnest(%s::smallint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
    %s::text[], %s::text[], %s::smallint[], %s::bigint[]{{of}})
    AS n (seconds, slot, tenant, service, release, of_class, metric, bucket, samples{{more}})
ON CONFLICT ({PLACE}{{more}}, metric, bucket) DO UPDATE SET
    samples = {{table}}.samples + EXCLUDED.samples
"""
UPSERT_ADAPTERS = """
INSERT INTO adapter_use (day, service_id, adapter, tenant_id, requests)
SELECT * FROM unnest(%s::date[], %s::bigint[], %s::text[], %s::bigint[], %s::bigint[])
ON CONFLICT (service_id, day, adapter, tenant_id) DO UPDATE SET
    requests = adapter_use.requests + EXCLUDED.requests
"""


Groups = Mapping[tuple[object, ...], Sequence[TrafficSample]]  # by values of the added columns


@dataclass(frozen=True, slots=True)
class Into:
    """Two tables of slots, and the columns (name, type) that they have besides."""

    counts: str
    latencies: str
    columns: Mapping[str, str] = field(default_factory=dict)
    fine_only: bool = False

    def upsert(self, query: str, table: str, rows: Sequence[Sequence[object]]) -> None:
        if not rows:
            return
        more = "".join(f", {name}" for name in self.columns)
        of = "".join(f", %s::{kind}[]" for kind in self.columns.values())
        with connection.cursor() as cursor:
            columns = [array(column) for column in zip(*rows, strict=True)]
            cursor.execute(query.format(table=table, more=more, of=of), columns)


TRAFFIC = Into("traffic_slot", "latency_slot")
COPIES = Into("shadow_slot", "shadow_latency_slot")
ADAPTERS = Into("adapter_slot", "adapter_latency_slot", {"adapter": "text"})
APPLICATIONS = Into(
    "application_slot",
    "application_latency_slot",
    {"application_id": "bigint", "adapter": "text", "is_copy": "boolean"},
    fine_only=True,
)


def record(samples: Sequence[TrafficSample], *, now: datetime | None = None) -> None:
    """Add requests to the slots, inside the caller's transaction and scope."""
    _add({(): samples}, TRAFFIC, now)
    count_answers(samples, now or timezone.now())
    _add(_by_application(samples, is_copy=False), APPLICATIONS, now)
    by_adapter: dict[tuple[object, ...], list[TrafficSample]] = {}
    for sample in samples:
        if sample.adapter:
            by_adapter.setdefault((sample.adapter,), []).append(sample)
    if by_adapter:
        _add(by_adapter, ADAPTERS, now)
        _count_adapters(samples)


def _by_application(samples: Sequence[TrafficSample], *, is_copy: bool) -> Groups:
    """Those of applications that open rollouts of their services name: a handful, or none."""
    services = {s.service_id for s in samples if s.release_id and s.application_id}
    named = applications_named(services) if services else {}
    found: dict[tuple[object, ...], list[TrafficSample]] = {}
    for sample in samples if named else ():
        if sample.release_id and sample.application_id in named.get(sample.service_id, ()):
            key = (sample.application_id, sample.adapter, is_copy)
            found.setdefault(key, []).append(sample)
    return found


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
    _add({(): samples}, COPIES, now)
    _add(_by_application(samples, is_copy=True), APPLICATIONS, now)


def _add(groups: Groups, into: Into, now: datetime | None) -> None:
    """Lock rows in the order of their keys, so that writers beside each other never deadlock."""
    fine_after = (now or timezone.now()) - FINE_FOR
    rows: list[Sequence[object]] = []
    rows_of_latency: list[Sequence[object]] = []
    for values, samples in sorted(groups.items(), key=lambda group: group[0]):
        counts, latencies = gather(samples, fine_after=fine_after)
        kept = [key for key in sorted(counts) if not into.fine_only or key[0] == GATE_SECONDS]
        timed = [key for key in sorted(latencies) if not into.fine_only or key[0] == GATE_SECONDS]
        rows += [(*key, *counts[key], *values) for key in kept]
        rows_of_latency += [(*key, latencies[key], *values) for key in timed]
    into.upsert(UPSERT_COUNTS, into.counts, rows)
    into.upsert(UPSERT_LATENCIES, into.latencies, rows_of_latency)
