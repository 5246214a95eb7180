"""What a gate measures of a group of requests, each as a share of requests beyond a limit."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from fleet.rules.comparison import Group, failures, judged
from fleet.rules.gate_limits import GateLimits
from fleet.rules.histogram import LAST, Histogram, bucket_of, upper
from fleet.rules.statistics import Table
from fleet.rules.traffic import ReleaseWindow

P95 = 0.05  # share of requests that may lie beyond a p95
MEDIAN = 0.5


@dataclass(frozen=True, slots=True)
class Measured:
    """One figure of both sides. `tables` hold requests beyond the limit, for the test."""

    metric: str  # error_ratio, ttft_p95, gpu_p50, length ...
    title: str
    unit: str  # share, ms, tokens, rate (tokens per GPU-second), number
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
    is_floor: bool = False  # less than the limit is beyond it
    enough: int | None = None  # samples without which it tells nothing; None: as the limits say
    what: str = "samples"


def error_ratio(group: Group, limits: GateLimits) -> Measured:
    def count(w: ReleaseWindow) -> tuple[int, int]:
        return failures(w), judged(w)

    return _share("error_ratio", "error ratio", group, count, limits.error_points)


def refused(group: Group, limits: GateLimits) -> Measured:
    def count(w: ReleaseWindow) -> tuple[int, int]:
        return w.refused, judged(w) + w.refused

    found = _share("refused", "refused by the engine", group, count, limits.refused_points)
    return replace(found, is_needed=False)


def aborted(group: Group, limits: GateLimits) -> Measured:
    """Errors too, but apart: stable may have others of its own, behind which these would hide."""
    return _finished("aborted", "given up by the engine", "abort", group, limits.abort_points)


def length(group: Group, limits: GateLimits) -> Measured:
    """Answers that find no end: a lost stop token or chat template."""
    return _finished("length", "ended at the token limit", "length", group, limits.length_points)


def _finished(metric: str, title: str, finish: str, group: Group, points: float | None) -> Measured:
    """Of requests whose engine said how they ended."""

    def count(w: ReleaseWindow) -> tuple[int, int]:
        return w.ended_by(finish), w.finish.total

    return replace(_share(metric, title, group, count, points or 0.0), is_needed=False)


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
    return _time("TTFT p95", P95, group, lambda w: w.ttft, limits, limits.ttft_ratio)


def ttft_p50(group: Group, limits: GateLimits) -> Measured:
    """Finds a slower release with fewer samples than its p95, where times have long tails."""
    found = _time("TTFT p50", MEDIAN, group, lambda w: w.ttft, limits, limits.ttft_ratio)
    return replace(found, is_needed=False)


def itl_p95(group: Group, limits: GateLimits) -> Measured:
    return _time("ITL p95", P95, group, lambda w: w.itl, limits, limits.itl_ratio)


def queue_p95(group: Group, limits: GateLimits) -> Measured:
    """How long requests waited for a seat at an engine: a slower release fills up first."""
    found = _time("Queue p95", P95, group, lambda w: w.queue, limits, limits.ttft_ratio)
    return replace(found, is_needed=False)


def gpu_p50(group: Group, limits: GateLimits) -> Measured:
    """Tokens that a request got from each second of its GPUs: what an answer costs. Judged by the
    time of a token, the other way round.
    """
    ratio = limits.gpu_ratio or 1.0
    found = _time("GPU time of a token", MEDIAN, group, lambda w: w.gpu, limits, ratio)
    return replace(
        found,
        metric="gpu_p50",
        title="tokens per GPU-second",
        unit="rate",
        canary=a_second(found.canary),
        stable=a_second(found.stable),
        limit=a_second(found.limit),
        is_needed=False,
        is_floor=True,
    )


def a_second(milliseconds: float | None) -> float | None:
    return 1000 / milliseconds if milliseconds else None


def _time(
    title: str,
    allowed: float,
    group: Group,
    read: Callable[[ReleaseWindow], Histogram],
    limits: GateLimits,
    ratio: float,
) -> Measured:
    """The limit is rounded up to a bucket, so that requests beyond it can be counted."""
    canary, stable = read(group.canary), read(group.stable)
    ours, theirs = canary.quantile(1 - allowed), stable.quantile(1 - allowed)
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


Measure = Callable[[Group, GateLimits], Measured]
ALWAYS: tuple[Measure, ...] = (
    error_ratio,
    ttft_p95,
    itl_p95,
    ttft_p50,
    queue_p95,
    refused,
    output_p50,
)
CHOSEN: dict[str, Measure] = {  # by the limit without which they are shown only
    "abort_points": aborted,
    "length_points": length,
    "gpu_ratio": gpu_p50,
}


def measures_of(limits: GateLimits) -> tuple[Measure, ...]:
    """Those that every group is judged by."""
    chosen = (m for name, m in CHOSEN.items() if getattr(limits, name) is not None)
    return (*ALWAYS, *chosen)
