"""Clusters and nodes as they were last seen, with the age of what is known."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Case, Count, F, Q, QuerySet, Sum, When
from django.db.models.functions import Greatest

from fleet.clients import vault
from fleet.clients.kube import Access
from fleet.models import Cluster, Node, ObservedEvent, ObservedPod
from fleet.queries.access import see_fleet
from fleet.rules.freshness import stale_because
from fleet.rules.rbac import manifest, token_command
from tenants.errors import NotFound
from tenants.rules.access import Viewer

OUT = Q(cordoned=True) | Q(ready=False)  # of a node: it takes no new replica


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
    provider: str
    confidential: bool
    weights_cache: str  # rules.weights
    weights_secret: str
    version: int
    etag: str
    kubernetes: str
    observed_at: datetime | None
    applied_version: int | None  # of `version`, by the observer; None: it has not looked yet
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
    queues: tuple[Mapping[str, Any], ...]  # rules.kueue.SeenQueue
    group_sets: str  # version of LeaderWorkerSet; empty: it is not there for us


def list_clusters(viewer: Viewer, now: datetime) -> tuple[ClusterRow, ...]:
    see_fleet(viewer)
    clusters = list(_live().annotate(service_count=Count("services")).order_by("slug"))
    sums: dict[int, list[NodeSum]] = {}
    for pk, found in sum_nodes(Node.objects.filter(cluster__in=clusters)):
        sums.setdefault(pk, []).append(found)
    return tuple(_row(c, sums.get(c.pk, []), c.service_count, now) for c in clusters)


def get_cluster(viewer: Viewer, key: int | str, now: datetime) -> ClusterDetail:
    """By id or slug."""
    see_fleet(viewer)
    by = {"pk": key} if isinstance(key, int) else {"slug": key}
    found = _live().filter(**by).annotate(service_count=Count("services")).first()
    if found is None:
        raise NotFound("There is no such cluster")
    of_it = Node.objects.filter(cluster=found)
    nodes = list(of_it.order_by("name"))
    events = ObservedEvent.objects.filter(cluster=found).order_by("-at", "-id")[:50]
    return ClusterDetail(
        cluster=_row(found, [s for _, s in sum_nodes(of_it)], found.service_count, now),
        nodes=tuple(_node(found.slug, node, found.observed_at) for node in nodes),
        permissions=tuple(found.permissions),
        rbac=manifest(found.namespace),
        token_command=token_command(),
        events=tuple(event_row(e) for e in events),
        pods=ObservedPod.objects.filter(cluster=found).count(),
        queues=tuple((found.kueue or {}).get("queues", ())),
        group_sets=found.group_sets,
    )


def list_nodes(viewer: Viewer) -> tuple[NodeRow, ...]:
    """Nodes with GPUs first, the troubled ones before the sound."""
    see_fleet(viewer)
    rows = Node.objects.filter(cluster__removed_at=None).select_related("cluster")
    ordered = rows.order_by("cluster__slug", "name")
    found = [_node(n.cluster.slug, n, n.cluster.observed_at) for n in ordered]
    return tuple(sorted(found, key=lambda n: (not n.is_out, not n.gpus.allocatable)))


def nodes_out(viewer: Viewer) -> tuple[NodeRow, ...]:
    """Those with GPUs that take no new replica."""
    see_fleet(viewer)
    rows = Node.objects.filter(OUT, cluster__removed_at=None, gpus_allocatable__gt=0)
    named = rows.annotate(slug=F("cluster__slug"), seen_at=F("cluster__observed_at"))
    return tuple(_node(n.slug, n, n.seen_at) for n in named.order_by("slug", "name"))


def printed_rbac(viewer: Viewer, namespace: str) -> tuple[str, str]:
    """For the registration page: the YAML, and the command that makes a token."""
    see_fleet(viewer)
    return manifest(namespace), token_command()


def access_of(cluster: Cluster) -> Access:
    """How jobs reach a cluster. Raise `Permanent` when the key of the console was changed."""
    if cluster.in_cluster:
        return Access(in_cluster=True)
    return Access(kubeconfig=vault.unseal(settings.SECRET_KEY, bytes(cluster.credential)))


@dataclass(frozen=True, slots=True)
class NodeSum:
    """The nodes of one product in a cluster that are in service, or that are out of it."""

    product: str
    out: bool
    nodes: int
    allocatable: int
    used: int
    free: int


def sum_nodes(nodes: QuerySet[Node]) -> list[tuple[int, NodeSum]]:
    """By cluster. In the database: a fleet has more nodes than a page has time to load."""
    rows = nodes.annotate(out=Case(When(OUT, then=True), default=False)).values_list(
        "cluster_id", "gpu_product", "out"
    )
    sums = rows.annotate(
        count=Count("pk"),
        allocatable=Sum("gpus_allocatable"),
        used=Sum("gpus_used"),
        unheld=Sum(Greatest(F("gpus_allocatable") - F("gpus_used"), 0)),
    )
    return [
        (cluster, NodeSum(product or "unknown", out, count, all_of_them, used, 0 if out else free))
        for cluster, product, out, count, all_of_them, used, free in sums.order_by(
            "cluster_id", "gpu_product", "out"
        )
    ]


def count_gpus(sums: Iterable[NodeSum]) -> tuple[GpuCount, ...]:
    """By product; a node without GPUs counts for none."""
    parts: dict[str, list[int]] = {}
    for one in sums:
        if one.allocatable:
            total = parts.setdefault(one.product, [0, 0, 0, 0])
            out = one.allocatable if one.out else 0
            for index, number in enumerate((one.allocatable, one.used, one.free, out)):
                total[index] += number
    return tuple(GpuCount(product, *parts[product]) for product in sorted(parts))


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


def _row(cluster: Cluster, sums: Sequence[NodeSum], services: int, now: datetime) -> ClusterRow:
    return ClusterRow(
        id=cluster.pk,
        slug=cluster.slug,
        name=cluster.name,
        region=cluster.region,
        namespace=cluster.namespace,
        server=cluster.server,
        in_cluster=cluster.in_cluster,
        hosted=cluster.hosted,
        provider=cluster.provider,
        confidential=cluster.confidential,
        weights_cache=cluster.weights_cache,
        weights_secret=cluster.weights_secret,
        version=cluster.version,
        etag=cluster.etag,
        kubernetes=cluster.observed_version,
        observed_at=cluster.observed_at,
        applied_version=cluster.applied_version,
        stale=stale_because(cluster.observed_at, cluster.trouble, now),
        trouble=cluster.trouble,
        denied=sum(p.get("needed", True) and not p["allowed"] for p in cluster.permissions),
        nodes=sum(s.nodes for s in sums),
        nodes_out=sum(s.nodes for s in sums if s.out),
        gpus=count_gpus(sums),
        services=services,
    )


def _node(cluster: str, node: Node, observed_at: datetime | None) -> NodeRow:
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
        observed_at=observed_at or node.observed_at,
    )
