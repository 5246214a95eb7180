"""Which minimum can answer while replicas of two releases change places on the same GPUs. Pure.

A new replica starts where its GPUs are free; an old one goes only while enough others answer. So
the GPUs that both releases may hold together decide which minimum can be kept. GPUs of another
product are of no use to either, so each product is counted for itself.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

Gpus = Mapping[str, int]  # by product; the empty name: of any product


def mix_of(pods: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """GPUs of a replica by product, from those of each of its pods."""
    return {product: sum(each) for product, each in pods.items() if sum(each)}


def pooled(new: Gpus, old: Gpus) -> tuple[Gpus, Gpus]:
    """One pool where a release takes any product: nobody can say whose GPUs it will get."""
    if "" not in new and "" not in old:
        return new, old
    return {"": sum(new.values())}, {"": sum(old.values())}


def times(replicas: int, gpus: Gpus) -> Counter[str]:
    return Counter({product: replicas * each for product, each in gpus.items()})


def room_in(left: Gpus, mix: Gpus, most: int) -> int:
    """Replicas that find their GPUs among those that are left, `most` at most."""
    return min([most, *(left.get(p, 0) // each for p, each in mix.items())])


def to_give(left: Gpus, wanted: Gpus, each: Gpus) -> int | None:
    """How many replicas of `each` must go for `wanted`. None: theirs are other GPUs."""
    short = {p: n - left.get(p, 0) for p, n in wanted.items() if n > left.get(p, 0)}
    if any(not each.get(p) for p in short):
        return None
    return max((ceil(n / each[p]) for p, n in short.items()), default=0)


@dataclass(frozen=True, slots=True)
class Exchange:
    """`old` replicas go, `new` ones come. GPUs are those of one replica."""

    new: Gpus
    old: Gpus
    replicas: int
    old_replicas: int

    @property
    def most(self) -> int:
        """Nobody can promise more than there are before and after."""
        return min(self.replicas, self.old_replicas)

    @property
    def before(self) -> Counter[str]:
        return times(self.old_replicas, self.old)

    @property
    def inside(self) -> dict[str, int]:
        """GPUs of both where nothing is taken beyond the larger of before and after."""
        return dict(self.before | times(self.replicas, self.new))

    def on_top(self, budget: Gpus) -> dict[str, int]:
        before = self.before
        return {p: n - before[p] for p, n in budget.items() if n > before[p]}

    def peak(self, least: int) -> dict[str, int]:
        """GPUs of the most crowded moment, one new replica after the other, `least` answering.

        While the next one starts beside j that answer, old ones fill up to `least`. GPUs over j
        bend only where no old one is needed any more, so the ends and that bend are enough.
        """
        bends = {0, min(max(least, 1), self.replicas) - 1, self.replicas - 1}
        moments = [
            times(j + 1, self.new) + times(max(least - j, 0), self.old) for j in bends if j >= 0
        ]
        return {p: max((m[p] for m in moments), default=0) for p in {*self.new, *self.old}}

    def keepable(self, budget: Gpus) -> int:
        """The greatest minimum that these GPUs allow at every moment."""
        return next((m for m in range(self.most, 0, -1) if self._within(m, budget)), 0)

    def _within(self, least: int, budget: Gpus) -> bool:
        return all(n <= budget.get(p, 0) for p, n in self.peak(least).items())

    def budget(self, surge: int, least: int) -> dict[str, int]:
        """GPUs of both so that `least` always answer: of each product what `surge` or more whole
        new replicas take beside all old ones.
        """
        before, peak = self.before, self.peak(least)
        whole = {p: ceil((peak[p] - before[p]) / each) for p, each in self.new.items()}
        more = {p: max(surge, whole[p]) * each for p, each in self.new.items()}
        return dict(before + Counter(more))
