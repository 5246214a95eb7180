"""Services: what tenants call, which release answers where, wanted against live."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet, Sum

from fleet.models import Deployment, ObservedPod, Service, TrafficSlot
from fleet.queries.access import see_fleet
from fleet.queries.pod_load import PodLoad, loads_of
from fleet.queries.service_states import SERVICE, ServiceState, Signs, read_signs, state_of
from fleet.rules.drift import Live, Wanted, evicted_words
from fleet.rules.groups import shape_from, whole
from fleet.rules.objectives import Objective, objective_of
from fleet.rules.release import fingerprint_of
from fleet.rules.traffic import ANSWERED, DASHBOARD_SECONDS
from gateway.contract.outcomes import TrafficClass
from tenants.errors import NotFound
from tenants.rules.access import Viewer

LATELY = timedelta(hours=1)
PLACED = (
    "pk", "service_id", "name", "replicas", "weight", "cluster__slug", "release_id",
    "release__number", "release__digest", "release__image_digest", "release__resources",
    "release__roles",
)  # fmt: skip
DETAILS = (
    *SERVICE, "objectives", "max_model_len", "default_max_tokens", "max_queue", "request_seconds",
    "chunk_seconds", "fallbacks", "cluster__namespace", "prefetch_seconds",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PodRow:
    name: str
    uid: str
    release: str
    role: str
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
    load: PodLoad | None = None  # only where one service is shown; None: it told nothing lately


POD = tuple(field.name for field in fields(PodRow) if field.name != "load")


def serving(pods: Iterable[PodRow], shape: Mapping[str, int]) -> int:
    """Whole replicas that take traffic."""
    return whole((p.role for p in pods if p.admitted and p.ready and not p.terminating), shape)


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
    shape: Mapping[str, int]  # pods of each role in a replica; empty: it is one pod
    pods: tuple[PodRow, ...]

    @property
    def serving(self) -> int:
        return serving(self.pods, self.shape)


@dataclass(frozen=True, slots=True)
class ServiceRow(ServiceState):
    requests: int  # of the last hour
    answered: int
    deployments: tuple[DeploymentRow, ...]


@dataclass(frozen=True, slots=True)
class ServiceDetail:
    service: ServiceRow  # its pods with their loads
    objectives: Mapping[str, Objective]
    own_objectives: Mapping[str, Mapping[str, int]]  # those that are not the defaults
    wanted_replicas: int  # what the next rollout brings; the row has what is wanted now
    max_model_len: int
    default_max_tokens: int
    max_queue: int
    request_seconds: int
    chunk_seconds: int
    prefetch_seconds: int
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
        service=_with_loads(_rows(viewer, [found], now)[0], now),
        objectives={c.value: objective_of(found.objectives, c.value) for c in TrafficClass},
        own_objectives=found.objectives,
        wanted_replicas=found.replicas,
        max_model_len=found.max_model_len,
        default_max_tokens=found.default_max_tokens,
        max_queue=found.max_queue,
        request_seconds=found.request_seconds,
        chunk_seconds=found.chunk_seconds,
        prefetch_seconds=found.prefetch_seconds,
        fallbacks=tuple(found.fallbacks),
        namespace=found.cluster__namespace or "",
    )


def _with_loads(row: ServiceRow, now: datetime) -> ServiceRow:
    loads = loads_of([row.id], now)
    told = [
        replace(d, pods=tuple(replace(p, load=loads.get(p.uid)) for p in d.pods))
        for d in row.deployments
    ]
    return replace(row, deployments=tuple(told))


def service_names(viewer: Viewer) -> dict[int, str]:
    """Names of all services: also for tenants, who call them by these."""
    return dict(Service.objects.order_by("name").values_list("id", "name"))


def _services() -> QuerySet[Service, Any]:
    return Service.objects.order_by("name").values_list(*DETAILS, named=True)


def _rows(viewer: Viewer, services: Sequence[Any], now: datetime) -> tuple[ServiceRow, ...]:
    ids = [s.pk for s in services]
    placed_pods = ObservedPod.objects.filter(deployment__service__in=ids).order_by("created_at")
    pods = pods_by("deployment_id", placed_pods)
    deployments: dict[int, list[DeploymentRow]] = {}
    placed = Deployment.objects.filter(service__in=ids).order_by("-weight", "-release__number")
    for row in placed.values_list(*PLACED, named=True):
        deployments.setdefault(row.service_id, []).append(_deployment(row, pods.get(row.pk, [])))
    signs, traffic = read_signs(viewer), _traffic(ids, now)
    return tuple(
        _row(s, tuple(deployments.get(s.pk, ())), signs, traffic.get(s.pk, (0, 0)), now)
        for s in services
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
    service: Any,
    deployments: tuple[DeploymentRow, ...],
    signs: Signs,
    traffic: tuple[int, int],
    now: datetime,
) -> ServiceRow:
    wanted = [
        Wanted(d.name, d.fingerprint, d.image_digest, d.replicas, d.shape) for d in deployments
    ]
    live = [
        Live(
            p.name,
            p.release,
            p.image_id,
            p.admitted and p.ready,
            p.role,
            evicted_words(p.reason, p.node, p.message),
        )
        for d in deployments
        for p in d.pods
        if not p.terminating
    ]
    return ServiceRow(
        **state_of(service, wanted, live, signs, now),
        requests=traffic[0],
        answered=traffic[1],
        deployments=deployments,
    )


def _deployment(row: Any, pods: Sequence[PodRow]) -> DeploymentRow:
    """Of the values PLACED."""
    return DeploymentRow(
        id=row.pk,
        name=row.name,
        release_id=row.release_id,
        release=f"r{row.release__number}",
        fingerprint=fingerprint_of(row.release__digest),
        image_digest=row.release__image_digest,
        cluster=row.cluster__slug,
        replicas=row.replicas,
        weight=row.weight,
        shape=shape_from(row.release__resources, row.release__roles),
        pods=tuple(pods),
    )


def pods_by(key: str, found: QuerySet[ObservedPod]) -> dict[Any, list[PodRow]]:
    """The pods of each value of a column."""
    pods: dict[Any, list[PodRow]] = {}
    for of, *pod in found.values_list(key, *POD):
        pods.setdefault(of, []).append(PodRow(*pod))
    return pods
