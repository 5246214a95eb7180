"""What each GPU of a cluster does, as intervals that follow each other. Pure.

A unit is a GPU, or a part of one, in a numbered slot of its node. Kubernetes does not say which
GPU a pod got, so a pod keeps the slots that it once had here. What a look finds holds since the
look before it. A gap between looks is left out: nobody saw what happened in it.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction

from fleet.rules.gpu_parts import REST, Devices
from fleet.rules.observation import ENDED, SeenNode, SeenPod

LONGEST = timedelta(seconds=30)  # between looks; more is a gap
SERVING, LOADING, DRAINING, FREE, OUT = "serving", "loading", "draining", "free", "out"
OTHERS = "others"  # holder of what pods of other namespaces have

Unit = tuple[str, str, int]  # node, profile, slot


@dataclass(frozen=True, slots=True)
class Doing:
    """What a unit does, and all that its price depends on. `holder`: uid of a pod, or empty."""

    product: str
    fraction: Fraction
    node_pool: str
    capacity: str
    state: str
    service: str = ""  # a name; empty for free and out ones
    holder: str = ""


@dataclass(frozen=True, slots=True)
class Wish:
    """So many devices of one kind for one holder."""

    count: int
    state: str
    service: str = ""
    holder: str = ""


def doings(
    nodes: Iterable[SeenNode], pods: Iterable[SeenPod], held: Mapping[Unit, str]
) -> dict[Unit, Doing]:
    """Of every unit now. `held`: who had each unit until now."""
    by_node: dict[str, list[SeenPod]] = {}
    for pod in pods:
        by_node.setdefault(pod.node, []).append(pod)
    found: dict[Unit, Doing] = {}
    for node in nodes:
        for devices in node.devices:
            wishes = _wishes(node, devices, by_node.get(node.name, []))
            for slot, wish in _placed(node.name, devices, wishes, held).items():
                found[node.name, devices.profile, slot] = Doing(
                    node.product or "unknown",
                    devices.fraction,
                    node.pool,
                    node.capacity,
                    wish.state,
                    wish.service,
                    wish.holder,
                )
    return found


def digest_of(nodes: Iterable[SeenNode], pods: Iterable[SeenPod]) -> str:
    """Of all that a look says of GPUs: after the same one, every unit goes on with what it did."""
    of_nodes = sorted(
        (n.name, n.product, n.pool, n.capacity, n.ready, n.cordoned, str(n.devices)) for n in nodes
    )
    of_pods = sorted(
        (p.uid, p.node, p.service, p.gpus, p.slices, p.phase in ENDED, _state(p)) for p in pods
    )
    return hashlib.sha256(repr((of_nodes, of_pods)).encode()).hexdigest()


def _wishes(node: SeenNode, devices: Devices, pods: Sequence[SeenPod]) -> list[Wish]:
    """They add up to the devices: first our pods, then others, then what is left."""
    left = devices.allocatable
    if not node.ready or devices.profile == REST:
        return [Wish(left, OUT)]
    found = []
    for pod in pods:
        if count := min(_asked(pod, devices), left):
            found.append(Wish(count, _state(pod), pod.service, pod.uid))
            left -= count
    # Devices of other namespaces' pods and of cordoned nodes are not ours to give.
    others = min(max(devices.used - (devices.allocatable - left), 0), left)
    found.append(Wish(others, OUT, holder=OTHERS))
    found.append(Wish(left - others, OUT if node.cordoned else FREE))
    return [wish for wish in found if wish.count]


def _placed(
    node: str, devices: Devices, wishes: Sequence[Wish], held: Mapping[Unit, str]
) -> dict[int, Wish]:
    """Slots of each wish: those that its holder had, then the lowest that are left."""
    placed: dict[int, Wish] = {}
    missing: list[Wish] = []
    for wish in wishes:
        had = [
            slot
            for slot in range(devices.allocatable)
            if held.get((node, devices.profile, slot)) == wish.holder and slot not in placed
        ][: wish.count]
        placed |= dict.fromkeys(had, wish)
        missing += [wish] * (wish.count - len(had))
    empty = [slot for slot in range(devices.allocatable) if slot not in placed]
    return placed | dict(zip(empty, missing, strict=True))


def _asked(pod: SeenPod, devices: Devices) -> int:
    if pod.phase in ENDED:
        return 0
    return dict(pod.slices).get(devices.mig, 0) if devices.mig else pod.gpus


def _state(pod: SeenPod) -> str:
    if pod.terminating:
        return DRAINING
    return SERVING if pod.ready and pod.admitted else LOADING


@dataclass(frozen=True, slots=True)
class Since:
    """From when on what a look finds holds; `goes_on`: open intervals are continued by it."""

    at: datetime
    goes_on: bool


def since(observed_at: datetime | None, seen_at: datetime | None, now: datetime) -> Since | None:
    """`observed_at`: the last look at the cluster; `seen_at`: until when its GPUs are known.

    None: that time is known already, nothing is to be added.
    """
    if seen_at is not None and now <= seen_at:
        return None
    start = now
    if observed_at is not None and timedelta() < now - observed_at <= LONGEST:
        start = observed_at if seen_at is None else max(observed_at, seen_at)
    return Since(start, goes_on=start == seen_at)
