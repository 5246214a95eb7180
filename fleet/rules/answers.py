"""Whether there is room for a plan: ever, now, only with consent. With the number that is missing.

"Never" and "not now" are different answers: the first needs other hardware or another quota, the
second only time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from fleet.rules.capacity import Gpus
from fleet.rules.fit import Fit, Need, gpus_of


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
    product: str = ""  # that it limits; empty: GPUs of all products together

    @property
    def free(self) -> int:
        return max(self.hard - self.used, 0)

    def of(self, gpus: Gpus) -> int:
        """Those that it counts."""
        return sum(n for product, n in gpus.items() if self.product in ("", product))


Verdict = tuple[Answer, str]
FITS: Verdict = (Answer.POSSIBLE, "")
NOTHING: Gpus = MappingProxyType({})


def judge(
    needs: Sequence[Need], rooms: Sequence[Fit], quotas: Sequence[Quota] = (), held: Gpus = NOTHING
) -> Verdict:
    """Is there room for whole replicas beside the `held` GPUs: ever, now?

    A replica has a need, and a room, for each GPU product of its pods. What lasts longest is said
    first.
    """
    both = list(zip(needs, rooms, strict=True))
    total = gpus_of(needs)
    found = [
        *(no_such_clique(need, room) for need, room in both),
        *(no_such_node(need, room) for need, room in both),
        quota_too_small(total, quotas, held),
        *(no_free_clique(need, room) for need, room in both),
        *(too_few_free(need, room) for need, room in both),
        quota_used_up(total, quotas),
    ]
    return next((verdict for verdict in found if verdict), FITS)


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


def no_such_clique(need: Need, room: Fit) -> Verdict | None:
    if not need.together or room.ever >= need.replicas or room.largest < need.largest:
        return None
    return (
        Answer.NEVER,
        f"{need.replicas} replicas with {alone(need)} never fit: {room.cliques} cliques have room"
        f" for {room.ever} beside what the old release holds",
    )


def no_free_clique(need: Need, room: Fit) -> Verdict | None:
    if not need.together or room.places >= need.replicas:
        return None
    return (
        Answer.NOT_NOW,
        f"{need.replicas - room.places} of {need.replicas} replicas find no fabric clique that is"
        f" free for {alone(need)}: {room.cliques} cliques, {room.free} GPUs free in all",
    )


def alone(need: Need) -> str:
    return f"{need.together} pods of {need.pods[0]} {gpus(need.product)} alone in one clique"


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


def quota_too_small(total: Gpus, quotas: Sequence[Quota], held: Gpus) -> Verdict | None:
    small = min(quotas, key=lambda q: (q.hard - q.of(total) - q.of(held), q.name), default=None)
    if small is None or not small.of(total):
        return None
    beside, all_of_them = small.of(held), small.of(total) + small.of(held)
    if small.hard >= all_of_them:
        return None
    by_old = f", {beside} of them by the old release" if beside else ""
    return (
        Answer.NEVER,
        f"The quota {small.name} allows {small.hard} GPUs in all, {all_of_them} needed at once"
        f"{by_old}: {all_of_them - small.hard} more must be granted",
    )


def quota_used_up(total: Gpus, quotas: Sequence[Quota]) -> Verdict | None:
    tight = tightest(quotas, total)
    if tight is None or tight.free >= tight.of(total):
        return None
    return (
        Answer.NOT_NOW,
        f"The quota {tight.name} leaves {tight.free} of {tight.hard} GPUs, {tight.of(total)}"
        f" needed: {tight.of(total) - tight.free} missing",
    )


def tightest(quotas: Sequence[Quota], total: Gpus = NOTHING) -> Quota | None:
    """The one that leaves the least beside what is needed of its GPUs."""
    return min(quotas, key=lambda q: (q.free - q.of(total), q.name), default=None)


def below_floor(least: int, floor: int | None) -> str:
    """A disruption budget does not stop us, and still says what somebody needs."""
    if floor is None or least >= floor:
        return ""
    return f"The disruption budget asks for {floor} answering replicas, {least} would"


def gpus(product: str) -> str:
    return product.removeprefix("NVIDIA-") or "GPUs"
