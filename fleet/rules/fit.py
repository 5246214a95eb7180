"""Where whole replicas find room. A pod never spans nodes: 4 + 4 free is no place for 8. A replica
of several pods finds room where all of them do, on whichever nodes.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NodeRoom:
    """A node as it was observed."""

    name: str
    product: str
    allocatable: int
    used: int
    usable: bool = True  # ready, not cordoned, no taint against us
    clique: str = ""  # its NVLink domain
    leaving: int = 0  # of the used ones: held by the release that is replaced

    @property
    def free(self) -> int:
        return max(self.allocatable - self.used, 0) if self.usable else 0


@dataclass(frozen=True, slots=True)
class Need:
    """Pods of replicas on nodes of one GPU product. A replica whose pods want several has a need
    for each of them.
    """

    product: str  # empty: any
    gpus: int  # a replica
    replicas: int
    pods: tuple[int, ...] = ()  # GPUs of each pod of a replica; empty: it is one pod
    together: int = 0  # so many pods in one fabric clique, alone there; 0: wherever there is room

    @property
    def largest(self) -> int:
        """GPUs that one node must have for it."""
        return max(self.pods, default=self.gpus)

    @property
    def total(self) -> int:
        return self.gpus * self.replicas


def gpus_of(needs: Iterable[Need]) -> Counter[str]:
    found: Counter[str] = Counter()
    for need in needs:
        found[need.product] += need.total
    return found


@dataclass(frozen=True, slots=True)
class Fit:
    """`places`: replicas that find room now. `ever`: if all nodes were usable and everybody else
    were gone, the release that is replaced excepted.
    """

    places: int
    ever: int
    free: int  # GPUs, of matching nodes
    claimed: int  # free ones that other open rollouts will take
    nodes: int  # matching
    largest: int  # GPUs of the largest matching node
    clique: int = 0  # GPUs of the largest fabric clique
    leaving: int = 0  # GPUs that the replaced release holds
    cliques: int = 0  # fabric cliques


def matching(nodes: Iterable[NodeRoom], product: str) -> list[NodeRoom]:
    return [n for n in nodes if n.allocatable and (not product or n.product == product)]


def fit(
    nodes: Iterable[NodeRoom], need: Need, claims: Iterable[Need] = (), *, vacated: bool = False
) -> Fit:
    """Count places for `need` after `claims` took theirs, the most crowded nodes first.

    `vacated`: the replaced release has left, and its GPUs went to nobody else.
    """
    found = matching(nodes, need.product)
    rooms = {n.name: n.free for n in found}
    before = sum(rooms.values())
    for claim in claims:
        if not claim.product or not need.product or claim.product == need.product:
            take(rooms, claim)
    claimed = before - sum(rooms.values())
    stays = {n.name: 0 if vacated else n.leaving for n in found}
    for node in found:
        rooms[node.name] += node.leaving if vacated and node.usable else 0
    most = {n.name: n.allocatable - stays[n.name] for n in found}
    return Fit(
        places=seats(found, rooms, need, vacated=vacated),
        ever=seats(found, most, need, vacated=vacated),
        free=before,
        claimed=claimed,
        nodes=len(found),
        largest=max((n.allocatable for n in found), default=0),
        clique=largest_clique(found),
        leaving=sum(stays.values()),
        cliques=len({n.clique for n in found if n.clique}),
    )


def seats(nodes: Iterable[NodeRoom], rooms: Mapping[str, int], need: Need, *, vacated: bool) -> int:
    """Whole replicas that find room at once, where they must be alone in cliques as well."""
    if not need.together:
        return places(rooms, need)
    found, held = list(nodes), set[str]()
    if not vacated:
        held = {n.clique for n in found if n.leaving}
    by: dict[str, dict[str, int]] = {}
    for node in found:
        if node.clique and node.clique not in held:
            by.setdefault(node.clique, {})[node.name] = rooms[node.name]
    part = Need(need.product, need.gpus, 1, need.pods[: need.together])
    return sum(seat(room, part) for room in by.values()) // (len(need.pods) // need.together)


def places(rooms: Mapping[str, int], need: Need) -> int:
    """Whole replicas that find room at once."""
    if len(need.pods) < 2:
        return sum(room // need.gpus for room in rooms.values())
    left, found = dict(rooms), 0
    while seat(left, need):
        found += 1
    return found


def seat(rooms: dict[str, int], need: Need) -> bool:
    """Place the pods of one replica, the largest first, each where the least is left over."""
    after = dict(rooms)
    for gpus in sorted(need.pods or (need.gpus,), reverse=True):
        able = [name for name, room in after.items() if room >= gpus]
        if not able:
            return False
        after[min(able, key=lambda name: (after[name], name))] -= gpus
    rooms.update(after)
    return True


def largest_clique(nodes: Iterable[NodeRoom]) -> int:
    sizes: Counter[str] = Counter()
    for node in nodes:
        if node.clique:
            sizes[node.clique] += node.allocatable
    return max(sizes.values(), default=0)


def take(rooms: dict[str, int], claim: Need) -> None:
    """Place replicas of a claim where the least is left over; what finds no room is dropped."""
    for _ in range(claim.replicas):
        if not seat(rooms, claim):
            return
