"""What a gate measures of a group of requests, each as a share of requests beyond a limit."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from fleet.rules.comparison import Group, Window, failures, judged
from fleet.rules.histogram import LAST, Histogram, bucket_of, upper
from fleet.rules.statistics import Table
from fleet.rules.traffic import ReleaseWindow

P95 = 0.05  # share of requests that may lie beyond a p95
MEDIAN = 0.5
UNTOLD = "Metrics of engines are missing on one side or both"


@dataclass(frozen=True, slots=True)
class GateLimits:
    """Canary against stable. The absolute slack keeps tiny latencies from failing on noise."""

    error_points: float = 0.01  # share of failed requests on top of stable's
    ttft_ratio: float = 1.25
    itl_ratio: float = 1.15
    slack_ms: float = 10.0
    stable_samples: int = 20
    refused_points: float = 0.01  # share of requests that the engines refuse, on top of stable's
    output_ratio: float = 1.2  # median length of answers, longer or shorter
    fewest: int = 20  # samples, below which no group is judged
    alpha: float = 0.05  # false alarms of a whole rollout to a release like the old one
    doubt: float = 0.05  # a figure beyond its limit by so small a chance is waited out


@dataclass(frozen=True, slots=True)
class Measured:
    """One figure of both sides. `tables` hold requests beyond the limit, for the test."""

    metric: str  # error_ratio, refused, ttft_p95, ttft_p50, itl_p95, queue_p95, output_p50
    title: str
    unit: str  # share, ms, tokens
    canary: float | None
    stable: float | None
    limit: float | None
    samples: int
    stable_samples: int
    allowed: float = 0.0  # share of requests that may be beyond the limit
    tables: tuple[Table, ...] = ()
    is_beyond: bool = False
    sides: int = 1  # 2: too much and too little were both looked for
    is_needed: bool = True  # a pass needs samples of it


def error_ratio(group: Group, limits: GateLimits) -> Measured:
    def count(w: ReleaseWindow) -> tuple[int, int]:
        return failures(w), judged(w)

    return _share("error_ratio", "error ratio", group, count, limits.error_points)


def refused(group: Group, limits: GateLimits) -> Measured:
    def count(w: ReleaseWindow) -> tuple[int, int]:
        return w.refused, judged(w) + w.refused

    found = _share("refused", "refused by the engine", group, count, limits.refused_points)
    return replace(found, is_needed=False)


def _share(
    metric: str,
    title: str,
    group: Group,
    count: Callable[[ReleaseWindow], tuple[int, int]],
    points: float,
) -> Measured:
    (bad, canary), (theirs, stable) = count(group.canary), count(group.stable)
    ours = bad / canary if canary else None
    base = theirs / stable if stable else None
    limit = None if base is None else base + points
    return Measured(
        metric,
        title,
        "share",
        ours,
        base,
        limit,
        canary,
        stable,
        limit or 0.0,
        tuple(group.tables(count)),
        ours is not None and limit is not None and ours > limit,
    )


def ttft_p95(group: Group, limits: GateLimits) -> Measured:
    return _latency("TTFT p95", P95, group, lambda w: w.ttft, limits)


def ttft_p50(group: Group, limits: GateLimits) -> Measured:
    """Finds a slower release with fewer samples than its p95, where times have long tails."""
    return replace(_latency("TTFT p50", MEDIAN, group, lambda w: w.ttft, limits), is_needed=False)


def itl_p95(group: Group, limits: GateLimits) -> Measured:
    return _latency("ITL p95", P95, group, lambda w: w.itl, limits)


def queue_p95(group: Group, limits: GateLimits) -> Measured:
    """How long requests waited for a seat at an engine: a slower release fills up first."""
    found = _latency("Queue p95", P95, group, lambda w: w.queue, limits)
    return replace(found, is_needed=False)


def _latency(
    title: str,
    allowed: float,
    group: Group,
    read: Callable[[ReleaseWindow], Histogram],
    limits: GateLimits,
) -> Measured:
    """The limit is rounded up to a bucket, so that requests beyond it can be counted."""
    canary, stable = read(group.canary), read(group.stable)
    ours, theirs = canary.quantile(1 - allowed), stable.quantile(1 - allowed)
    ratio = limits.itl_ratio if title.startswith("ITL") else limits.ttft_ratio
    at = 0 if theirs is None else bucket_of(max(theirs * ratio, theirs + limits.slack_ms))
    return Measured(
        title.lower().replace(" ", "_"),
        title,
        "ms",
        ours,
        theirs,
        None if theirs is None else upper(at),
        canary.total,
        stable.total,
        allowed,
        tuple(group.tables(lambda w: (read(w).count_above(at), read(w).total))),
        ours is not None and theirs is not None and ours > upper(at),
    )


def output_p50(group: Group, limits: GateLimits) -> Measured:
    """Answers that became much longer or shorter: a broken chat template shows here first."""
    canary, stable = group.canary.output, group.stable.output
    ours, theirs = canary.quantile(MEDIAN), stable.quantile(MEDIAN)
    short = -1 if theirs is None else bucket_of(theirs / limits.output_ratio) - 1
    long = LAST if theirs is None else bucket_of(theirs * limits.output_ratio)
    is_short = ours is not None and short >= 0 and ours <= upper(short)

    def count(w: ReleaseWindow) -> tuple[int, int]:
        if is_short:
            return w.output.total - w.output.count_above(short), w.output.total
        return w.output.count_above(long), w.output.total

    return Measured(
        "output_p50",
        "median length of answers",
        "tokens",
        ours,
        theirs,
        None if theirs is None else upper(short if is_short else long),
        canary.total,
        stable.total,
        MEDIAN,
        tuple(group.tables(count)),
        is_short or (ours is not None and ours > upper(long)),
        sides=2,
        is_needed=False,
    )


@dataclass(frozen=True, slots=True)
class Shown:
    """A figure that is not judged, and why not."""

    metric: str
    title: str
    unit: str
    canary: float | None
    stable: float | None
    why: str


def shown_of(window: Window) -> tuple[Shown, ...]:
    return cache_hits(window), preemptions(window), cancelled(window)


def cache_hits(window: Window) -> Shown:
    def share(w: ReleaseWindow) -> float | None:
        return w.cached_tokens / w.prompt_tokens if w.prompt_tokens else None

    why = "Not judged: caches of new replicas start cold"
    ours, theirs = share(window.canary), share(window.stable)
    return Shown("cache_hits", "prompt tokens from the cache", "share", ours, theirs, why)


def preemptions(window: Window) -> Shown:
    def share(count: int | None, requests: int) -> float | None:
        return None if count is None or not requests else count / requests

    canary, stable = window.preemptions.of or (judged(window.canary), judged(window.stable))
    told = window.preemptions.canary is not None and window.preemptions.stable is not None
    counted = "Not judged: the engines count them in bursts, of which no error rate is known"
    why = counted if told else f"{UNTOLD}: what gateways metered is judged"
    ours = share(window.preemptions.canary, canary)
    theirs = share(window.preemptions.stable, stable)
    return Shown("preemptions", "preemptions a request", "number", ours, theirs, why)


def cancelled(window: Window) -> Shown:
    def share(w: ReleaseWindow) -> float | None:
        return w.outcomes.get("cancelled", 0) / w.requests if w.requests else None

    why = "Not judged: the clients left, for reasons of their own too"
    ours, theirs = share(window.canary), share(window.stable)
    return Shown("cancelled", "left by the client", "share", ours, theirs, why)


ALL: tuple[Callable[[Group, GateLimits], Measured], ...] = (
    error_ratio,
    ttft_p95,
    itl_p95,
    ttft_p50,
    queue_p95,
    refused,
    output_p50,
)
