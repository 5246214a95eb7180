"""Both releases of a rollout in one window, by tenant, class and minute: what a gate judges."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection

from fleet.rules.comparison import (
    Cell,
    Held,
    LeftOut,
    Preemptions,
    Window,
    block_seconds,
    judged,
)
from fleet.rules.histogram import Histogram
from fleet.rules.statistics import Table
from fleet.rules.traffic import GATE_SECONDS, METRICS, REFUSED, ReleaseWindow, summed
from tenants.base.scope import fleet_scope
from tenants.queries.tenants import tenants_by_id
from tenants.rules.access import Permission, system_viewer

WHERE = """
FROM {table} WHERE seconds = %(seconds)s AND service_id = %(service)s
    AND release_id IN ({releases}) AND slot >= %(start)s AND slot < %(end)s{more}
"""
NAMED = " AND adapter = ANY(%(apart)s)"
BLOCK = "floor(extract(epoch FROM {at} - %(start)s) / %(block)s)::int"
PLACE = f"{{application}}, tenant_id, traffic_class, {BLOCK.format(at='slot')}"
COUNTS = """
SELECT {place}, release_id, outcome, reason, sum(requests)::bigint, sum(prompt_tokens)::bigint,
    sum(cached_tokens)::bigint, sum(completion_tokens)::bigint
{where} GROUP BY 1, 2, 3, 4, 5, 6, 7
"""
LATENCIES = """
SELECT {place}, release_id, metric, bucket, sum(samples)::bigint
{where} GROUP BY 1, 2, 3, 4, 5, 6, 7
"""
# By release and block: engines, those of them that preempted, and how often. Counters start anew
# with their engine.
PREEMPTIONS = f"""
SELECT release_id, block, count(*), count(*) FILTER (WHERE grown > 0), sum(grown)::bigint FROM (
    SELECT release_id, block, sum(greatest(step, 0)) AS grown FROM (
        SELECT release_id, pod_uid, {BLOCK.format(at="at")} AS block,
            preemptions - lag(preemptions) OVER (PARTITION BY pod_uid ORDER BY at) AS step
        FROM engine_sample
        WHERE service_id = %(service)s AND release_id IN (%(canary)s, %(stable)s)
            AND at >= %(start)s AND at < %(end)s
    ) AS sample WHERE step IS NOT NULL GROUP BY release_id, pod_uid, block
) AS engine GROUP BY 1, 2
"""
HELD = """
SELECT release_id, sum(tokens)::bigint, sum(seconds * gpus)::float8 FROM (
    SELECT release_id, pod_uid, max(generation_tokens) - min(generation_tokens) AS tokens,
        extract(epoch FROM max(at) - min(at)) AS seconds
    FROM engine_sample
    WHERE service_id = %(service)s AND release_id IN (%(canary)s, %(stable)s)
        AND at >= %(start)s AND at < %(end)s AND generation_tokens IS NOT NULL
    GROUP BY 1, 2
) AS engine JOIN observed_pod ON uid = pod_uid GROUP BY 1
"""
# Which slots tell of which releases. Answers to copies of requests are kept apart.
BOTH = "%(canary)s, %(stable)s"
DIVIDED = (("traffic_slot", "latency_slot", BOTH, ""),)
SHADOW = (
    ("traffic_slot", "latency_slot", "%(stable)s", ""),
    ("shadow_slot", "shadow_latency_slot", "%(canary)s", ""),
)
APART = ("adapter_slot", "adapter_latency_slot")
# Those that are counted apart of applications: moved out of what is counted of their tenants.
OF_APPLICATION = ("application_slot", "application_latency_slot")
APPLICATIONS = " AND application_id = ANY(%(applications)s) AND NOT is_copy"
COPIES = " AND application_id = ANY(%(applications)s) AND is_copy"
NOBODY = -1  # no release has this id
OTHERS = "0"  # in place of an application

TakesPart = Callable[[int, str, int], bool]  # tenant, class, application
Source = tuple[str, str, str, str]  # tables of counts and latencies, releases, more conditions


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


Cells = dict[tuple[int, str, int, int], dict[int, Side]]  # tenant, class, block, application


def compare(
    service_id: int,
    canary: int,
    stable: int | None,
    bounds: tuple[datetime, datetime],
    takes_part: TakesPart,
    *,
    shadow: bool = False,
    apart: Sequence[str] = (),
    applications: Mapping[int, str] | None = None,
) -> Window:
    """The window of those who take part in the canary; of a first release only its own side.

    `shadow`: the canary answered copies of what the stable release answered. `apart`: adapters that
    only one of the two has; requests for them are left out. `applications`: by id, those that get
    cells of their own.
    """
    pair = (canary, stable or NOBODY)
    values = _values(service_id, pair, bounds) | {
        "apart": list(apart),
        "applications": sorted(applications or ()),
    }
    sources, cells = Sources(shadow, bool(apart), bool(applications)), Cells()
    with fleet_scope():
        _add(cells, sources.all, values)
        _add(cells, sources.of_applications, values, moved=True)
        answered = _judged(_found(cells, pair, everybody))
        whole = _judged(_found(cells, pair, takes_part))
        _add(cells, sources.apart, values, sign=-1)
        _add(cells, sources.apart_of_applications, values, sign=-1, moved=True)
        engines = _engines(values, pair, answered)
        names = _names({tenant for tenant, *_ in cells})
    found = _found(cells, pair, takes_part)
    kept = _judged(found)
    return Window(
        start=bounds[0],
        end=bounds[1],
        canary=summed(c.canary for c in found),
        stable=summed(c.stable for c in found),
        cells=found,
        names=names,
        applications=applications or {},
        preemptions=engines[0],
        held=engines[1],
        sources=[_told(q, values) for q in (*sources.queries, PREEMPTIONS, HELD)],
        apart=LeftOut(apart, whole[0] - kept[0], whole[1] - kept[1]) if whole != kept else None,
    )


def _values(
    service_id: int, pair: tuple[int, int], bounds: tuple[datetime, datetime]
) -> dict[str, Any]:
    return {
        "seconds": GATE_SECONDS,
        "service": service_id,
        "canary": pair[0],
        "stable": pair[1],
        "start": bounds[0],
        "end": bounds[1],
        "block": block_seconds(*bounds),
    }


def everybody(tenant_id: int, traffic_class: str, application_id: int) -> bool:
    return True


def _found(cells: Cells, pair: tuple[int, int], takes_part: TakesPart) -> list[Cell]:
    """`pair`: canary and stable."""
    new, old = pair
    return [
        Cell(_of(sides, new), _of(sides, old), tenant, traffic_class, application)
        for (tenant, traffic_class, _, application), sides in sorted(cells.items())
        if takes_part(tenant, traffic_class, application)
    ]


def _judged(cells: Sequence[Cell]) -> tuple[int, int]:
    """Requests of both sides that say something about their release."""
    return sum(judged(c.canary) for c in cells), sum(judged(c.stable) for c in cells)


def _engines(
    values: dict[str, Any], pair: tuple[int, int], requests: tuple[int, int]
) -> tuple[Preemptions, tuple[Held, Held]]:
    held = {release: Held(tokens, gpus) for release, tokens, gpus in _run(HELD, values)}
    new, old = (held.get(release, Held()) for release in pair)
    return _preempted(_run(PREEMPTIONS, values), pair, requests), (new, old)


def _preempted(
    rows: Sequence[tuple[Any, ...]], pair: tuple[int, int], requests: tuple[int, int]
) -> Preemptions:
    """`requests`: that the engines of both sides answered, whoever asked."""
    grown: dict[int, int] = {}
    blocks: dict[int, dict[int, tuple[int, int]]] = {}
    for release, block, engines, marked, n in rows:
        grown[release] = grown.get(release, 0) + n
        blocks.setdefault(block, {})[release] = (marked, engines)
    tables = [
        Table(*found.get(pair[0], (0, 0)), *found.get(pair[1], (0, 0)))
        for _, found in sorted(blocks.items())
    ]
    return Preemptions(grown.get(pair[0]), grown.get(pair[1]), requests, tables)


@dataclass(frozen=True, slots=True)
class Queries:
    """Those of counts and those of latencies."""

    counts: Sequence[str] = ()
    latencies: Sequence[str] = ()


class Sources:
    """The queries of one comparison."""

    def __init__(self, shadow: bool, apart: bool, applications: bool) -> None:
        own = [(*OF_APPLICATION, BOTH, APPLICATIONS)]
        if shadow:
            own = [
                (*OF_APPLICATION, "%(stable)s", APPLICATIONS),
                (*OF_APPLICATION, "%(canary)s", COPIES),
            ]
        left = [(*OF_APPLICATION, BOTH, APPLICATIONS + NAMED)]
        self.all = _queries(SHADOW if shadow else DIVIDED, OTHERS)
        self.of_applications = _queries(own if applications else [], "application_id")
        self.apart = _queries([(*APART, BOTH, NAMED)] if apart else [], OTHERS)
        both = apart and applications
        self.apart_of_applications = _queries(left if both else [], "application_id")

    @property
    def queries(self) -> list[str]:
        parts = (self.all, self.of_applications, self.apart, self.apart_of_applications)
        return [q for part in parts for q in (*part.counts, *part.latencies)]


def _queries(sources: Sequence[Source], application: str) -> Queries:
    place = PLACE.format(application=application)

    def of(query: str, table: str, releases: str, more: str) -> str:
        where = WHERE.format(table=table, releases=releases, more=more)
        return query.format(place=place, where=where)

    return Queries(
        [of(COUNTS, counts, releases, more) for counts, _, releases, more in sources],
        [of(LATENCIES, latencies, releases, more) for _, latencies, releases, more in sources],
    )


def _add(
    cells: Cells, queries: Queries, values: dict[str, Any], *, sign: int = 1, moved: bool = False
) -> None:
    """Add what the queries count, or take it away. `moved`: the rest of the tenant loses it."""

    def sides(place: Sequence[Any], release: int) -> Iterator[tuple[Side, int]]:
        application, *at = place
        for name, factor in ((application, sign), (0, -sign)) if moved else ((application, sign),):
            yield cells.setdefault((*at, name), {}).setdefault(release, Side()), factor

    for row in _rows(queries.counts, values):
        *place, release, outcome, reason, n, prompt, cached, completion = row
        for found, factor in sides(place, release):
            tokens = [factor * t for t in (prompt, cached, completion)]
            found.count(outcome, reason, factor * n, tokens)
    for *place, release, metric, bucket, n in _rows(queries.latencies, values):
        for found, factor in sides(place, release):
            found.time(metric, bucket, factor * n)


def _of(sides: dict[int, Side], release: int) -> ReleaseWindow:
    found = sides.get(release)
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
