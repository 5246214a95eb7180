"""Both releases of a rollout in one window, by tenant, class and minute: what a gate judges."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection

from fleet.rules.comparison import Cell, Preemptions, Window, block_seconds
from fleet.rules.histogram import Histogram
from fleet.rules.traffic import GATE_SECONDS, METRICS, REFUSED, ReleaseWindow, summed
from tenants.base.scope import fleet_scope
from tenants.queries.tenants import tenants_by_id
from tenants.rules.access import Permission, system_viewer

WHERE = """
FROM {table} WHERE seconds = %(seconds)s AND service_id = %(service)s
    AND release_id IN ({releases}) AND slot >= %(start)s AND slot < %(end)s
"""
PLACE = "tenant_id, traffic_class, floor(extract(epoch FROM slot - %(start)s) / %(block)s)::int"
COUNTS = """
SELECT {place}, release_id, outcome, reason, sum(requests)::bigint, sum(prompt_tokens)::bigint,
    sum(cached_tokens)::bigint, sum(completion_tokens)::bigint
{where} GROUP BY 1, 2, 3, 4, 5, 6
"""
LATENCIES = """
SELECT {place}, release_id, metric, bucket, sum(samples)::bigint
{where} GROUP BY 1, 2, 3, 4, 5, 6
"""
PREEMPTIONS = """
SELECT release_id, sum(grown)::bigint FROM (
    SELECT release_id, pod_uid, max(preemptions) - min(preemptions) AS grown FROM engine_sample
    WHERE service_id = %(service)s AND release_id IN (%(canary)s, %(stable)s)
        AND at >= %(start)s AND at < %(end)s GROUP BY 1, 2
) AS engine GROUP BY 1
"""
# Which slots tell of which releases. Answers to copies of requests are kept apart.
DIVIDED = (("traffic_slot", "latency_slot", "%(canary)s, %(stable)s"),)
SHADOW = (
    ("traffic_slot", "latency_slot", "%(stable)s"),
    ("shadow_slot", "shadow_latency_slot", "%(canary)s"),
)
NOBODY = -1  # no release has this id

TakesPart = Callable[[int, str], bool]  # tenant, class


@dataclass
class Side:
    """One release in one cell, while it is added up."""

    outcomes: dict[str, int] = field(default_factory=dict)
    tokens: list[int] = field(default_factory=lambda: [0, 0, 0])
    refused: int = 0
    histograms: dict[str, dict[int, int]] = field(default_factory=lambda: {m: {} for m in METRICS})

    def count(self, outcome: str, reason: str, requests: int, tokens: Sequence[int]) -> None:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + requests
        self.refused += requests if reason in REFUSED else 0
        self.tokens = [a + b for a, b in zip(self.tokens, tokens, strict=True)]

    def window(self) -> ReleaseWindow:
        prompt, cached, completion = self.tokens
        return ReleaseWindow(
            outcomes=self.outcomes,
            refused=self.refused,
            prompt_tokens=prompt,
            cached_tokens=cached,
            completion_tokens=completion,
            **{metric: Histogram(counts) for metric, counts in self.histograms.items()},
        )


Cells = dict[tuple[int, str, int], dict[int, Side]]


def compare(
    service_id: int,
    canary: int,
    stable: int | None,
    bounds: tuple[datetime, datetime],
    takes_part: TakesPart,
    *,
    shadow: bool = False,
) -> Window:
    """The window of those who take part in the canary; of a first release only its own side.

    `shadow`: the canary answered copies of what the stable release answered.
    """
    start, end = bounds
    values = {
        "seconds": GATE_SECONDS,
        "service": service_id,
        "canary": canary,
        "stable": stable or NOBODY,
        "start": start,
        "end": end,
        "block": block_seconds(start, end),
    }
    counts, latencies = _queries(SHADOW if shadow else DIVIDED)
    with fleet_scope():
        cells = _cells(counts, latencies, values)
        preempted = {release: grown for release, grown in _run(PREEMPTIONS, values)}
        names = _names({tenant for tenant, _, _ in cells})
    found = [
        Cell(_of(sides, canary), _of(sides, stable), tenant, traffic_class)
        for (tenant, traffic_class, _), sides in sorted(cells.items())
        if takes_part(tenant, traffic_class)
    ]
    return Window(
        start=start,
        end=end,
        canary=summed(c.canary for c in found),
        stable=summed(c.stable for c in found),
        cells=found,
        names=names,
        preemptions=Preemptions(preempted.get(canary), preempted.get(stable or NOBODY)),
        sources=[_told(query, values) for query in (*counts, *latencies, PREEMPTIONS)],
    )


def _queries(sources: Sequence[tuple[str, str, str]]) -> tuple[list[str], list[str]]:
    """Those of counts and those of latencies."""

    def of(query: str, table: str, releases: str) -> str:
        where = WHERE.format(table=table, releases=releases)
        return query.format(place=PLACE, where=where)

    return (
        [of(COUNTS, counts, releases) for counts, _, releases in sources],
        [of(LATENCIES, latencies, releases) for _, latencies, releases in sources],
    )


def _cells(counts: Sequence[str], latencies: Sequence[str], values: dict[str, Any]) -> Cells:
    cells: Cells = {}

    def side(tenant: int, traffic_class: str, block: int, release: int) -> Side:
        return cells.setdefault((tenant, traffic_class, block), {}).setdefault(release, Side())

    for row in _rows(counts, values):
        tenant, traffic_class, block, release, outcome, reason, n, *tokens = row
        side(tenant, traffic_class, block, release).count(outcome, reason, n, tokens)
    for tenant, traffic_class, block, release, metric, bucket, n in _rows(latencies, values):
        known = side(tenant, traffic_class, block, release).histograms.get(metric)
        if known is not None:
            known[bucket] = n
    return cells


def _of(sides: dict[int, Side], release: int | None) -> ReleaseWindow:
    found = sides.get(release or NOBODY)
    return found.window() if found else ReleaseWindow()


def _names(ids: set[int]) -> dict[int, str]:
    viewer = system_viewer("gates", (Permission.VIEW,))
    return {pk: tenant.slug for pk, tenant in tenants_by_id(viewer, sorted(ids)).items()}


def _rows(queries: Sequence[str], values: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    for query in queries:
        yield from _run(query, values)


def _run(query: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return list(cursor.fetchall())


def _told(query: str, values: dict[str, Any]) -> str:
    """The query as a person may run it again."""
    shown = {k: f"'{v.isoformat()}'" if isinstance(v, datetime) else v for k, v in values.items()}
    return " ".join((query % shown).split())
