"""Services at a glance: wanted against live, health, and why. The whole fleet in few questions."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.db.models import Value

from fleet.models import Deployment, Finding, ObservedPod, Rollout, Service
from fleet.queries.access import see_fleet
from fleet.queries.drift import sentences
from fleet.rules.drift import Live, Sync, Wanted, answering, compare, evicted_words
from fleet.rules.freshness import stale_because
from fleet.rules.groups import shape_from
from fleet.rules.phases import FINAL
from fleet.rules.release import fingerprint_of
from fleet.rules.sleep import State
from fleet.rules.sleep import state_of as sleep_of
from tenants.rules.access import Viewer

# Values, not instances: a fleet has many, and JSON that no list shows is slow to decode.
SERVICE = (
    "pk", "name", "description", "version", "demo", "replicas", "cluster_id", "cluster__slug",
    "cluster__region", "cluster__observed_at", "cluster__trouble", "current_release_id",
    "current_release__number", "scaling__slept_at", "scaling__woken_at", "scaling__wait_seconds",
)  # fmt: skip
DEPLOYMENT = (
    "service_id",
    "name",
    "replicas",
    "release__digest",
    "release__image_digest",
    "release__resources",
    "release__roles",
)
POD = (
    "deployment__service_id", "name", "release", "image_id", "admitted", "ready", "role", "reason",
    "node", "message",
)  # fmt: skip


class Health(StrEnum):
    HEALTHY = "healthy"
    DEGRADED = "degraded"  # it answers, but something is missing or a finding is open
    DOWN = "down"  # nothing answers
    SLEEPING = "sleeping"  # at 0 replicas, the first request wakes it
    WAKING = "waking"  # not longer than a request may wait for it
    EMPTY = "empty"  # never rolled out
    UNKNOWN = "unknown"  # the observation does not count


@dataclass(frozen=True, slots=True)
class ServiceState:
    id: int
    name: str
    description: str
    version: int
    demo: bool
    cluster: str
    cluster_id: int | None
    region: str
    release: str  # of the last rollout that succeeded; empty: none
    release_id: int | None
    replicas: int
    serving: int
    sync: Sync
    health: Health
    why: tuple[str, ...]  # each difference, each reason
    edits: tuple[str, ...]  # of these, what somebody changed in the cluster by hand
    observed_at: datetime | None
    rollout_id: int | None
    rollout_phase: str
    findings: int
    slept_at: datetime | None  # it sleeps, or wakes
    woken_at: datetime | None

    @property
    def etag(self) -> str:
        return f'"{self.id}-{self.version}"'

    @property
    def is_moving(self) -> bool:
        """What differs from what is wanted is on its way."""
        return bool(self.rollout_id) or self.health is Health.WAKING


@dataclass(frozen=True, slots=True)
class Signs:
    """What else tells of services, by service."""

    rollouts: Mapping[int, tuple[int, str]]  # the open one: id and phase
    findings: Mapping[int, int]  # open ones
    edits: Mapping[int, tuple[str, ...]]


def list_states(viewer: Viewer, now: datetime) -> tuple[ServiceState, ...]:
    """By name."""
    see_fleet(viewer)
    wanted: dict[int, list[Wanted]] = {}
    placed = Deployment.objects.order_by("-weight", "-release__number")
    for service, name, replicas, digest, image, resources, roles in placed.values_list(*DEPLOYMENT):
        one = Wanted(name, fingerprint_of(digest), image, replicas, shape_from(resources, roles))
        wanted.setdefault(service, []).append(one)
    live: dict[int, list[Live]] = {}
    staying = ObservedPod.objects.filter(deployment__isnull=False, terminating=False)
    pods = staying.order_by("created_at").values_list(*POD)
    for service, name, release, image, admitted, ready, role, *why in pods:
        pod = Live(name, release, image, admitted and ready, role, evicted_words(*why))
        live.setdefault(service, []).append(pod)
    signs = read_signs(viewer)
    return tuple(
        ServiceState(**state_of(row, wanted.get(row.pk, ()), live.get(row.pk, ()), signs, now))
        for row in Service.objects.order_by("name").values_list(*SERVICE, named=True)
    )


def read_signs(viewer: Viewer) -> Signs:
    ended = [phase.value for phase in FINAL]
    moving = Rollout.objects.exclude(phase__in=ended).filter(waits=False)
    findings = Finding.objects.filter(ended_at=None).order_by()
    none = findings.values_list("service_id", Value(0), Value(""))
    rows = list(moving.order_by().values_list("service_id", "pk", "phase").union(none, all=True))
    rollouts = {service: (pk, phase) for service, pk, phase in rows if pk}
    return Signs(rollouts, Counter(s for s, pk, _ in rows if not pk), sentences(viewer))


def state_of(
    row: Any, wanted: Sequence[Wanted], live: Sequence[Live], signs: Signs, now: datetime
) -> dict[str, Any]:
    """The fields of a `ServiceState`, of the values SERVICE."""
    seen = (row.cluster__observed_at, row.cluster__trouble)
    stale = stale_because(*seen, now) if row.cluster_id else ""
    edits, findings = signs.edits.get(row.pk, ()), signs.findings.get(row.pk, 0)
    sync, why = compare(wanted, live, unknown_because=stale)
    if edits and not stale:
        sync, why = Sync.DRIFTED, (*edits, *why)
    replicas, serving = sum(d.replicas for d in wanted), sum(answering(d, live) for d in wanted)
    health = _health(bool(stale), replicas, serving, findings)
    if health in (Health.EMPTY, Health.DOWN):
        health = _resting(row, now) or health
    rollout_id, rollout_phase = signs.rollouts.get(row.pk, (None, ""))
    return {
        "id": row.pk,
        "name": row.name,
        "description": row.description,
        "version": row.version,
        "demo": row.demo,
        "cluster": row.cluster__slug or "",
        "cluster_id": row.cluster_id,
        "region": row.cluster__region or "",
        "release": f"r{row.current_release__number}" if row.current_release_id else "",
        "release_id": row.current_release_id,
        "replicas": replicas if wanted else row.replicas,
        "serving": serving,
        "sync": sync,
        "health": health,
        "why": why,
        "edits": edits,
        "observed_at": row.cluster__observed_at,
        "rollout_id": rollout_id,
        "rollout_phase": rollout_phase,
        "findings": findings,
        "slept_at": row.scaling__slept_at,
        "woken_at": row.scaling__woken_at,
    }


def _resting(row: Any, now: datetime) -> Health | None:
    """Nothing answers, and that is as it should be. What wakes too long is down."""
    state = sleep_of(row.scaling__slept_at, row.scaling__woken_at)
    if state is State.SLEEPING:
        return Health.SLEEPING
    if state is State.AWAKE:
        return None
    late = now - row.scaling__woken_at > timedelta(seconds=row.scaling__wait_seconds)
    return None if late else Health.WAKING


def _health(stale: bool, wanted: int, serving: int, findings: int) -> Health:
    if stale:
        return Health.UNKNOWN
    if not wanted:
        return Health.EMPTY
    if not serving:
        return Health.DOWN
    return Health.DEGRADED if findings or serving < wanted else Health.HEALTHY
