"""What the GPUs of a cluster did between two observations, in GPU-milliseconds. Pure.

All states of a product add up to its GPUs times the observed time. A gap between observations is
left out: nobody saw what happened in it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fleet.rules.observation import SeenNode, SeenPod

LONGEST = timedelta(seconds=30)  # between observations; more is a gap
HOUR_MS = 3_600_000
SERVING, LOADING, DRAINING, FREE, OUT = "serving", "loading", "draining", "free", "out"


@dataclass(frozen=True, slots=True, order=True)
class Held:
    """GPUs in one state; `service` is a name, empty for free and out ones."""

    product: str
    state: str
    service: str


@dataclass(frozen=True, slots=True)
class Interval:
    hour: datetime
    milliseconds: int


def holdings(nodes: Iterable[SeenNode], pods: Sequence[SeenPod]) -> dict[Held, int]:
    """How many GPUs are in each state now."""
    by_node: dict[str, list[SeenPod]] = {}
    for pod in pods:
        by_node.setdefault(pod.node, []).append(pod)
    found: dict[Held, int] = {}
    for node in nodes:
        if node.gpus_allocatable:
            for held, gpus in _of_node(node, by_node.get(node.name, [])).items():
                found[held] = found.get(held, 0) + gpus
    return found


def _of_node(node: SeenNode, pods: Sequence[SeenPod]) -> dict[Held, int]:
    product = node.gpu_product or "unknown"
    if not node.ready:
        return {Held(product, OUT, ""): node.gpus_allocatable}
    found: dict[Held, int] = {}
    left = node.gpus_allocatable
    for pod in pods:
        gpus = 0 if pod.phase in {"Succeeded", "Failed"} else min(pod.gpus, left)
        if gpus:
            held = Held(product, _state(pod), pod.service)
            found[held] = found.get(held, 0) + gpus
            left -= gpus
    # GPUs of other namespaces' pods and of cordoned nodes are not ours to give.
    others = min(max(node.gpus_used - (node.gpus_allocatable - left), 0), left)
    out = left if node.cordoned else others
    for state, gpus in ((OUT, out), (FREE, left - out)):
        if gpus:
            found[Held(product, state, "")] = gpus
    return found


def _state(pod: SeenPod) -> str:
    if pod.terminating:
        return DRAINING
    return SERVING if pod.ready and pod.admitted else LOADING


def intervals(before: datetime | None, now: datetime) -> tuple[Interval, ...]:
    """The observed time since `before`, cut at full hours. Empty after a gap."""
    if before is None or not timedelta() < now - before <= LONGEST:
        return ()
    start, end = _milliseconds(before), _milliseconds(now)
    found = []
    while start < end:
        hour = start // HOUR_MS
        stop = min(end, (hour + 1) * HOUR_MS)
        found.append(Interval(datetime.fromtimestamp(hour * 3600, UTC), stop - start))
        start = stop
    return tuple(found)


def _milliseconds(at: datetime) -> int:
    """Whole milliseconds since the epoch, without the rounding of floats."""
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
