"""Cold starts as they were measured: plans and deadlines come from them. Pure.

How long a start takes depends on the release, on the nodes, and on whether the image (with weights
that come as one) is there already. What nobody measured is taken from what is most like it, and
that is said.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from math import ceil

from fleet.rules.situation import StartGroup, Starts

SHORTEST = timedelta(minutes=10)
MANY = 50  # the last ones count
PULLED, PRESENT = "Successfully pulled", "already present"  # as kubelets say it


class Cache(StrEnum):
    """Whether the image, and weights that come as an image, were on the node before."""

    WARM = "warm"
    COLD = "cold"


WORDS = {Cache.WARM: "with the image on them", Cache.COLD: "without the image"}


@dataclass(frozen=True, slots=True)
class Start:
    """One that was measured; the newest come first wherever there are many."""

    seconds: float
    node_pool: str = ""
    cache: str = ""  # empty: nobody could tell


@dataclass(frozen=True, slots=True)
class Place:
    """Where the next start will be. No pool: anywhere. No cache state: nobody can say."""

    pools: frozenset[str] = frozenset()
    cache: str = ""

    @property
    def words(self) -> str:
        named = sorted(filter(None, self.pools))
        of = f" of {' and '.join(named)}" if named and "" not in self.pools else ""
        state = f" {WORDS[Cache(self.cache)]}" if self.cache else ""
        return f"nodes{of}{state}" if of or state else ""

    def has(self, start: Start) -> bool:
        return (not self.pools or start.node_pool in self.pools) and self.is_like(start)

    def is_like(self, start: Start) -> bool:
        return not self.cache or start.cache == self.cache


ANYWHERE = Place()


@dataclass(frozen=True, slots=True)
class History:
    """Starts of one release, or of several that are alike."""

    of: str
    starts: Sequence[Start]
    borrowed: bool = False


def cache_of(pulls: Iterable[str], *, known: bool) -> str:
    """From what the kubelet said of the pulls of a pod. `known`: the same image and weights
    started on this node before.
    """
    said = list(pulls)
    if any(text.startswith(PULLED) for text in said):
        return Cache.COLD
    if known or any(PRESENT in text for text in said):
        return Cache.WARM
    return ""


def learn(histories: Sequence[History], place: Place, *, pool: str = "") -> Starts:
    """What the next start is expected to take. `histories`: what is most like it first."""
    looks: list[tuple[Callable[[Start], bool], str]] = [(place.has, "")]
    if place.cache:
        looks.append((place.is_like, f"on other nodes {WORDS[Cache(place.cache)]}"))
    looks.append((lambda _: True, "on whichever nodes"))
    groups = tuple(group for h in histories for group in groups_of(h))
    for fits, instead in looks:
        for history in histories:
            if seconds := [s.seconds for s in history.starts if fits(s)][:MANY]:
                found = measured(seconds, history.of, pool=pool, borrowed=history.borrowed)
                return told(found, place, instead, groups)
    return Starts(of=histories[0].of if histories else "", pool=pool, expected=place.words)


def told(found: Starts, place: Place, instead: str, groups: tuple[StartGroup, ...]) -> Starts:
    anywhere = bool(instead) or not place.pools
    same = [g for g in groups if g.of == found.of and (anywhere or g.node_pool in place.pools)]
    count = "1 start" if found.samples == 1 else f"{found.samples} starts"
    return replace(
        found,
        expected=place.words,
        instead=f"{count} of {found.of} {instead}" if instead else "",
        slowest=max([found.p95 or 0.0, *(g.p95 for g in same)]),
        groups=groups,
    )


def groups_of(history: History) -> list[StartGroup]:
    kinds: dict[tuple[str, str], list[float]] = defaultdict(list)
    for start in history.starts:
        kinds[start.node_pool, start.cache].append(start.seconds)
    found = []
    for (node_pool, cache), seconds in sorted(kinds.items()):
        last = sorted(seconds[:MANY])
        group = StartGroup(
            history.of, node_pool, cache, len(last), rank(last, 0.5), rank(last, 0.95)
        )
        found.append(group)
    return found


def measured(
    seconds: Sequence[float], of: str, *, pool: str = "", borrowed: bool = False
) -> Starts:
    """Nearest-rank percentiles of starts in seconds."""
    if not seconds:
        return Starts(of=of, pool=pool)
    found = sorted(seconds)
    return Starts(len(found), rank(found, 0.5), rank(found, 0.95), of, borrowed, pool)


def rank(found: Sequence[float], q: float) -> float:
    return found[max(ceil(q * len(found)) - 1, 0)]


def deadline_of(starts: Starts, startup_seconds: int) -> timedelta:
    """Twice the p95 of the slowest kind of start that may happen, and ten minutes at least; never
    measured: what the release itself allows.

    A release whose own limit is shorter than ten minutes asked for less patience.
    """
    own = timedelta(seconds=startup_seconds)
    if starts.p95 is None:
        return own
    slowest = max(starts.p95, starts.slowest or 0.0)
    return min(max(SHORTEST, timedelta(seconds=2 * slowest)), own)
