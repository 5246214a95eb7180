"""Tests for shares whose error rate is known, small enough to be read. All tails are upper ones.

- Exact test of equal shares in strata: given the margins of each 2x2 table, the number of marked
  ones on one side is a sum of independent hypergeometric variables (R. A. Fisher, "The Design of
  Experiments", 1935; in strata J. J. Gart, Biometrika 57, 1970, p. 471).
- Where that sum has too many terms, its tail is bounded by the binomial with the same mean: a
  hypergeometric variable is a sum of independent Bernoulli ones (V. Vatutin and V. Mikhailov,
  Theory of Probability 27, 1982, p. 734), and such a sum exceeds its mean by one or more no more
  often than the binomial does (W. Hoeffding, Annals of Mathematical Statistics 27, 1956, p. 713).
- Error rates of many tests and looks are shared out by Bonferroni's inequality.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, lgamma, log, log1p

MOST_TERMS = 400  # of the exact distribution
NOTHING = 1e-18  # probabilities below it are left out
STEPS = (1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0)


@dataclass(frozen=True, slots=True)
class Table:
    """Marked ones and all of them on both sides of one stratum."""

    marked: int
    total: int
    other_marked: int
    other_total: int


def exact_tail(tables: Iterable[Table]) -> float:
    """Chance of so many marked ones on the first side, or more, if both sides are alike.

    Strata where one side has nothing, or where all or none are marked, say nothing. 1: no
    stratum says anything.
    """
    telling = [t for t in tables if says_something(t)]
    if not telling:
        return 1.0
    seen = sum(t.marked for t in telling)
    if sum(min(t.total, t.marked + t.other_marked) for t in telling) > MOST_TERMS:
        return bounded_tail(telling, seen)
    lowest, chances = 0, [1.0]
    for table in telling:
        first, more = hypergeometric(table)
        lowest += first
        chances = convolved(chances, more)
    return min(sum(chances[max(seen - lowest, 0) :]), 1.0)


def says_something(t: Table) -> bool:
    marked = t.marked + t.other_marked
    return t.total > 0 and t.other_total > 0 and 0 < marked < t.total + t.other_total


def bounded_tail(tables: Sequence[Table], seen: int) -> float:
    mean, draws = 0.0, 0
    for t in tables:
        marked = t.marked + t.other_marked
        mean += t.total * marked / (t.total + t.other_total)
        draws += min(t.total, marked)
    return binomial_tail(seen, draws, mean / draws) if seen >= mean + 1 else 1.0


def hypergeometric(t: Table) -> tuple[int, list[float]]:
    """The first possible count of marked ones on the first side, and the chances from it on."""
    marked, everyone = t.marked + t.other_marked, t.total + t.other_total
    low, high = max(0, marked - t.other_total), min(t.total, marked)
    whole = log_choose(everyone, t.total)
    return low, [
        exp(log_choose(marked, k) + log_choose(everyone - marked, t.total - k) - whole)
        for k in range(low, high + 1)
    ]


def convolved(one: Sequence[float], two: Sequence[float]) -> list[float]:
    found = [0.0] * (len(one) + len(two) - 1)
    for i, p in enumerate(one):
        if p < NOTHING:
            continue
        for j, q in enumerate(two):
            found[i + j] += p * q
    return found


def binomial_tail(seen: int, draws: int, share: float) -> float:
    """Chance of `seen` or more out of `draws`, each with chance `share`."""
    if seen <= 0:
        return 1.0
    if seen > draws or share <= 0:
        return 0.0
    if share >= 1:
        return 1.0
    if seen <= draws * share:
        return max(1.0 - _run(seen - 1, draws, share, -1), 0.0)
    return min(_run(seen, draws, share, 1), 1.0)


def _run(start: int, draws: int, share: float, step: int) -> float:
    """Sum of binomial chances from `start` away from the mean, until they no longer matter."""
    at, odds = start, share / (1 - share)
    chance = exp(log_choose(draws, at) + at * log(share) + (draws - at) * log1p(-share))
    found = 0.0
    while 0 <= at <= draws:
        found += chance
        if chance < found * 1e-12:
            break
        chance *= (draws - at) / (at + 1) * odds if step > 0 else at / (draws - at + 1) / odds
        at += step
    return found


def log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def worse(tables: Sequence[Table], allowed: float) -> float:
    """The weaker of two proofs: the first side differs, and its share is above `allowed`."""
    marked, total = sum(t.marked for t in tables), sum(t.total for t in tables)
    return max(exact_tail(tables), binomial_tail(marked, total, allowed))


def more_needed(tables: Sequence[Table], allowed: float, alpha: float) -> int | None:
    """How many more of the first side would prove it at `alpha`, if all shares stay as they are.

    Without strata, so about. None: more than can be waited for.
    """
    marked, total = sum(t.marked for t in tables), sum(t.total for t in tables)
    others, rest = sum(t.other_marked for t in tables), sum(t.other_total for t in tables)
    for times in STEPS:
        grown = Table(*(round(n * times) for n in (marked, total, others, rest)))
        if worse([grown], allowed) <= alpha:
            return grown.total - total
    return None


def alpha_of_look(alpha: float, look: int) -> float:
    """Of the look with this number, from 1: the sum over all looks stays below `alpha`."""
    return alpha / (look * (look + 1))
