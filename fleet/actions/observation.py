"""What the observer saw, written down: all of one pass, or nothing of it.

A pass holds the cluster's claim. Who lost it writes nothing: somebody else looked meanwhile.
"""

import json
import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from operator import attrgetter, itemgetter
from typing import Any

from django.db import transaction
from django.db.models import F

from fleet.actions.drift import Around, store_drift
from fleet.actions.gpu_intervals import store_gpus
from fleet.actions.node_drift import note_changes
from fleet.actions.rollout_time import add_rollout_time
from fleet.actions.waking import tell_rollouts
from fleet.models import Cluster, Deployment, Node, ObservedEvent, ObservedPod
from fleet.rules.kueue import SeenKueue
from fleet.rules.node_labels import changes
from fleet.rules.observation import SeenBudget, SeenEvent, SeenNode, SeenPod, SeenQuota
from fleet.rules.release import fingerprint_of
from tenants.base.writing import write_rows
from tenants.nudge import nudge

EVERY = timedelta(seconds=3)
LONGEST_WAIT = timedelta(seconds=15)  # after failures in a row
PUBLISH = "fleet.tasks.publish_routing"


@dataclass(frozen=True, slots=True)
class Seen:
    """One complete look at a cluster. `permissions` is None when they were not asked about."""

    version: str
    nodes: tuple[SeenNode, ...]
    pods: tuple[SeenPod, ...]
    events: tuple[SeenEvent, ...]
    permissions: tuple[dict[str, Any], ...] | None = None
    quotas: tuple[SeenQuota, ...] | None = None  # None: the account may not read them
    budgets: tuple[SeenBudget, ...] | None = None
    settings: int | None = None  # version of the cluster's row that the look was made with
    kueue: SeenKueue | None = None  # None: the cluster has none
    group_sets: str = ""  # version of LeaderWorkerSet; empty: it is not there for us
    deployments: tuple[dict[str, Any], ...] = ()  # as the API server gave them
    around: Around = Around()  # what else releases have there


@transaction.atomic
def store(cluster_id: int, claim: uuid.UUID, seen: Seen, now: datetime) -> bool:
    """Replace what was known by what was seen. False: the claim was lost, nothing is written."""
    rows = Cluster.objects.select_for_update(no_key=True)
    cluster = rows.filter(pk=cluster_id, claim=claim, removed_at=None).first()
    if cluster is None:
        return False
    store_nodes(cluster, seen.nodes, now)
    store_events(cluster, seen.events)
    tell(cluster, store_pods(cluster, seen.pods, now))
    store_drift(cluster, seen.deployments, now, seen.around)
    gpus = store_gpus(cluster, seen.nodes, seen.pods, now)
    add_rollout_time(cluster, seen.nodes, seen.pods, now)
    checked = {} if seen.permissions is None else {"permissions": list(seen.permissions)}
    return Cluster.record(
        cluster_id,
        claim,
        observed_at=now,
        observed_version=seen.version[:40],
        applied_version=seen.settings,
        trouble="",
        failures=0,
        failure="",
        look_again=now + EVERY,
        quotas=rows_of(seen.quotas),
        budgets=rows_of(seen.budgets),
        group_sets=seen.group_sets[:16],
        kueue=None if seen.kueue is None else asdict(seen.kueue),
        **checked,
        **gpus,
    )


@transaction.atomic
def store_glance(
    cluster_id: int,
    claim: uuid.UUID,
    pods: Sequence[SeenPod],
    services: Collection[str],
    now: datetime,
    *,
    goes_on: bool = False,
) -> bool:
    """Replace what was known of the pods of these services. False: the claim was lost. It ends the
    claim, but where the pass goes on.
    """
    rows = Cluster.objects.select_for_update(no_key=True)
    cluster = rows.filter(pk=cluster_id, claim=claim, removed_at=None).first()
    if cluster is None:
        return False
    tell(cluster, store_pods(cluster, pods, now, services))
    return goes_on or Cluster.record(cluster_id, claim)


def tell(cluster: Cluster, changes: "PodChanges") -> None:
    """Gateways learn where to send, and rollouts that wait for a pod go on at once."""
    if changes.routes:
        nudge(PUBLISH)
    if changes.services:
        tell_rollouts(cluster.pk, changes.services)


def rows_of(found: tuple[SeenQuota | SeenBudget, ...] | None) -> list[dict[str, Any]] | None:
    return None if found is None else [asdict(one) for one in found]


def store_trouble(cluster_id: int, claim: uuid.UUID, trouble: str, now: datetime) -> bool:
    """Keep the last picture with its age, say why it is old, and look again a little later."""
    failures = Cluster.objects.values_list("failures", flat=True).get(pk=cluster_id)
    wait = min(EVERY * 2 ** min(failures, 5), LONGEST_WAIT)
    return Cluster.record(
        cluster_id, claim, trouble=trouble, failures=F("failures") + 1, look_again=now + wait
    )


OF_NODE = (
    "gpu_product", "gpus_allocatable", "gpus_used", "clique", "zone", "ready", "cordoned",
    "trouble", "taints",
)  # fmt: skip
READY = OF_NODE.index("ready")


def store_nodes(cluster: Cluster, nodes: Sequence[SeenNode], now: datetime) -> None:
    """Only what differs is written: a large fleet looks the same for hours."""
    found = Node.objects.filter(cluster=cluster).values_list("name", "changed_at", *OF_NODE)
    known = {name: (changed_at, tuple(values)) for name, changed_at, *values in found}
    if gone := known.keys() - {n.name for n in nodes}:
        Node.objects.filter(cluster=cluster, name__in=gone).delete()
    rows, changed = [], []
    for node in nodes:
        values = [getattr(node, field) for field in OF_NODE[:-1]] + [list(node.taints)]
        changed_at, before = known.get(node.name, (now, ()))
        if before != tuple(values):
            same = bool(before) and before[READY] == node.ready
            since = changed_at if same else now
            rows.append((cluster.pk, node.name, since, now, *values[:-1], json.dumps(values[-1])))
            if before:
                told = (dict(zip(OF_NODE, of, strict=True)) for of in (before, values))
                changed.append((node, changes(*told)))
    note_changes(cluster, [pair for pair in changed if pair[1]], gone, now)
    times = ("changed_at", "observed_at")
    one = ("cluster", "name")
    write_rows(Node, (*one, *times, *OF_NODE), rows, once=one, renew=(*times, *OF_NODE))


KEPT = (
    "name",
    "release",
    "role",
    "node",
    "address",
    "phase",
    "ready",
    "admitted",
    "terminating",
    "restarts",
    "gpus",
    "reason",
    "message",
    "last_log",
    "image_id",
    "created_at",
    "ready_at",
)
OF_POD = ("deployment_id", *KEPT)
UNPROBED = {"probe": "", "probe_passes": 0, "probe_failures": 0}
ADDRESS = OF_POD.index("address")
LONGEST = {f: getattr(ObservedPod._meta.get_field(f), "max_length", None) for f in KEPT}
of_pod = attrgetter(*KEPT)
taking = itemgetter(*map(OF_POD.index, ("ready", "admitted", "terminating", "address")))


@dataclass(frozen=True, slots=True)
class PodChanges:
    routes: bool  # what the gateway may send to has changed
    services: frozenset[str]  # whose pods came, changed or went


def store_pods(
    cluster: Cluster,
    pods: Sequence[SeenPod],
    now: datetime,
    services: Collection[str] | None = None,
) -> PodChanges:
    """Write what differs. Results of probes are left as they are.

    `services`: those whose pods were listed; None: all.
    """
    placed = Deployment.objects.filter(cluster=cluster)
    names = placed.values_list("pk", "service__name", "release__digest")
    deployments = {(name, fingerprint_of(digest)): pk for pk, name, digest in names}
    found = ObservedPod.objects.filter(cluster=cluster)
    if services is not None:
        found = found.filter(deployment__service__name__in=services)
    known = {uid: tuple(values) for uid, *values in found.values_list("uid", *OF_POD)}
    before = {(uid, values[ADDRESS]) for uid, values in known.items() if _takes_traffic(values)}
    if gone := known.keys() - {p.uid for p in pods}:
        ObservedPod.objects.filter(cluster=cluster, uid__in=gone).delete()
    rows = []
    owners = {known[uid][0] for uid in gone}
    changed = {name for (name, _), pk in deployments.items() if pk in owners}
    for pod in pods:
        values = [deployments.get((pod.service, pod.release)), *map(_fitting, KEPT, of_pod(pod))]
        if known.get(pod.uid) != tuple(values):
            rows.append((pod.uid, *UNPROBED.values(), cluster.pk, now, *values))
            changed.add(pod.service)
    seen = ("cluster", "observed_at", "deployment", *KEPT)
    write_rows(ObservedPod, ("uid", *UNPROBED, *seen), rows, once=["uid"], renew=seen)
    after = {(p.uid, p.address) for p in pods if p.takes_traffic}
    return PodChanges(before != after, frozenset(changed))


def _takes_traffic(values: Sequence[Any]) -> bool:
    ready, admitted, terminating, address = taking(values)
    return ready and admitted and not terminating and bool(address)


def _fitting(field: str, value: Any) -> Any:
    """Cut to the column: a cluster may say more than we keep, and one word must not stop us."""
    longest = LONGEST[field]
    return value[:longest] if longest and isinstance(value, str) else value


def store_events(cluster: Cluster, events: Iterable[SeenEvent]) -> None:
    found = {e.uid: e for e in events}
    known = dict(
        ObservedEvent.objects.filter(cluster=cluster, uid__in=list(found)).values_list(
            "uid", "count"
        )
    )
    rows = [
        ObservedEvent(
            cluster=cluster,
            uid=e.uid,
            at=e.at,
            kind=e.kind,
            name=e.name[:253],
            reason=e.reason[:120],
            message=e.message,
            warning=e.warning,
            count=e.count,
        )
        for e in found.values()
        if known.get(e.uid) != e.count
    ]
    ObservedEvent.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["cluster", "uid"],
        update_fields=["at", "message", "count"],
    )
