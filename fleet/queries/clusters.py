"""Clusters and nodes as they were last seen, with the age of what is known."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Count, Q

from fleet.clients import vault
from fleet.clients.kube import Access
from fleet.models import Cluster, Node, ObservedEvent, ObservedPod
from fleet.queries.access import see_fleet
from fleet.rules.freshness import stale_because
from fleet.rules.rbac import manifest, token_command
from tenants.errors import NotFound
from tenants.rules.access import Viewer


@dataclass(frozen=True, slots=True)
class GpuCount:
    """GPUs of one product. `out`: on nodes that are not ready or cordoned, held or not."""

    product: str
    allocatable: int
    used: int
    free: int
    out: int


@dataclass(frozen=True, slots=True)
class NodeRow:
    id: int
    cluster: str
    name: str
    gpu_product: str
    gpus: GpuCount
    ready: bool
    cordoned: bool
    trouble: str
    clique: str
    zone: str
    taints: tuple[Mapping[str, Any], ...]
    changed_at: datetime
    observed_at: datetime

    @property
    def is_out(self) -> bool:
        return self.cordoned or not self.ready


@dataclass(frozen=True, slots=True)
class ClusterRow:
    id: int
    slug: str
    name: str
    region: str
    namespace: str
    server: str
    in_cluster: bool
    hosted: bool
    confidential: bool
    version: int
    etag: str
    kubernetes: str
    observed_at: datetime | None
    stale: str  # empty: fresh; else why the picture does not count
    trouble: str
    denied: int  # needed permissions that it lacks
    nodes: int
    nodes_out: int
    gpus: tuple[GpuCount, ...]
    services: int


@dataclass(frozen=True, slots=True)
class EventRow:
    at: datetime
    kind: str
    name: str
    reason: str
    message: str
    warning: bool
    count: int


@dataclass(frozen=True, slots=True)
class ClusterDetail:
    cluster: ClusterRow
    nodes: tuple[NodeRow, ...]
    permissions: tuple[Mapping[str, Any], ...]
    rbac: str  # YAML for `kubectl apply -f -`
    token_command: str
    events: tuple[EventRow, ...]
    pods: int


def list_clusters(viewer: Viewer, now: datetime) -> tuple[ClusterRow, ...]:
    see_fleet(viewer)
    clusters = list(_live().annotate(service_count=Count("services")).order_by("slug"))
    nodes: dict[int, list[Node]] = {}
    for node in Node.objects.filter(cluster__in=clusters).order_by("name"):
        nodes.setdefault(node.cluster_id, []).append(node)
    return tuple(_row(c, nodes.get(c.pk, []), c.service_count, now) for c in clusters)


def get_cluster(viewer: Viewer, key: int | str, now: datetime) -> ClusterDetail:
    """By id or slug."""
    see_fleet(viewer)
    by = {"pk": key} if isinstance(key, int) else {"slug": key}
    found = _live().filter(**by).annotate(service_count=Count("services")).first()
    if found is None:
        raise NotFound("There is no such cluster")
    nodes = list(Node.objects.filter(cluster=found).order_by("name"))
    events = ObservedEvent.objects.filter(cluster=found).order_by("-at", "-id")[:50]
    return ClusterDetail(
        cluster=_row(found, nodes, found.service_count, now),
        nodes=tuple(_node(found.slug, node) for node in nodes),
        permissions=tuple(found.permissions),
        rbac=manifest(found.namespace),
        token_command=token_command(),
        events=tuple(event_row(e) for e in events),
        pods=ObservedPod.objects.filter(cluster=found).count(),
    )


def list_nodes(viewer: Viewer) -> tuple[NodeRow, ...]:
    """Nodes with GPUs first, the troubled ones before the sound."""
    see_fleet(viewer)
    rows = Node.objects.filter(cluster__removed_at=None).select_related("cluster")
    found = [_node(n.cluster.slug, n) for n in rows.order_by("cluster__slug", "name")]
    return tuple(sorted(found, key=lambda n: (not n.is_out, not n.gpus.allocatable)))


def printed_rbac(viewer: Viewer, namespace: str) -> tuple[str, str]:
    """For the registration page: the YAML, and the command that makes a token."""
    see_fleet(viewer)
    return manifest(namespace), token_command()


def access_of(cluster: Cluster) -> Access:
    """How jobs reach a cluster. Raise `Permanent` when the key of the console was changed."""
    if cluster.in_cluster:
        return Access(in_cluster=True)
    return Access(kubeconfig=vault.unseal(settings.SECRET_KEY, bytes(cluster.credential)))


def count_gpus(nodes: Iterable[Node]) -> tuple[GpuCount, ...]:
    sums: dict[str, list[int]] = {}
    for node in nodes:
        if not node.gpus_allocatable:
            continue
        one = node_gpus(node)
        total = sums.setdefault(one.product, [0, 0, 0, 0])
        for index, number in enumerate((one.allocatable, one.used, one.free, one.out)):
            total[index] += number
    return tuple(GpuCount(product, *sums[product]) for product in sorted(sums))


def node_gpus(node: Node) -> GpuCount:
    out = node.cordoned or not node.ready
    free = 0 if out else max(node.gpus_allocatable - node.gpus_used, 0)
    return GpuCount(
        product=node.gpu_product or "unknown",
        allocatable=node.gpus_allocatable,
        used=node.gpus_used,
        free=free,
        out=node.gpus_allocatable if out else 0,
    )


def event_row(event: ObservedEvent) -> EventRow:
    return EventRow(
        at=event.at,
        kind=event.kind,
        name=event.name,
        reason=event.reason,
        message=event.message,
        warning=event.warning,
        count=event.count,
    )


def _live() -> Any:
    return Cluster.objects.filter(Q(removed_at=None))


def _row(cluster: Cluster, nodes: Sequence[Node], services: int, now: datetime) -> ClusterRow:
    return ClusterRow(
        id=cluster.pk,
        slug=cluster.slug,
        name=cluster.name,
        region=cluster.region,
        namespace=cluster.namespace,
        server=cluster.server,
        in_cluster=cluster.in_cluster,
        hosted=cluster.hosted,
        confidential=cluster.confidential,
        version=cluster.version,
        etag=cluster.etag,
        kubernetes=cluster.observed_version,
        observed_at=cluster.observed_at,
        stale=stale_because(cluster.observed_at, cluster.trouble, now),
        trouble=cluster.trouble,
        denied=sum(p.get("needed", True) and not p["allowed"] for p in cluster.permissions),
        nodes=len(nodes),
        nodes_out=sum(n.cordoned or not n.ready for n in nodes),
        gpus=count_gpus(nodes),
        services=services,
    )


def _node(cluster: str, node: Node) -> NodeRow:
    return NodeRow(
        id=node.pk,
        cluster=cluster,
        name=node.name,
        gpu_product=node.gpu_product,
        gpus=node_gpus(node),
        ready=node.ready,
        cordoned=node.cordoned,
        trouble=node.trouble,
        clique=node.clique,
        zone=node.zone,
        taints=tuple(node.taints),
        changed_at=node.changed_at,
        observed_at=node.observed_at,
    )
