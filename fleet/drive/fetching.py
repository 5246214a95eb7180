"""The image of the new release on nodes before anything moves: looked at, brought, cleared up.

A way back never comes here: what is left of it goes with the new release's Deployment.
"""

from collections.abc import Collection

from fleet.clients.errors import Permanent, Temporary
from fleet.clients.workloads import Workloads
from fleet.models import Cluster, Node, Rollout
from fleet.queries.situations import rooms_of
from fleet.rules.disks import full_ones
from fleet.rules.manifests import Manifest
from fleet.rules.phases import GOING_BACK, Phase, Wish
from fleet.rules.prefetch import (
    MOST,
    Prefetch,
    cache_of,
    chosen,
    pod_on,
    read,
    selector_of,
    specs_of,
)
from fleet.rules.rbac import may_fetch
from fleet.rules.state import Decision, Seen, State
from fleet.rules.weights import container, is_claim

NOT_ALLOWED = "Its image is not brought to nodes before: the account may not create pods"
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
        return {}, Prefetch(skipped=NOT_ALLOWED)
    found = read(
        workloads.list_pods(selector_of(r.to_release.fingerprint)), full_disks(r, state.mix_new)
    )
    if not prepares:
        return {}, Prefetch(found=found)
    pods = chosen(rooms_of(r.cluster, r.from_release), manifest, state.replicas)
    return pods, Prefetch(tuple(pods), found)


def allowed(cluster: Cluster) -> bool:
    return may_fetch(cluster.permissions, cluster.namespace)


def fetch(
    workloads: Workloads,
    pods: dict[str, Manifest],
    manifest: Manifest,
    seen: Seen,
    decision: Decision,
    seconds: float,
) -> None:
    """Make the pods that were decided; once nothing is prepared any more, delete all."""
    for node in decision.fetch:
        pod = pod_on(node, pods[node], manifest, seen.new.parts[0], seconds)
        try:
            workloads.make(pod)
        except Permanent as error:  # a quota, an admission: no fault of the release
            raise Temporary(f"Its image is not brought to {node}. {error.message}") from error
    if seen.prefetch is None or decision.phase in GOING_BACK | {Phase.PREPARING}:
        return
    for one in seen.prefetch.found:
        workloads.delete("Pod", one.name, one.uid)
