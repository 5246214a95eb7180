"""Whether there is room for a plan: ever, now, only with consent. With the number that is missing.

"Never" and "not now" are different answers: the first needs other hardware or another quota, the
second only time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from fleet.rules.fit import Fit, Need


class Answer(StrEnum):
    POSSIBLE = "possible"
    QUEUED = "queued"  # as soon as other rollouts are over
    NEEDS_CONSENT = "needs_consent"  # less capacity than somebody declared to need
    NOT_NOW = "not_now"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Quota:
    """GPUs that a ResourceQuota of the namespace allows, and those that are asked for already."""

    name: str
    hard: int
    used: int

    @property
    def free(self) -> int:
        return max(self.hard - self.used, 0)


Verdict = tuple[Answer, str]
FITS: Verdict = (Answer.POSSIBLE, "")


def judge(need: Need, room: Fit, quotas: Sequence[Quota] = (), held: int = 0) -> Verdict:
    """Is there room for whole replicas beside the `held` GPUs: ever, now?

    What lasts longest is said first.
    """
    found = (no_such_node(need, room), quota_too_small(need, quotas, held))
    now = (too_few_free(need, room), quota_used_up(need, quotas))
    return next((verdict for verdict in (*found, *now) if verdict), FITS)


def no_such_node(need: Need, room: Fit) -> Verdict | None:
    what = gpus(need.product)
    if room.nodes == 0:
        return Answer.NEVER, f"No node has {what}: {need.total} needed, the cluster has none"
    if room.largest < need.largest:
        apart = (
            f"; its fabric clique has {room.clique}, but a replica does not span nodes"
            if room.clique >= need.largest
            else ""
        )
        one = "pod" if need.pods else "replica"
        return (
            Answer.NEVER,
            f"A {one} of {need.largest} {what} fits on no node: the largest has"
            f" {room.largest}{apart}",
        )
    if room.ever < need.replicas:
        beside = f" beside the {room.leaving} that the old release holds" if room.leaving else ""
        return (
            Answer.NEVER,
            f"{need.replicas} replicas of {need.gpus} {what} never fit: all {room.nodes} nodes"
            f" together have room for {room.ever}{beside}",
        )
    return None


def too_few_free(need: Need, room: Fit) -> Verdict | None:
    if room.places >= need.replicas:
        return None
    missing = need.total - room.places * need.gpus
    held = f", {room.claimed} of them claimed by other rollouts" if room.claimed else ""
    return (
        Answer.NOT_NOW,
        f"{missing} {gpus(need.product)} missing: {need.total} needed as whole replicas of"
        f" {need.gpus}, {room.free} free{held}",
    )


def quota_too_small(need: Need, quotas: Sequence[Quota], held: int) -> Verdict | None:
    small = min(quotas, key=lambda q: (q.hard, q.name), default=None)
    total = need.total + held
    if small is None or small.hard >= total or not need.total:
        return None
    beside = f", {held} of them by the old release" if held else ""
    return (
        Answer.NEVER,
        f"The quota {small.name} allows {small.hard} GPUs in all, {total} needed at once{beside}:"
        f" {total - small.hard} more must be granted",
    )


def quota_used_up(need: Need, quotas: Sequence[Quota]) -> Verdict | None:
    tight = tightest(quotas)
    if tight is None or tight.free >= need.total:
        return None
    return (
        Answer.NOT_NOW,
        f"The quota {tight.name} leaves {tight.free} of {tight.hard} GPUs, {need.total} needed:"
        f" {need.total - tight.free} missing",
    )


def tightest(quotas: Sequence[Quota]) -> Quota | None:
    return min(quotas, key=lambda q: (q.free, q.name), default=None)


def below_floor(least: int, floor: int | None) -> str:
    """A disruption budget does not stop us, and still says what somebody needs."""
    if floor is None or least >= floor:
        return ""
    return f"The disruption budget asks for {floor} answering replicas, {least} would"


def gpus(product: str) -> str:
    return product.removeprefix("NVIDIA-") or "GPUs"
