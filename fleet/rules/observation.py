"""What a cluster answered, read into what we keep. Pure; unknown fields are left alone."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from fleet.rules.disks import full_ones, with_nodes
from fleet.rules.gpu_parts import (
    Devices,
    devices_of,
    mig_asked,
    product_of,
)
from fleet.rules.groups import is_worker
from fleet.rules.kueue import QUEUE
from fleet.rules.manifests import ADMITTED, PORT, RELEASE, ROLE, SCALED, SERVICE
from fleet.rules.members import INCOMPLETE, SIZE, group_in, role_in, together
from fleet.rules.node_capacity import ON_DEMAND, capacity_of, pool_of
from fleet.rules.objects import (
    Condition,
    Container,
    ContainerStatus,
    Event,
    Node,
    Pod,
    PodStatus,
    Terminated,
)
from fleet.rules.quantity import moment, whole
from fleet.rules.release import GPU, SERVE

Json = Mapping[str, Any]
LOG_TAIL = 4_000  # characters of a failed container's last words
ENDED = frozenset({"Succeeded", "Failed"})
OF_THE_SPOT = frozenset({"ContainerCreating", "PodInitializing"})  # waiting, but not in trouble
PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")


@dataclass(frozen=True, slots=True)
class SeenNode:
    name: str
    gpu_product: str
    gpus_allocatable: int
    gpus_used: int
    clique: str
    zone: str
    ready: bool
    cordoned: bool
    taints: tuple[dict[str, str], ...]
    trouble: str
    managed: object = None  # who wrote its fields, as the cluster gave it
    product: str = ""  # of its cards, however they are cut
    pool: str = ""
    capacity: str = ON_DEMAND
    devices: tuple[Devices, ...] = ()


@dataclass(frozen=True, slots=True)
class SeenPod:
    uid: str
    name: str
    service: str  # name, from its label
    release: str  # fingerprint, from its label
    node: str
    address: str  # host:port; empty: it has none yet, or speaks no HTTP
    phase: str
    ready: bool  # its containers are
    admitted: bool
    terminating: bool
    restarts: int
    gpus: int
    reason: str
    message: str
    last_log: str
    image_id: str
    created_at: datetime
    ready_at: datetime | None
    queue: str = ""  # of Kueue, from its label
    role: str = SERVE  # from its label
    size: int = 1  # pods of its engine
    group: str = ""  # which of these engines
    lacks: str = ""  # of a leader: whom its engine waits for
    started_at: datetime | None = None  # its container
    slices: tuple[tuple[str, int], ...] = ()  # MIG devices by profile

    @property
    def takes_traffic(self) -> bool:
        return self.ready and self.admitted and not self.terminating and bool(self.address)


@dataclass(frozen=True, slots=True)
class SeenQuota:
    """GPUs that a ResourceQuota allows the namespace, and those that its pods ask for."""

    name: str
    hard: int
    used: int


@dataclass(frozen=True, slots=True)
class SeenBudget:
    """Replicas that a PodDisruptionBudget wants to answer, of the pods with these labels."""

    name: str
    labels: dict[str, str]
    floor: int


@dataclass(frozen=True, slots=True)
class SeenEvent:
    uid: str
    at: datetime
    kind: str
    name: str
    reason: str
    message: str
    warning: bool
    count: int


def read_nodes(nodes: Iterable[Node], pods: Iterable[Pod]) -> tuple[SeenNode, ...]:
    """Nodes with the GPUs that pods bound to them ask for, whosever pods they are."""
    used: dict[str, int] = {}
    cut: dict[str, dict[str, int]] = {}
    for pod in pods:
        name = pod["spec"].get("nodeName")
        if name and pod.get("status", {}).get("phase") not in ENDED:
            used[name] = used.get(name, 0) + gpus_of(pod)
            for profile, count in slices_of(pod):
                of_node = cut.setdefault(name, {})
                of_node[profile] = of_node.get(profile, 0) + count
    names = [(node, node["metadata"]["name"]) for node in nodes]
    return tuple(_node(node, used.get(name, 0), cut.get(name, {})) for node, name in names)


def _node(node: Node, used: int, cut: Mapping[str, int]) -> SeenNode:
    meta, spec, status = node["metadata"], node.get("spec", {}), node.get("status", {})
    labels = meta.get("labels", {})
    conditions = {c["type"]: c for c in status.get("conditions", [])}
    allocatable = status.get("allocatable", {})
    return SeenNode(
        name=meta["name"],
        gpu_product=labels.get(f"{GPU}.product", ""),
        gpus_allocatable=whole(allocatable.get(GPU, 0)),
        gpus_used=used,
        clique=labels.get(f"{GPU}.clique", ""),
        zone=labels.get("topology.kubernetes.io/zone", ""),
        ready=conditions.get("Ready", {}).get("status") == "True",
        cordoned=bool(spec.get("unschedulable")),
        taints=tuple(
            {k: t[k] for k in ("key", "value", "effect") if k in t} for t in spec.get("taints", [])
        ),
        trouble=_node_trouble(conditions, cordoned=bool(spec.get("unschedulable"))),
        managed=meta.get("managedFields"),
        product=product_of(labels.get(f"{GPU}.product", "")),
        pool=pool_of(labels),
        capacity=capacity_of(labels),
        devices=devices_of(labels, allocatable, used, cut),
    )


def _node_trouble(conditions: Mapping[str, Condition], *, cordoned: bool) -> str:
    told = []
    ready = conditions.get("Ready", {})
    if ready.get("status") != "True":
        why = ready.get("message") or ready.get("reason") or "it has not reported"
        told.append(f"Not ready: {why}")
    told += [
        f"{name}: {conditions[name].get('message', '')}".rstrip(": ")
        for name in PRESSURES
        if conditions.get(name, {}).get("status") == "True"
    ]
    if cordoned:
        told.append("Cordoned: nothing new is placed here")
    return "; ".join(told)


def gpus_of(pod: Pod) -> int:
    """GPUs a pod holds: the sum of its containers, or its greediest init container."""
    spec = pod["spec"]
    running = sum(_asked(c) for c in spec.get("containers", []))
    return max([running, *(_asked(c) for c in spec.get("initContainers", []))])


def _asked(container: Container) -> int:
    resources = container.get("resources", {})
    asked = resources.get("requests", {}).get(GPU) or resources.get("limits", {}).get(GPU, 0)
    return whole(asked)


def slices_of(pod: Pod) -> tuple[tuple[str, int], ...]:
    """MIG devices a pod holds, by profile; empty for all but a few."""
    spec = pod["spec"]
    running: dict[str, int] = {}
    for container in spec.get("containers", []):
        for profile, count in _slices_asked(container).items():
            running[profile] = running.get(profile, 0) + count
    for container in spec.get("initContainers", []):
        for profile, count in _slices_asked(container).items():
            running[profile] = max(running.get(profile, 0), count)
    return tuple(sorted(running.items()))


def _slices_asked(container: Container) -> dict[str, int]:
    resources = container.get("resources", {})
    return mig_asked(resources.get("requests", {}) | resources.get("limits", {}))


def read_pods(pods: Iterable[Pod], now: datetime) -> tuple[SeenPod, ...]:
    """Our own engines' pods; others are left out."""
    found = [_pod(p, now) for p in pods if SERVICE in p["metadata"].get("labels", {})]
    if not any(p.size > 1 for p in found):
        return tuple(found)
    of_release: dict[tuple[str, str], list[SeenPod]] = {}
    for pod in found:
        of_release.setdefault((pod.service, pod.release), []).append(pod)
    return tuple(map(_told, (p for own in of_release.values() for p in together(own, "ready"))))


def _told(pod: SeenPod) -> SeenPod:
    """A leader says whom it waits for, where nothing worse is known of itself."""
    if not pod.lacks or pod.reason:
        return pod
    return replace(pod, reason=INCOMPLETE, message=pod.lacks, ready_at=None)


def _pod(pod: Pod, now: datetime) -> SeenPod:
    meta, status = pod["metadata"], pod.get("status", {})
    conditions = {c["type"]: c for c in status.get("conditions", [])}
    containers = status.get("containerStatuses", [])
    reason, message = why_not_running(status, conditions)
    ready = conditions.get("ContainersReady", {})
    labels = meta["labels"]
    role = role_in(labels, labels.get(ROLE, SERVE))
    address = "" if is_worker(role) else status.get("podIP", "")
    return SeenPod(
        uid=meta["uid"],
        name=meta["name"],
        service=meta["labels"][SERVICE],
        release=meta["labels"].get(RELEASE, ""),
        node=pod["spec"].get("nodeName", ""),
        address=f"[{address}]:{PORT}" if ":" in address else address and f"{address}:{PORT}",
        phase=status.get("phase", ""),
        ready=ready.get("status") == "True",
        admitted=conditions.get(ADMITTED, {}).get("status") == "True",
        terminating="deletionTimestamp" in meta,
        restarts=sum(c.get("restartCount", 0) for c in containers),
        gpus=gpus_of(pod),
        slices=slices_of(pod),
        reason=reason,
        message=message,
        last_log=last_words(containers),
        image_id=next((c.get("imageID", "") for c in containers), ""),
        created_at=moment(meta.get("creationTimestamp")) or now,
        ready_at=moment(ready.get("lastTransitionTime")) if ready.get("status") == "True" else None,
        queue=meta["labels"].get(QUEUE, ""),
        role=role,
        size=whole(labels.get(SIZE, 1)),
        group=group_in(labels),
        started_at=_started(containers),
    )


def why_not_running(status: PodStatus, conditions: Mapping[str, Condition]) -> tuple[str, str]:
    """The closest reason that Kubernetes gives, and its message. Empty: nothing is wrong."""
    if status.get("reason") == "Evicted":  # its containers only tell that they were killed
        return "Evicted", status.get("message", "").strip()
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return scheduled.get("reason", "Unschedulable"), scheduled.get("message", "")
    for container in [
        *status.get("containerStatuses", []),
        *status.get("initContainerStatuses", []),
    ]:
        if found := _container_trouble(container):
            return found
    if status.get("phase") == "Failed":
        return status.get("reason", "Failed"), status.get("message", "")
    return "", ""


def with_disks(pods: tuple[SeenPod, ...], nodes: Iterable[SeenNode]) -> tuple[SeenPod, ...]:
    """Pods without a place, with the names of the nodes whose disks are full."""
    full = full_ones(nodes)
    return tuple(replace(p, message=with_nodes(p.message, full)) for p in pods) if full else pods


def _started(containers: Sequence[ContainerStatus]) -> datetime | None:
    states = [c.get("state", {}).get("running") for c in containers]
    return moment(states[0].get("startedAt")) if states and states[0] else None


def _container_trouble(container: ContainerStatus) -> tuple[str, str] | None:
    state = container.get("state", {})
    waiting, ended = state.get("waiting"), state.get("terminated")
    last = container.get("lastState", {}).get("terminated")
    if waiting and waiting.get("reason") not in OF_THE_SPOT:
        message = waiting.get("message", "")
        return waiting.get("reason", "Waiting"), f"{message} {_exit(last)}".strip()
    if ended and ended.get("exitCode", 0) != 0:
        return ended.get("reason", "Error"), _exit(ended)
    if last and last.get("reason") == "OOMKilled" and not container.get("ready"):
        return "OOMKilled", _exit(last)
    return None


def _exit(terminated: Terminated | None) -> str:
    if not terminated:
        return ""
    return f"Last exit: {terminated.get('reason', 'Error')}, code {terminated.get('exitCode')}"


def last_words(containers: Sequence[ContainerStatus]) -> str:
    for container in containers:
        for state in (container.get("state", {}), container.get("lastState", {})):
            if message := state.get("terminated", {}).get("message"):
                return str(message)[-LOG_TAIL:]
    return ""


def read_events(events: Iterable[Event], now: datetime) -> tuple[SeenEvent, ...]:
    """Events about pods, deployments and replica sets; the cluster forgets them after an hour."""
    wanted = {"Pod", "ReplicaSet"} | SCALED
    return tuple(
        _event(e, now) for e in events if e.get("involvedObject", {}).get("kind") in wanted
    )


def _event(event: Event, now: datetime) -> SeenEvent:
    about, series = event["involvedObject"], event.get("series") or {}
    at = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    return SeenEvent(
        uid=event["metadata"]["uid"],
        at=moment(at) or moment(event["metadata"].get("creationTimestamp")) or now,
        kind=about["kind"],
        name=about.get("name", ""),
        reason=event.get("reason", "")[:120],
        message=event.get("message", ""),
        warning=event.get("type") == "Warning",
        count=max(whole(series.get("count") or event.get("count") or 1), 1),
    )


def read_quotas(quotas: Iterable[Json]) -> tuple[SeenQuota, ...]:
    """Those that count GPUs. Kubernetes knows such a quota by the requests only."""
    key = f"requests.{GPU}"
    found = []
    for quota in quotas:
        hard = quota.get("spec", {}).get("hard", {})
        if key in hard:
            used = quota.get("status", {}).get("used", {}).get(key, 0)
            found.append(SeenQuota(quota["metadata"]["name"], whole(hard[key]), whole(used)))
    return tuple(found)


def read_budgets(budgets: Iterable[Json]) -> tuple[SeenBudget, ...]:
    """Those that choose pods by plain labels; what an expression chooses is not compared."""
    found = []
    for budget in budgets:
        selector = budget.get("spec", {}).get("selector") or {}
        labels = selector.get("matchLabels") or {}
        floor = whole(budget.get("status", {}).get("desiredHealthy", 0))
        if labels and not selector.get("matchExpressions"):
            found.append(SeenBudget(budget["metadata"]["name"], dict(labels), floor))
    return tuple(found)
