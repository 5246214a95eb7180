"""Cold starts as they were measured: plans and deadlines come from them."""

from collections.abc import Sequence
from datetime import timedelta
from math import ceil

from fleet.rules.situation import Starts

SHORTEST = timedelta(minutes=10)


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
    """Twice the p95 and ten minutes at least; never measured: what the release itself allows.

    A release whose own limit is shorter than ten minutes asked for less patience.
    """
    own = timedelta(seconds=startup_seconds)
    if starts.p95 is None:
        return own
    return min(max(SHORTEST, timedelta(seconds=2 * starts.p95)), own)
