"""Both releases of a rollout in one window, by tenant, class and minute: what a gate judges."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection

from fleet.rules.comparison import (
    Cell,
    LeftOut,
    Preemptions,
    Window,
    block_seconds,
    judged,
)
from fleet.rules.histogram import Histogram
from fleet.rules.traffic import GATE_SECONDS, METRICS, REFUSED, ReleaseWindow, summed
from tenants.base.scope import fleet_scope
from tenants.queries.tenants import tenants_by_id
from tenants.rules.access import Permission, system_viewer

WHERE = """
FROM {table} WHERE seconds = %(seconds)s AND service_id = %(service)s
    AND release_id IN ({releases}) AND slot >= %(start)s AND slot < %(end)s{more}
"""
NAMED = " AND adapter = ANY(%(apart)s)"
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
APART = ("adapter_slot", "adapter_latency_slot")
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
        """Negative numbers take away what was counted before."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + requests
        self.refused += requests if reason in REFUSED else 0
        self.tokens = [a + b for a, b in zip(self.tokens, tokens, strict=True)]

    def time(self, metric: str, bucket: int, samples: int) -> None:
        if (known := self.histograms.get(metric)) is not None:
            known[bucket] = known.get(bucket, 0) + samples

    def window(self) -> ReleaseWindow:
        prompt, cached, completion = self.tokens
        return ReleaseWindow(
            outcomes={outcome: n for outcome, n in self.outcomes.items() if n},
            refused=self.refused,
            prompt_tokens=prompt,
            cached_tokens=cached,
            completion_tokens=completion,
            **{metric: _histogram(counts) for metric, counts in self.histograms.items()},
        )


def _histogram(counts: dict[int, int]) -> Histogram:
    return Histogram({bucket: n for bucket, n in counts.items() if n})


Cells = dict[tuple[int, str, int], dict[int, Side]]


def compare(
    service_id: int,
    canary: int,
    stable: int | None,
    bounds: tuple[datetime, datetime],
    takes_part: TakesPart,
    *,
    shadow: bool = False,
    apart: Sequence[str] = (),
) -> Window:
    """The window of those who take part in the canary; of a first release only its own side.

    `shadow`: the canary answered copies of what the stable release answered. `apart`: adapters that
    only one of the two has; requests for them are left out.
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
        "apart": list(apart),
    }
    queries = _queries(SHADOW if shadow else DIVIDED)
    beside = _queries([(*APART, DIVIDED[0][2])], NAMED) if apart else ([], [])
    cells: Cells = {}
    with fleet_scope():
        _add(cells, queries, values)
        everything = _found(cells, canary, stable, takes_part)
        _add(cells, beside, values, sign=-1)
        preempted = {release: grown for release, grown in _run(PREEMPTIONS, values)}
        names = _names({tenant for tenant, _, _ in cells})
    found = _found(cells, canary, stable, takes_part)
    whole, kept = _judged(everything), _judged(found)
    return Window(
        start=start,
        end=end,
        canary=summed(c.canary for c in found),
        stable=summed(c.stable for c in found),
        cells=found,
        names=names,
        preemptions=Preemptions(preempted.get(canary), preempted.get(stable or NOBODY), whole),
        sources=[_told(q, values) for q in (*queries[0], *queries[1], *beside[0], *beside[1])]
        + [_told(PREEMPTIONS, values)],
        apart=LeftOut(apart, whole[0] - kept[0], whole[1] - kept[1]) if whole != kept else None,
    )


def _found(cells: Cells, canary: int, stable: int | None, takes_part: TakesPart) -> list[Cell]:
    return [
        Cell(_of(sides, canary), _of(sides, stable), tenant, traffic_class)
        for (tenant, traffic_class, _), sides in sorted(cells.items())
        if takes_part(tenant, traffic_class)
    ]


def _judged(cells: Sequence[Cell]) -> tuple[int, int]:
    """Requests of both sides that say something about their release."""
    return sum(judged(c.canary) for c in cells), sum(judged(c.stable) for c in cells)


def _queries(
    sources: Sequence[tuple[str, str, str]], more: str = ""
) -> tuple[list[str], list[str]]:
    """Those of counts and those of latencies."""

    def of(query: str, table: str, releases: str) -> str:
        where = WHERE.format(table=table, releases=releases, more=more)
        return query.format(place=PLACE, where=where)

    return (
        [of(COUNTS, counts, releases) for counts, _, releases in sources],
        [of(LATENCIES, latencies, releases) for _, latencies, releases in sources],
    )


def _add(
    cells: Cells, queries: tuple[list[str], list[str]], values: dict[str, Any], sign: int = 1
) -> None:
    """Add what the queries count, or take it away."""
    counts, latencies = queries

    def side(tenant: int, traffic_class: str, block: int, release: int) -> Side:
        return cells.setdefault((tenant, traffic_class, block), {}).setdefault(release, Side())

    for row in _rows(counts, values):
        tenant, traffic_class, block, release, outcome, reason, n, *tokens = row
        found = side(tenant, traffic_class, block, release)
        found.count(outcome, reason, sign * n, [sign * t for t in tokens])
    for tenant, traffic_class, block, release, metric, bucket, n in _rows(latencies, values):
        side(tenant, traffic_class, block, release).time(metric, bucket, sign * n)


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
    shown = {k: _literal(v) for k, v in values.items()}
    return " ".join((query % shown).split())


def _literal(value: Any) -> Any:
    if isinstance(value, datetime):
        return f"'{value.isoformat()}'"
    return f"ARRAY{value!r}" if isinstance(value, list) else value
