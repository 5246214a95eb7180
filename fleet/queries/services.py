"""Services: what tenants call, which release answers where, wanted against live."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.db.models import Exists, OuterRef, QuerySet, Sum

from fleet.models import Deployment, Drift, Finding, ObservedPod, Rollout, Service, TrafficSlot
from fleet.queries.access import see_fleet
from fleet.queries.drift import sentences
from fleet.rules.drift import Live, Sync, Wanted, compare
from fleet.rules.freshness import stale_because
from fleet.rules.objectives import Objective, objective_of
from fleet.rules.phases import FINAL
from fleet.rules.traffic import ANSWERED, DASHBOARD_SECONDS
from gateway.contract.outcomes import TrafficClass
from tenants.errors import NotFound
from tenants.rules.access import Viewer

LATELY = timedelta(hours=1)
# Manifests, arguments and permissions are JSON that no row shows, and slow to decode.
PLACED = (
    "service_id", "name", "replicas", "weight", "cluster__slug",
    "release__service_id", "release__number", "release__digest", "release__image_digest",
)  # fmt: skip
RUNNING = (
    "cluster__slug", "cluster__region", "cluster__namespace", "cluster__observed_at",
    "cluster__trouble", "current_release__number",
)  # fmt: skip
OWN = (
    "name", "description", "version", "demo", "replicas", "objectives", "max_model_len",
    "default_max_tokens", "max_queue", "request_seconds", "chunk_seconds", "fallbacks",
)  # fmt: skip


class Health(StrEnum):
    HEALTHY = "healthy"
    DEGRADED = "degraded"  # it answers, but something is missing or a finding is open
    DOWN = "down"  # nothing answers
    EMPTY = "empty"  # never rolled out
    UNKNOWN = "unknown"  # the observation does not count


@dataclass(frozen=True, slots=True)
class PodRow:
    name: str
    uid: str
    release: str
    node: str
    address: str
    phase: str
    ready: bool
    admitted: bool
    terminating: bool
    restarts: int
    gpus: int
    reason: str
    message: str
    last_log: str
    image_id: str
    probe: str
    probed_at: datetime | None
    created_at: datetime
    observed_at: datetime


@dataclass(frozen=True, slots=True)
class DeploymentRow:
    """A release placed in a cluster; `weight` is its percent of the service's traffic."""

    id: int
    name: str
    release_id: int
    release: str  # r7
    fingerprint: str
    image_digest: str
    cluster: str
    replicas: int
    weight: int
    pods: tuple[PodRow, ...]

    @property
    def serving(self) -> int:
        return sum(p.admitted and p.ready and not p.terminating for p in self.pods)


@dataclass(frozen=True, slots=True)
class ServiceRow:
    id: int
    name: str
    description: str
    version: int
    etag: str
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
    requests: int  # of the last hour
    answered: int
    deployments: tuple[DeploymentRow, ...]


@dataclass(frozen=True, slots=True)
class ServiceDetail:
    service: ServiceRow
    objectives: Mapping[str, Objective]
    own_objectives: Mapping[str, Mapping[str, int]]  # those that are not the defaults
    wanted_replicas: int  # what the next rollout brings; the row has what is wanted now
    max_model_len: int
    default_max_tokens: int
    max_queue: int
    request_seconds: int
    chunk_seconds: int
    fallbacks: tuple[str, ...]
    namespace: str


def list_services(viewer: Viewer, now: datetime) -> tuple[ServiceRow, ...]:
    see_fleet(viewer)
    return _rows(viewer, list(_services()), now)


def get_service(viewer: Viewer, key: int | str, now: datetime) -> ServiceDetail:
    """By id or name."""
    see_fleet(viewer)
    by = {"pk": key} if isinstance(key, int) else {"name": key}
    found = _services().filter(**by).first()
    if found is None:
        raise NotFound("There is no such service")
    return ServiceDetail(
        service=_rows(viewer, [found], now)[0],
        objectives={c.value: objective_of(found.objectives, c.value) for c in TrafficClass},
        own_objectives=found.objectives,
        wanted_replicas=found.replicas,
        max_model_len=found.max_model_len,
        default_max_tokens=found.default_max_tokens,
        max_queue=found.max_queue,
        request_seconds=found.request_seconds,
        chunk_seconds=found.chunk_seconds,
        fallbacks=tuple(found.fallbacks),
        namespace=found.cluster.namespace if found.cluster else "",
    )


def service_names(viewer: Viewer) -> dict[int, str]:
    """Names of all services: also for tenants, who call them by these."""
    return dict(Service.objects.order_by("name").values_list("id", "name"))


def _services() -> QuerySet[Service]:
    rows = Service.objects.select_related("cluster", "current_release").order_by("name")
    return rows.only(*OWN, *RUNNING)


def _rows(viewer: Viewer, services: Sequence[Service], now: datetime) -> tuple[ServiceRow, ...]:
    ids = [s.pk for s in services]
    pods: dict[int | None, list[ObservedPod]] = {}
    for pod in ObservedPod.objects.filter(deployment__service__in=ids).order_by("created_at"):
        pods.setdefault(pod.deployment_id, []).append(pod)
    deployments: dict[int, list[DeploymentRow]] = {}
    drifting = Exists(Drift.objects.filter(deployment=OuterRef("pk"), ended_at=None))
    placed = Deployment.objects.filter(service__in=ids).select_related("release", "cluster")
    placed = placed.only(*PLACED).annotate(drifting=drifting)
    for row in placed.order_by("-weight", "-release__number"):
        deployments.setdefault(row.service_id, []).append(_deployment(row, pods.get(row.pk, [])))
    ended = [phase.value for phase in FINAL]
    open_rollouts = Rollout.objects.filter(service__in=ids).exclude(phase__in=ended)
    moving = open_rollouts.values_list("service_id", "pk", "phase")
    rollouts = {service_id: (pk, phase) for service_id, pk, phase in moving}
    findings: dict[int, int] = {}
    for (service_id,) in Finding.objects.filter(ended_at=None).values_list("service_id"):
        findings[service_id] = findings.get(service_id, 0) + 1
    traffic = _traffic(ids, now)
    drift = sentences(viewer) if any(row.drifting for row in placed) else {}
    return tuple(
        _row(
            service,
            tuple(deployments.get(service.pk, ())),
            rollouts.get(service.pk, (None, "")),
            findings.get(service.pk, 0),
            traffic.get(service.pk, (0, 0)),
            drift.get(service.pk, ()),
            now,
        )
        for service in services
    )


def _traffic(ids: Sequence[int], now: datetime) -> dict[int, tuple[int, int]]:
    """Requests of the last hour, and how many of them were answered, by service."""
    slots = TrafficSlot.objects.filter(
        seconds=DASHBOARD_SECONDS, slot__gt=now - LATELY, service_id__in=ids
    )
    found: dict[int, tuple[int, int]] = {}
    counted = slots.values_list("service_id", "outcome").annotate(n=Sum("requests"))
    for service_id, outcome, requests in counted.order_by("service_id", "outcome"):
        all_of_it, answered = found.get(service_id, (0, 0))
        good = requests if outcome in ANSWERED else 0
        found[service_id] = (all_of_it + requests, answered + good)
    return found


def _row(
    service: Service,
    deployments: tuple[DeploymentRow, ...],
    rollout: tuple[int | None, str],
    findings: int,
    traffic: tuple[int, int],
    drift: tuple[str, ...],
    now: datetime,
) -> ServiceRow:
    cluster = service.cluster
    stale = stale_because(cluster.observed_at, cluster.trouble, now) if cluster else ""
    sync, why = _sync(deployments, drift, stale)
    serving = sum(d.serving for d in deployments)
    wanted = sum(d.replicas for d in deployments)
    release = service.current_release
    return ServiceRow(
        id=service.pk,
        name=service.name,
        description=service.description,
        version=service.version,
        etag=service.etag,
        demo=service.demo,
        cluster=cluster.slug if cluster else "",
        cluster_id=service.cluster_id,
        region=cluster.region if cluster else "",
        release=str(release) if release else "",
        release_id=release.pk if release else None,
        replicas=wanted if deployments else service.replicas,
        serving=serving,
        sync=sync,
        health=_health(bool(stale), wanted, serving, findings),
        why=why,
        edits=drift,
        observed_at=cluster.observed_at if cluster else None,
        rollout_id=rollout[0],
        rollout_phase=rollout[1],
        findings=findings,
        requests=traffic[0],
        answered=traffic[1],
        deployments=deployments,
    )


def _sync(
    deployments: tuple[DeploymentRow, ...], drift: tuple[str, ...], stale: str
) -> tuple[Sync, tuple[str, ...]]:
    sync, why = compare(
        [Wanted(d.name, d.fingerprint, d.image_digest, d.replicas) for d in deployments],
        [
            Live(p.name, p.release, p.image_id, p.admitted and p.ready)
            for d in deployments
            for p in d.pods
            if not p.terminating
        ],
        unknown_because=stale,
    )
    return (Sync.DRIFTED, (*drift, *why)) if drift and not stale else (sync, why)


def _health(stale: bool, wanted: int, serving: int, findings: int) -> Health:
    if stale:
        return Health.UNKNOWN
    if not wanted:
        return Health.EMPTY
    if not serving:
        return Health.DOWN
    return Health.DEGRADED if findings or serving < wanted else Health.HEALTHY


def _deployment(row: Deployment, pods: Sequence[ObservedPod]) -> DeploymentRow:
    return DeploymentRow(
        id=row.pk,
        name=row.name,
        release_id=row.release_id,
        release=str(row.release),
        fingerprint=row.release.fingerprint,
        image_digest=row.release.image_digest,
        cluster=row.cluster.slug,
        replicas=row.replicas,
        weight=row.weight,
        pods=tuple(pod_row(p) for p in pods),
    )


def pod_row(pod: ObservedPod) -> PodRow:
    return PodRow(
        name=pod.name,
        uid=pod.uid,
        release=pod.release,
        node=pod.node,
        address=pod.address,
        phase=pod.phase,
        ready=pod.ready,
        admitted=pod.admitted,
        terminating=pod.terminating,
        restarts=pod.restarts,
        gpus=pod.gpus,
        reason=pod.reason,
        message=pod.message,
        last_log=pod.last_log,
        image_id=pod.image_id,
        probe=pod.probe,
        probed_at=pod.probed_at,
        created_at=pod.created_at,
        observed_at=pod.observed_at,
    )
