"""The routing snapshot's content, read from the rows. For the publisher, not for people."""

from dataclasses import replace
from datetime import datetime

from fleet.models import Cluster, Deployment, Node, ObservedPod, Release, ScalingPolicy, Service
from fleet.queries.audience import canaries
from fleet.queries.placements import placements_by_service
from fleet.queries.starts import starts_of
from fleet.rules.adapters import names_of
from fleet.rules.groups import answers_clients
from fleet.rules.pins import pins_from
from fleet.rules.routing import Offered, Placed, Replica, snapshot, with_workers
from fleet.rules.scaling import ASSUMED_START
from gateway.contract.routing import Canary, RoutingSnapshot, WaitingRoom

PRODUCT = ("cluster_id", "name", "gpu_product")
UNREAD = ("environment", "resources", "probes")


def build_routing(now: datetime) -> RoutingSnapshot:  # content has no time
    replicas: dict[int, list[Replica]] = {}
    products = _products()
    for pod in ObservedPod.objects.exclude(deployment=None):
        assert pod.deployment_id is not None
        product = products.get((pod.cluster_id, pod.node), "")
        replicas.setdefault(pod.deployment_id, []).append(_replica(pod, product))
    placed: dict[int, list[Placed]] = {}
    # What no gateway reads stays unread: of hundreds of rows it takes longer than all the rest.
    clusters = Cluster.objects.filter(removed_at=None).in_bulk()
    rows = Deployment.objects.filter(cluster__in=clusters).select_related("release")
    for row in rows.defer("manifest", *(f"release__{name}" for name in UNREAD)):
        engines = with_workers(replicas.get(row.pk, ()))
        found = _placed(row, clusters[row.cluster_id], engines)
        placed.setdefault(row.service_id, []).append(found)
    moving, rooms, others = canaries(), _rooms(), placements_by_service()
    return snapshot(
        replace(
            _offered(s, tuple(placed.get(s.pk, ())), moving.get(s.pk), rooms.get(s.pk)),
            placements=others.get(s.pk, ()),
        )
        for s in Service.objects.all()
    )


def _rooms() -> dict[int, WaitingRoom]:
    """Of services that sleep or wake."""
    rows = ScalingPolicy.objects.exclude(slept_at=None).exclude(service__current_release=None)
    related = ("service__current_release__service", "service__current_release__model_version")
    return {row.service_id: _room(row) for row in rows.select_related(*related)}


def _room(row: ScalingPolicy) -> WaitingRoom:
    release = row.service.current_release
    assert release is not None
    starts = starts_of(row.service, release)
    return WaitingRoom(
        most=row.max_waiting,
        wait_seconds=float(row.wait_seconds),
        start_seconds=round(starts.p95 or ASSUMED_START, 1),
        since=row.woken_at.timestamp() if row.woken_at else None,
    )


def _products() -> dict[tuple[int, str], str]:
    """GPU products by cluster and node."""
    rows = Node.objects.exclude(gpu_product="")
    return {(c, name): product for c, name, product in rows.values_list(*PRODUCT)}


def _replica(pod: ObservedPod, product: str) -> Replica:
    return Replica(
        name=pod.name,
        address=pod.address,
        node=pod.node,
        ready=pod.ready,
        admitted=pod.admitted,
        terminating=pod.terminating,
        probe_failures=pod.probe_failures,
        role=pod.role,
        gpus=pod.gpus or 1,  # parts of one count as a whole
        gpu_product=product,
    )


def arguments_of(release: Release) -> tuple[str, ...]:
    """Of the pods that answer clients."""
    roles = [r["arguments"] for r in release.roles if answers_clients(r["name"])]
    return tuple(release.arguments) + tuple(a for arguments in roles for a in arguments)


def _placed(row: Deployment, cluster: Cluster, replicas: tuple[Replica, ...]) -> Placed:
    return Placed(
        deployment_id=row.pk,
        release_id=row.release_id,
        release=row.release.fingerprint,
        weight=row.weight,
        cluster=cluster.slug,
        region=cluster.region,
        arguments=arguments_of(row.release),
        roles=tuple(r["name"] for r in row.release.roles),
        replicas=replicas,
        hosted=cluster.hosted,
        provider=cluster.provider,
        confidential=cluster.confidential,
        adapters=names_of(pins_from(row.release.pins)),
    )


def _offered(
    service: Service,
    placed: tuple[Placed, ...],
    canary: Canary | None,
    waiting_room: WaitingRoom | None,
) -> Offered:
    return Offered(
        id=service.pk,
        name=service.name,
        objectives=service.objectives,
        max_model_len=service.max_model_len,
        default_max_tokens=service.default_max_tokens,
        max_queue=service.max_queue,
        request_seconds=service.request_seconds,
        chunk_seconds=service.chunk_seconds,
        fallbacks=tuple(service.fallbacks),
        placed=placed,
        canary=canary,
        waiting_room=waiting_room,
    )
