"""Why replicas of a release do not come up, from a closed list, in one sentence."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from fleet.rules.disks import about_disk
from fleet.rules.groups import is_worker
from fleet.rules.kueue import turn_in
from fleet.rules.members import groups_of
from fleet.rules.phases import Cause
from fleet.rules.seen import Pod, Side

BROKEN = timedelta(seconds=60)  # in which a leader should notice that it lost a worker, and end
RESTARTS = 3  # ends in a row that are no accident
EVICTIONS = 2  # one may be a node's bad day
RECENTLY = timedelta(minutes=15)
PULL = frozenset({"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull"})
PULL_PATIENCE = timedelta(seconds=60)  # a registry may hiccup; "not found" is final at once
CONFIG = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
FINAL_PULLS = ("not found", "denied", "unauthorized", "manifest unknown", "does not exist")


@dataclass(frozen=True, slots=True)
class Fault:
    cause: Cause
    why: str


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a replica may wait for a place: a drain of its predecessor and some slack.

    `still`: since when no number of replicas has changed, by our own clock; None: not known.
    """

    place: timedelta
    still: timedelta | None = None

    def waited(self, pod: Pod, now: datetime) -> timedelta:
        """No longer than nothing has changed: the cluster's clock, by which it was made, may lag
        behind ours.
        """
        age = now - pod.created_at
        return age if self.still is None else min(age, self.still)


def diagnose(side: Side, label: str, now: datetime, patience: Patience) -> Fault | None:
    """Name the first fault that will not heal by waiting. None: nothing is wrong, or not yet."""
    if side.refused:
        kind = Cause.QUOTA if "quota" in side.refused else Cause.INVALID
        return Fault(kind, f"No replica of {label} can be made: {side.refused}")
    if fault := evicted(side, label, now):
        return fault
    # Of pods that are one engine all end when one does: that one ends most often.
    for pod in sorted(side.live, key=lambda p: -p.restarts if p.size > 1 else 0):
        for check in CHECKS:
            if fault := check(pod, label, now, patience):
                return fault
    stands_still = patience.still is not None and patience.still >= BROKEN
    return broken_group(side, label) if stands_still else None


def broken_group(side: Side, label: str) -> Fault | None:
    """A leader that was ready and goes on without one of its start: nobody can join it again."""
    for members in groups_of(side.pods).values():
        leads = (p for p in members if not is_worker(p.role) and not p.terminating)
        leader = next((p for p in leads if p.lacks and p.ready_at), None)
        if leader is None:
            continue
        ended = (p for p in members if is_worker(p.role) and (p.exit_text or p.restarts))
        said = "".join(f"; {p.name} {last_end(p)}" for p in ended)
        why = f"A group of {label} is broken: {leader.name} was ready, and {leader.lacks}{said}"
        return Fault(Cause.LOST_REPLICAS, why)
    return None


def last_end(pod: Pod) -> str:
    said = f": {last_line(pod.exit_text)}" if pod.exit_text else ""
    return f"ended {times(max(pod.restarts, 1))}, last with exit code {pod.exit_code}{said}"


def evicted(side: Side, label: str, now: datetime) -> Fault | None:
    """Kubelets took its pods away, and what replaced them; the objects of these pods stay."""
    told = evictions(side, now)
    if len(told) < EVICTIONS or side.loaded >= side.wanted:
        return None
    last = told[-1]
    cause = Cause.DISK_FULL if about_disk(last.evicted) else Cause.EVICTED
    often = f"{len(told)} pods of {label} were evicted within {RECENTLY.seconds // 60} min"
    return Fault(cause, f"{often}, last {last.name} from {last.node}: {last.evicted.strip()}")


def evictions(side: Side, now: datetime) -> list[Pod]:
    """Of late, the oldest first."""
    found = [(p.ended_at, p) for p in side.pods if p.evicted and p.ended_at]
    return [p for at, p in sorted(found, key=lambda f: (f[0], f[1].name)) if now - at < RECENTLY]


def disk_full(pod: Pod, label: str, now: datetime, patience: Patience) -> Fault | None:
    """Whatever met it: the scheduler, a pull, the container's start or the engine itself."""
    met = (
        (unschedulable, pod.unschedulable, f"No disk for {label}"),
        (image_pull, pod.waiting_text, f"The disk of {pod.node} is full"),
        (wrong_configuration, pod.waiting_text, f"The disk of {pod.node} is full"),
        (crash_loop, pod.exit_text, f"The disk of {pod.node} is full"),
    )
    for check, text, where in met:
        if about_disk(text) and (fault := check(pod, label, now, patience)):
            return Fault(Cause.DISK_FULL, f"{where}. {fault.why}")
    return None


def out_of_memory(pod: Pod, label: str, now: datetime, patience: Patience) -> Fault | None:
    if pod.exit_reason != "OOMKilled" or pod.restarts < 2:
        return None
    return Fault(
        Cause.OUT_OF_MEMORY,
        f"{label} runs out of memory: {pod.name} was killed (OOMKilled) {times(pod.restarts)}",
    )


def crash_loop(pod: Pod, label: str, now: datetime, patience: Patience) -> Fault | None:
    looping = pod.waiting == "CrashLoopBackOff" and pod.restarts >= 2
    if not looping and pod.restarts < RESTARTS:
        return None
    return Fault(Cause.CRASH_LOOP, f"{label} crashes: {pod.name} {last_end(pod)}")


def image_pull(pod: Pod, label: str, now: datetime, patience: Patience) -> Fault | None:
    if pod.waiting == "InvalidImageName":
        return Fault(Cause.IMAGE_PULL, f"{label}: {pod.waiting_text}")
    if pod.waiting not in PULL:
        return None
    final = any(word in pod.waiting_text for word in FINAL_PULLS)
    if not final and patience.waited(pod, now) < PULL_PATIENCE:
        return None
    return Fault(
        Cause.IMAGE_PULL, f"The image of {label} cannot be pulled on {pod.node}: {pod.waiting_text}"
    )


def wrong_configuration(pod: Pod, label: str, now: datetime, patience: Patience) -> Fault | None:
    if pod.waiting not in CONFIG:
        return None
    return Fault(Cause.INVALID, f"{pod.name} cannot be started ({pod.waiting}): {pod.waiting_text}")


def unschedulable(pod: Pod, label: str, now: datetime, patience: Patience) -> Fault | None:
    """A pod that waits for a draining predecessor's GPU is no fault before the drain is over.

    One that waits for its turn in a queue is none either, however long that takes.
    """
    waited = patience.waited(pod, now)
    if not pod.unschedulable or pod.queue or waited < patience.place:
        return None
    return Fault(
        Cause.UNSCHEDULABLE,
        f"{label} finds no place since {waited.total_seconds():.0f} s: {pod.unschedulable}",
    )


CHECKS: tuple[Callable[[Pod, str, datetime, Patience], Fault | None], ...] = (
    disk_full,
    out_of_memory,
    crash_loop,
    image_pull,
    wrong_configuration,
    unschedulable,
)


def progress_of(side: Side) -> str:
    """What replicas that are not loaded yet are doing, for `why`."""
    words = [doing(pod) for pod in side.live if not pod.loaded]
    words += [f"{p.name} is out of sight with its node {p.node}" for p in side.live if p.lost]
    if side.loaded < side.wanted:
        words += [f"{p.name} was evicted from {p.node}" for p in side.pods if p.evicted]
    return "; ".join(sorted(set(words))) or "no pod yet"


def doing(pod: Pod) -> str:
    if pod.queue:
        return turn_in(pod.queue)
    if pod.unschedulable:
        return f"waits for a place ({pod.unschedulable})"
    if pod.waiting:
        return pod.waiting
    if pod.lacks:
        return f"{pod.name} waits, {pod.lacks}"
    return f"loads on {pod.node}" if pod.node else "waits for a node"


def times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
