"""The image of the new release on nodes before anything moves: looked at, brought, cleared up.

A way back never comes here: what is left of it goes with the new release's Deployment.
"""

from collections.abc import Collection, Iterable

from django.conf import settings

from fleet.clients.errors import Permanent, Temporary
from fleet.clients.workloads import Workloads
from fleet.models import Cluster, Node, Rollout
from fleet.queries.releases import spec_of
from fleet.queries.situations import rooms_of
from fleet.rules.disks import full_ones
from fleet.rules.manifests import Manifest
from fleet.rules.phases import GOING_BACK, Phase, Wish
from fleet.rules.prefetch import (
    MOST,
    NOT_ALLOWED,
    Fetched,
    Prefetch,
    cache_of,
    chosen,
    pod_on,
    read,
    selector_of,
    specs_of,
    troubled_nodes,
)
from fleet.rules.rbac import may_fetch
from fleet.rules.state import Decision, Seen, State
from fleet.rules.weights import CLAIM, container, is_claim

NOR_WEIGHTS = ". Nor are its weights: engines start where the cache holds them already"
Looked = tuple[dict[str, Manifest], Prefetch | None]


def full_disks(r: Rollout, products: Collection[str]) -> tuple[str, ...]:
    """Nodes of these GPU products, as the observer saw them."""
    return full_ones(Node.objects.filter(cluster=r.cluster_id), products)


def look_at_fetching(r: Rollout, state: State, manifest: Manifest, workloads: Workloads) -> Looked:
    """Pods to copy by node, and what became of those that are there."""
    prepares = state.phase is Phase.PREPARING and bool(state.prefetch)
    back = state.phase in GOING_BACK or state.wish is Wish.ABORT
    if back or not (prepares or state.memory.fetched):
        return {}, None
    if prepares and not allowed(r.cluster):
        return {}, Prefetch(skipped=NOT_ALLOWED + NOR_WEIGHTS * bool(cache_in(manifest)))
    found = read(
        workloads.list_pods(selector_of(r.to_release.fingerprint)), full_disks(r, state.mix_new)
    )
    if not prepares:
        return {}, Prefetch(found=found)
    pods = wanted(r, manifest, state.replicas, found)
    return pods, Prefetch(tuple(pods), found, cache=cache_in(manifest))


def wanted(
    r: Rollout, manifest: Manifest, replicas: int, found: Iterable[Fetched]
) -> dict[str, Manifest]:
    """Where weights belong into a directory of each node: on all that can take an engine, as one
    that starts elsewhere would find none.
    """
    cache = cache_in(manifest)
    many = MOST if cache and not is_claim(cache) else replicas
    rooms = rooms_of(r.cluster, r.from_release)
    pods = chosen(rooms, manifest, many, troubled_nodes(found))
    if not (pods and is_claim(cache)):
        return pods
    return {f"{CLAIM}{cache}": next(s for s in specs_of(manifest) if cache_of(s))} | pods


def cache_in(manifest: Manifest) -> str:
    """That the pods of a release mount for weights; empty: none."""
    return next(filter(None, map(cache_of, specs_of(manifest))), "")


def missing_claim(manifest: Manifest, workloads: Workloads) -> str:
    """Empty, or that what engines shall mount is not there."""
    cache = cache_in(manifest)
    if not is_claim(cache) or not workloads.lacks_claim(cache):
        return ""
    return (
        f"There is no PersistentVolumeClaim {cache} in {manifest['metadata']['namespace']}, which"
        " the release mounts as its cache for weights"
    )


def bringing(r: Rollout) -> Manifest:
    spec = spec_of(r.to_release)
    return container(spec, hub=settings.QM_MODEL_HUB, secret=r.cluster.weights_secret)


def allowed(cluster: Cluster) -> bool:
    return may_fetch(cluster.permissions, cluster.namespace)


def fetch(
    workloads: Workloads,
    pods: dict[str, Manifest],
    r: Rollout,
    manifest: Manifest,
    seen: Seen,
    decision: Decision,
    seconds: float,
) -> None:
    """Make the pods that were decided; once nothing is prepared any more, delete all."""
    brings = seen.prefetch.bring if seen.prefetch else ()
    bring = bringing(r) if any(node in brings for node in decision.fetch) else None
    for node in decision.fetch:
        own = bring if node in brings else None
        pod = pod_on(node, pods[node], manifest, seen.new.parts[0], seconds, own)
        try:
            workloads.make(pod)
        except Permanent as error:  # a quota, an admission: no fault of the release
            raise Temporary(f"Its image is not brought to {node}. {error.message}") from error
    if seen.prefetch is None or decision.phase in GOING_BACK | {Phase.PREPARING}:
        return
    for one in seen.prefetch.found:
        workloads.delete("Pod", one.name, one.uid)
