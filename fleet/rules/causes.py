"""Why replicas of a release do not come up, from a closed list, in one sentence."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from fleet.rules.phases import Cause
from fleet.rules.seen import Pod, Side

RESTARTS = 3  # ends in a row that are no accident
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
    """How long a replica may wait for a place: a drain of its predecessor and some slack."""

    place: timedelta


def diagnose(side: Side, label: str, now: datetime, patience: Patience) -> Fault | None:
    """Name the first fault that will not heal by waiting. None: nothing is wrong, or not yet."""
    if side.refused:
        kind = Cause.QUOTA if "quota" in side.refused else Cause.INVALID
        return Fault(kind, f"No replica of {label} can be made: {side.refused}")
    # Of pods that are one engine all end when one does: that one ends most often.
    for pod in sorted(side.live, key=lambda p: -p.restarts if p.size > 1 else 0):
        for check in CHECKS:
            if fault := check(pod, label, now, patience):
                return fault
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
    said = f": {last_line(pod.exit_text)}" if pod.exit_text else ""
    return Fault(
        Cause.CRASH_LOOP,
        f"{label} crashes: {pod.name} ended {times(pod.restarts)},"
        f" last with exit code {pod.exit_code}{said}",
    )


def image_pull(pod: Pod, label: str, now: datetime, patience: Patience) -> Fault | None:
    if pod.waiting == "InvalidImageName":
        return Fault(Cause.IMAGE_PULL, f"{label}: {pod.waiting_text}")
    if pod.waiting not in PULL:
        return None
    final = any(word in pod.waiting_text for word in FINAL_PULLS)
    if not final and now - pod.created_at < PULL_PATIENCE:
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
    waited = now - pod.created_at
    if not pod.unschedulable or pod.queue or waited < patience.place:
        return None
    return Fault(
        Cause.UNSCHEDULABLE,
        f"{label} finds no place since {waited.total_seconds():.0f} s: {pod.unschedulable}",
    )


CHECKS: tuple[Callable[[Pod, str, datetime, Patience], Fault | None], ...] = (
    out_of_memory,
    crash_loop,
    image_pull,
    wrong_configuration,
    unschedulable,
)


def progress_of(side: Side) -> str:
    """What replicas that are not loaded yet are doing, for `why`."""
    words = [doing(pod) for pod in side.live if not pod.loaded]
    return "; ".join(sorted(set(words))) or "no pod yet"


def doing(pod: Pod) -> str:
    if pod.queue:
        return f"waits for its turn in the queue {pod.queue} of Kueue"
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
