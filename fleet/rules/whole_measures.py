"""Figures of a whole window: of engines, which know no tenants, and those that are shown only.

Preemptions come in bursts, and hits of a cache follow whoever asks, so that single ones prove
nothing. Their tests count minutes: of engines, those in which one preempted; of tenants and
classes, those with fewer hits than the limit.
"""

from collections.abc import Callable
from dataclasses import dataclass

from fleet.rules.comparison import Cell, Window, groups_of, judged
from fleet.rules.gate_limits import GateLimits
from fleet.rules.measures import CHOSEN, Measured
from fleet.rules.statistics import Table
from fleet.rules.traffic import ReleaseWindow

UNTOLD = "Metrics of engines are missing on one side or both"
SLACK = 0.05  # preemptions a request on top of stable's: fewer harm nobody
NO_LIMIT = "Not judged: the plan sets no limit"


@dataclass(frozen=True, slots=True)
class Shown:
    """A figure that is not judged, and why not."""

    metric: str
    title: str
    unit: str
    canary: float | None
    stable: float | None
    why: str


def whole_of(window: Window, limits: GateLimits) -> tuple[list[Measured], tuple[Shown, ...]]:
    """What is judged of all requests together, and what is shown."""
    found = [cache_hits(window, limits), preemptions(window, limits)]
    shown = [f for f in found if isinstance(f, Shown)]
    shown += [cancelled(window), held(window), *without_limit(window, limits)]
    return [f for f in found if isinstance(f, Measured)], tuple(shown)


def cache_hits(window: Window, limits: GateLimits) -> Measured | Shown:
    metric, title = "cache_hits", "prompt tokens from the cache"
    ours, theirs = hits(window.canary), hits(window.stable)
    if limits.cache_points is None:
        why = "Not judged: caches of new replicas start cold, and the plan sets no limit"
        return Shown(metric, title, "share", ours, theirs, why)
    least = max((theirs or 0.0) - limits.cache_points, 0.0)

    def count(side: Callable[[Cell], ReleaseWindow]) -> tuple[int, int]:
        told = [found for c in window.cells if (found := hits(side(c))) is not None]
        return sum(share < least for share in told), len(told)

    table = Table(*count(lambda c: c.canary), *count(lambda c: c.stable))
    return Measured(
        metric,
        title,
        "share",
        ours,
        theirs,
        None if theirs is None else least,
        table.total,
        table.other_total,
        tables=(table,),
        is_beyond=ours is not None and theirs is not None and ours < least,
        is_needed=False,
        is_floor=True,
        enough=1,
        what="minutes of tenants",
    )


def hits(w: ReleaseWindow) -> float | None:
    return w.cached_tokens / w.prompt_tokens if w.prompt_tokens else None


def preemptions(window: Window, limits: GateLimits) -> Measured | Shown:
    metric, title, counted = "preemptions", "preemptions a request", window.preemptions
    canary, stable = counted.of or (judged(window.canary), judged(window.stable))
    ours, theirs = a_request(counted.canary, canary), a_request(counted.stable, stable)
    if counted.canary is None or counted.stable is None:
        why = f"{UNTOLD}: what gateways metered is judged"
        return Shown(metric, title, "number", ours, theirs, why)
    if limits.preemption_ratio is None:
        return Shown(metric, title, "number", ours, theirs, NO_LIMIT)
    most = None if theirs is None else max(theirs * limits.preemption_ratio, theirs + SLACK)
    return Measured(
        metric,
        title,
        "number",
        ours,
        theirs,
        most,
        sum(t.total for t in counted.tables),
        sum(t.other_total for t in counted.tables),
        tables=tuple(counted.tables),
        is_beyond=ours is not None and most is not None and ours > most,
        is_needed=False,
        enough=1,
        what="minutes of engines",
    )


def a_request(count: int | None, requests: int) -> float | None:
    return None if count is None or not requests else count / requests


def cancelled(window: Window) -> Shown:
    def share(w: ReleaseWindow) -> float | None:
        return w.outcomes.get("cancelled", 0) / w.requests if w.requests else None

    why = "Not judged: the clients left, for reasons of their own too"
    ours, theirs = share(window.canary), share(window.stable)
    return Shown("cancelled", "left by the client", "share", ours, theirs, why)


def held(window: Window) -> Shown:
    """What the replicas cost, idle or not."""
    ours, theirs = (side.rate for side in window.held)
    told = ours is not None and theirs is not None
    why = "Not judged: a replica that gets less to do makes less" if told else UNTOLD
    return Shown("held", "tokens per GPU-second that replicas held", "rate", ours, theirs, why)


def without_limit(window: Window, limits: GateLimits) -> list[Shown]:
    everybody = groups_of(window)[0]
    found = [m(everybody, limits) for name, m in CHOSEN.items() if getattr(limits, name) is None]
    return [Shown(f.metric, f.title, f.unit, f.canary, f.stable, NO_LIMIT) for f in found]
