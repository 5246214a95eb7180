"""Degradation for people: one tenant over a time range, and all tenants that hurt now."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q

from fleet.models import Finding, Rollout, Service
from fleet.queries import slots
from fleet.queries.engine_series import EnginePressure, engine_pressure
from fleet.queries.slots import NONE, Percentiles, Place
from fleet.rules.degradation.quotas import read_change
from fleet.rules.objectives import Objective, objective_of
from fleet.rules.steps import Grid, grid
from fleet.rules.traffic import ANSWERED
from tenants.errors import Invalid
from tenants.queries.audit import AuditFilter, list_events
from tenants.queries.directory import tenant_refs
from tenants.rules.access import Permission, Viewer

# Of rollouts, which have large JSON besides.
MARKED = (
    "started_at", "ended_at", "phase", "service__name", "to_release__number", "requested_by__email",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked at; empty: all."""

    service: str = ""
    traffic_class: str = ""


@dataclass(frozen=True, slots=True)
class EvidenceRow:
    label: str
    value: str
    kind: str
    key: str


@dataclass(frozen=True, slots=True)
class CauseRow:
    cause: str
    score: float
    because: str
    evidence: tuple[EvidenceRow, ...]


@dataclass(frozen=True, slots=True)
class FindingRow:
    id: int
    tenant_id: int
    service: str
    traffic_class: str
    symptom: str
    cause: str
    sentence: str
    started_at: datetime
    seen_at: datetime
    ended_at: datetime | None
    requests: int
    affected: int
    causes: tuple[CauseRow, ...]  # ranked, the first is the likely one

    @property
    def is_open(self) -> bool:
        return self.ended_at is None


@dataclass(frozen=True, slots=True)
class MarkerRow:
    """Something that changed. `kind` is rollout or quota, `key` names the object."""

    at: datetime
    kind: str
    key: str
    short: str  # for the chart
    told: str
    by: str


@dataclass(frozen=True, slots=True)
class PartRow:
    """One class on one service (empty: refused before one was known). Latencies in milliseconds."""

    service: str
    traffic_class: str
    outcomes: Mapping[str, int]
    ttft: Percentiles
    itl: Percentiles
    queue: Percentiles
    objective: Objective

    @property
    def requests(self) -> int:
        return sum(self.outcomes.values())

    @property
    def answered(self) -> int:
        return sum(n for outcome, n in self.outcomes.items() if outcome in ANSWERED)

    @property
    def late_ttft(self) -> bool:
        return self.ttft.p95 is not None and self.ttft.p95 > self.objective.ttft_ms

    @property
    def late_itl(self) -> bool:
        return self.itl.p95 is not None and self.itl.p95 > self.objective.itl_ms


@dataclass(frozen=True, slots=True)
class Degradation:
    """All series have one value for each of `moments`; None is a gap."""

    moments: tuple[datetime, ...]
    step_seconds: int
    outcomes: Mapping[str, Sequence[int]]
    totals: Mapping[str, int]
    reasons: tuple[tuple[str, str, int], ...]  # outcome, reason, requests
    ttft: Sequence[Percentiles]
    itl: Sequence[Percentiles]
    queue: Sequence[Percentiles]  # for a seat in a pool
    waking: Sequence[Percentiles]  # for a service that slept
    objective: Objective | None  # None: several services or classes are shown together
    engines: EnginePressure | None  # of the one service shown
    parts: tuple[PartRow, ...]  # the most hurt first
    markers: tuple[MarkerRow, ...]
    findings: tuple[FindingRow, ...]  # open ones first
    services: tuple[str, ...]  # to choose from
    classes: tuple[str, ...]
    data_until: datetime | None

    @property
    def requests(self) -> int:
        return sum(self.totals.values())

    @property
    def answered(self) -> int:
        return sum(n for outcome, n in self.totals.items() if outcome in ANSWERED)


@dataclass(frozen=True, slots=True)
class TenantRow:
    tenant_id: int
    slug: str
    name: str
    outcomes: Mapping[str, int]
    findings: tuple[FindingRow, ...]

    @property
    def requests(self) -> int:
        return sum(self.outcomes.values())

    @property
    def answered(self) -> int:
        return sum(n for outcome, n in self.outcomes.items() if outcome in ANSWERED)

    @property
    def answered_share(self) -> float | None:
        return self.answered / self.requests if self.requests else None


def get_degradation(
    viewer: Viewer,
    tenant_id: int,
    start: datetime,
    end: datetime,
    *,
    wanted: Wanted | None = None,
    now: datetime,
) -> Degradation:
    viewer.require(Permission.VIEW, tenant_id)
    wanted = wanted or Wanted()
    services = {s.pk: s for s in Service.objects.order_by("name")}
    whole = Place(grid(start, end, now), tenant_id)
    counted = slots.outcomes_by_part(whole)
    chosen = _chosen(wanted, services.values())
    place = Place(whole.grid, tenant_id, chosen.pk if chosen else None, wanted.traffic_class)
    parts = _parts(counted, slots.percentiles_by_part(whole), services)
    shown = [p for p in parts if _is_shown(p, wanted)]
    timed = slots.percentiles_by_time(place)
    outcomes = slots.outcomes_by_time(place)
    only = shown[0] if len(shown) == 1 else None
    alone = chosen or (_by_name(only.service, services.values()) if only else None)
    return Degradation(
        moments=place.grid.moments,
        step_seconds=place.grid.step,
        outcomes=outcomes,
        totals={outcome: sum(values) for outcome, values in outcomes.items()},
        reasons=tuple(slots.reasons(place)),
        ttft=_series(timed, place.grid, "ttft"),
        itl=_series(timed, place.grid, "itl"),
        queue=_series(timed, place.grid, "queue"),
        waking=_series(timed, place.grid, "waking"),
        objective=only.objective if only else None,
        engines=engine_pressure(alone.pk, place.grid) if alone else None,
        parts=tuple(parts),
        markers=_markers(viewer, tenant_id, place, [k[0] for k in counted]),
        findings=_findings(viewer, tenant_id, place),
        services=tuple(sorted({p.service for p in parts if p.service})),
        classes=tuple(sorted({p.traffic_class for p in parts})),
        data_until=_until(outcomes, place.grid, now),
    )


def list_degradation(
    viewer: Viewer,
    start: datetime,
    end: datetime,
    *,
    now: datetime,
    tenant_ids: tuple[int, ...] | None = None,
) -> tuple[TenantRow, ...]:
    """Tenants with traffic or findings, those with the most hurt requests first. None: all."""
    counted = slots.outcomes_by_tenant(Place(grid(start, end, now), tenant_ids=tenant_ids))
    open_ones = Finding.objects.filter(ended_at=None).select_related("service")
    if tenant_ids is not None:
        open_ones = open_ones.filter(tenant_id__in=tenant_ids)
    found: dict[int, list[FindingRow]] = {}
    for row in open_ones:
        found.setdefault(row.tenant_id, []).append(finding_row(row, fleet=viewer.is_fleet))
    names = tenant_refs(counted.keys() | found.keys())
    rows = [
        TenantRow(pk, ref.slug, ref.name, counted.get(pk, {}), tuple(found.get(pk, ())))
        for pk, ref in names.items()
    ]
    return tuple(sorted(rows, key=_urgency))


def _urgency(row: TenantRow) -> tuple[int, int, str]:
    return (-sum(f.affected for f in row.findings), row.answered - row.requests, row.slug)


def count_open(viewer: Viewer) -> int:
    """Open findings that the viewer's scope shows, for the badge in the navigation."""
    return Finding.objects.filter(ended_at=None).count()


def list_findings(viewer: Viewer, *, open_only: bool = False) -> Any:
    """Rows of the viewer's scope, newest first."""
    rows = Finding.objects.select_related("service").order_by("-id")
    return rows.filter(ended_at=None) if open_only else rows


def finding_row(row: Finding, *, fleet: bool) -> FindingRow:
    """Evidence that names other tenants or the inside of the fleet is for the fleet's people."""
    return FindingRow(
        id=row.pk,
        tenant_id=row.tenant_id,
        service=row.service.name,
        traffic_class=row.traffic_class,
        symptom=row.symptom,
        cause=row.cause,
        sentence=row.sentence,
        started_at=row.started_at,
        seen_at=row.seen_at,
        ended_at=row.ended_at,
        requests=row.requests,
        affected=row.affected,
        causes=tuple(_cause(c, fleet=fleet) for c in row.evidence),
    )


def _cause(cause: Mapping[str, Any], *, fleet: bool) -> CauseRow:
    return CauseRow(
        cause=cause["cause"],
        score=cause["score"],
        because=cause["because"],
        evidence=tuple(
            EvidenceRow(e["label"], e["value"], e["kind"], e["key"])
            for e in cause["evidence"]
            if fleet or not e["fleet_only"]
        ),
    )


def _chosen(wanted: Wanted, services: Iterable[Service]) -> Service | None:
    if not wanted.service:
        return None
    found = _by_name(wanted.service, services)
    if found is None:
        raise Invalid(service=f"There is no service {wanted.service!r}")
    return found


def _by_name(name: str, services: Iterable[Service]) -> Service | None:
    return next((s for s in services if s.name == name), None)


def _is_shown(part: PartRow, wanted: Wanted) -> bool:
    return wanted.service in {"", part.service} and wanted.traffic_class in {"", part.traffic_class}


def _parts(
    counted: Mapping[tuple[int, str], Mapping[str, int]],
    timed: Mapping[tuple[tuple[int, str], str], Percentiles],
    services: Mapping[int, Service],
) -> list[PartRow]:
    rows = [
        PartRow(
            service=services[service_id].name if service_id in services else "",
            traffic_class=traffic_class,
            outcomes=outcomes,
            ttft=timed.get(((service_id, traffic_class), "ttft"), NONE),
            itl=timed.get(((service_id, traffic_class), "itl"), NONE),
            queue=timed.get(((service_id, traffic_class), "queue"), NONE),
            objective=_objective(services.get(service_id), traffic_class),
        )
        for (service_id, traffic_class), outcomes in counted.items()
    ]
    return sorted(rows, key=lambda p: (p.answered - p.requests, p.service, p.traffic_class))


def _objective(service: Service | None, traffic_class: str) -> Objective:
    return objective_of(service.objectives if service else {}, traffic_class)


def _series(
    timed: Mapping[tuple[datetime, str], Percentiles], over: Grid, metric: str
) -> tuple[Percentiles, ...]:
    return tuple(timed.get((at, metric), NONE) for at in over.moments)


def _until(outcomes: Mapping[str, Sequence[int]], over: Grid, now: datetime) -> datetime | None:
    """The end of the last step with a request, no later than now."""
    last = max((i for v in outcomes.values() for i, n in enumerate(v) if n), default=-1)
    moments = (*over.moments, over.end)
    return min(moments[last + 1], now) if last >= 0 else None


def _markers(
    viewer: Viewer, tenant_id: int, place: Place, service_ids: Iterable[int]
) -> tuple[MarkerRow, ...]:
    found = _rollout_markers(place, service_ids) + _quota_markers(viewer, tenant_id, place.grid)
    return tuple(sorted(found, key=lambda m: m.at))


def _rollout_markers(place: Place, service_ids: Iterable[int]) -> list[MarkerRow]:
    """Beginnings and ends of rollouts of the services that the tenant uses."""
    ids = {place.service_id} if place.service_id else set(service_ids)
    inside = {"gte": place.grid.start, "lt": place.grid.end}
    started = Q(**{f"started_at__{k}": v for k, v in inside.items()})
    ended = Q(**{f"ended_at__{k}": v for k, v in inside.items()})
    rows = Rollout.objects.filter(started | ended, service__in=ids).exclude(started_at=None)
    found = []
    for row in rows.select_related("service", "to_release", "requested_by").only(*MARKED):
        name, by = f"RO-{row.pk}", row.requested_by.email if row.requested_by else ""
        what = f"{row.service.name} to {row.to_release}"
        if row.started_at and place.grid.start <= row.started_at < place.grid.end:
            told = f"{name} {what} started"
            found.append(MarkerRow(row.started_at, "rollout", str(row.pk), name, told, by))
        if row.ended_at and place.grid.start <= row.ended_at < place.grid.end:
            end = row.phase.replace("_", " ")
            told = f"{name} {what} {end}"
            found.append(MarkerRow(row.ended_at, "rollout", str(row.pk), f"{name} {end}", told, ""))
    return found


def _quota_markers(viewer: Viewer, tenant_id: int, over: Grid) -> list[MarkerRow]:
    wanted = AuditFilter(verb="quota", since=over.start, until=over.end)
    rows = list_events(viewer, wanted).filter(tenant_id=tenant_id)
    found = []
    for row in rows:
        change = read_change(row.at, row.actor, row.before, row.after)
        if change:
            found.append(MarkerRow(row.at, "quota", row.target_id, "quota", change.told, change.by))
    return found


def _findings(viewer: Viewer, tenant_id: int, place: Place) -> tuple[FindingRow, ...]:
    touching = Q(ended_at=None) | Q(ended_at__gte=place.grid.start)
    rows = Finding.objects.filter(touching, tenant_id=tenant_id, started_at__lt=place.grid.end)
    if place.service_id:
        rows = rows.filter(service=place.service_id)
    if place.traffic_class:
        rows = rows.filter(traffic_class=place.traffic_class)
    found = [finding_row(r, fleet=viewer.is_fleet) for r in rows.select_related("service")[:50]]
    return tuple(sorted(found, key=lambda f: (not f.is_open, -f.affected)))
