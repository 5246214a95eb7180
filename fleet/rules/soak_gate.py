"""The gate of the soak. All traffic is on the new release, so it is compared with what the last
gate that passed recorded of the old one. Pure.

Its false alarms are its own: `SOAK_ALPHA` for a whole soak, shared by its looks (see
`alpha_of_look`) and equally by all tests of one look. That is about chance. Traffic itself may have
changed since the baseline, so there is room on top of what the steps' gates allow: `SPARE_POINTS`
times the points of a share, `SPARE` times the limit of a time.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fleet.rules.comparison import Group, Window, failures, groups_of, judged
from fleet.rules.gate_limits import GateLimits
from fleet.rules.gates import Check, Look, Reading, amount
from fleet.rules.histogram import Histogram, bucket_of, upper
from fleet.rules.measures import MEDIAN, P95, a_second
from fleet.rules.phases import Verdict
from fleet.rules.statistics import Table, alpha_of_look, binomial_tail, worse
from fleet.rules.traffic import ReleaseWindow

SOAK_ALPHA = 0.01  # false alarms of a whole soak, of a release like the old one
SPARE_POINTS = 2
SPARE = 1.25
GROWN = 1.1  # looks: whenever the window has grown by a tenth
MOST_GROUPS = 100  # that a baseline is kept of, those with the most requests

Baseline = Mapping[str, Mapping[str, Sequence[float]]]


@dataclass(frozen=True, slots=True)
class Share:
    """Requests of a kind among all that could have been of it."""

    metric: str
    title: str
    limit: str  # the name of the points that steps allow
    count: Callable[[ReleaseWindow], tuple[int, int]]

    def record(self, stable: ReleaseWindow, limits: GateLimits) -> list[float]:
        bad, total = self.count(stable)
        return [bad, total, bad / total] if total else []

    def compare(
        self, canary: ReleaseWindow, kept: Sequence[float], limits: GateLimits
    ) -> "Compared":
        theirs, of, base = kept
        bad, total = self.count(canary)
        ours, limit = bad / total if total else None, base + SPARE_POINTS * points(self, limits)
        p = None
        if ours is not None and ours > limit and total >= limits.fewest:
            table = Table(bad, total, int(theirs), int(of))
            p = worse([table], limit) if of else binomial_tail(bad, total, limit)
        return Compared(self.metric, self.title, "share", ours, base, limit, total, int(of), p)


@dataclass(frozen=True, slots=True)
class Time:
    """A quantile of times; `per_second`: told as how many such times are in a second."""

    metric: str
    title: str
    limit: str  # the name of the ratio that steps allow
    read: Callable[[ReleaseWindow], Histogram]
    beyond: float = P95  # share of requests beyond the quantile
    per_second: bool = False

    def record(self, stable: ReleaseWindow, limits: GateLimits) -> list[float]:
        """With the bucket of the limit, beyond which requests are counted."""
        times = self.read(stable)
        value = times.quantile(1 - self.beyond)
        if value is None or times.total < limits.fewest:
            return []
        at = bucket_of(max(value * points(self, limits) * SPARE, value + limits.slack_ms))
        return [times.count_above(at), times.total, value, at]

    def compare(
        self, canary: ReleaseWindow, kept: Sequence[float], limits: GateLimits
    ) -> "Compared":
        beyond, of, base, at = int(kept[0]), int(kept[1]), kept[2], int(kept[3])
        times = self.read(canary)
        value, limit, p = times.quantile(1 - self.beyond), upper(at), None
        if value is not None and value > limit and times.total >= limits.fewest:
            table = Table(times.count_above(at), times.total, beyond, of)
            p = worse([table], self.beyond)
        if not self.per_second:
            found = (value, base, limit)
            return Compared(self.metric, self.title, "ms", *found, times.total, of, p)
        rates = (a_second(value), a_second(base) or 0.0, a_second(limit) or 0.0)
        return Compared(self.metric, self.title, "rate", *rates, times.total, of, p, is_floor=True)


Figure = Share | Time


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure of a group beside what was kept of the old release."""

    metric: str
    title: str
    unit: str
    ours: float | None
    base: float
    limit: float
    samples: int
    stable_samples: int
    p: float | None  # chance of such a figure by noise alone; None: not beyond the limit
    is_floor: bool = False


ERRORS = Share("error_ratio", "error ratio", "error_points", lambda w: (failures(w), judged(w)))
FIGURES: tuple[Figure, ...] = (
    ERRORS,
    Time("ttft_p95", "TTFT p95", "ttft_ratio", lambda w: w.ttft),
    Time("itl_p95", "ITL p95", "itl_ratio", lambda w: w.itl),
    Share("refused", "refused by the engine", "refused_points",
          lambda w: (w.refused, judged(w) + w.refused)),
    Share("aborted", "given up by the engine", "abort_points",
          lambda w: (w.ended_by("abort"), w.finish.total)),
    Share("length", "ended at the token limit", "length_points",
          lambda w: (w.ended_by("length"), w.finish.total)),
    Time("gpu_p50", "tokens per GPU-second", "gpu_ratio", lambda w: w.gpu, MEDIAN, per_second=True),
)  # fmt: skip
UNKNOWN = (0, 0, 0.0)  # errors of the old release where no gate recorded it: taken as none


def points(figure: Figure, limits: GateLimits) -> float:
    """What steps allow of it. Not asked where it is shown only."""
    found: float = getattr(limits, figure.limit)
    return found


def figures_of(limits: GateLimits) -> list[Figure]:
    """Those that are judged, and not shown only."""
    return [f for f in FIGURES if getattr(limits, f.limit) is not None]


def baseline_of(window: Window, limits: GateLimits) -> dict[str, dict[str, list[float]]]:
    """Of the old release, by group and metric: requests beyond the limit, all, its own figure, and
    of times the bucket of the limit.
    """
    everybody, *parts = groups_of(window)
    alone = [g for g in parts if judged(g.stable) >= limits.fewest]
    largest = sorted(alone, key=lambda g: -judged(g.stable))[: MOST_GROUPS - 1]
    return {g.name: recorded(g.stable, limits) for g in (everybody, *largest)}


def recorded(stable: ReleaseWindow, limits: GateLimits) -> dict[str, list[float]]:
    found = {f.metric: f.record(stable, limits) for f in figures_of(limits)}
    return {metric: kept for metric, kept in found.items() if kept}


def is_due(window: Window, looked: float) -> bool:
    return window.seconds > 0 and window.seconds >= looked * GROWN


def read_soak(window: Window, baseline: Baseline, limits: GateLimits, look: Look) -> Reading:
    """All, each class and each tenant with enough requests, each against its own baseline."""
    groups = [g for g in groups_of(window) if not g.name or judged(g.canary) >= limits.fewest]
    compared = [(g, c) for g in groups for c in compare(g, baseline, limits)]
    # What has too few samples cannot fail: that costs the others nothing.
    tests = max(sum(c.samples >= limits.fewest for _, c in compared), 1)
    alpha = alpha_of_look(SOAK_ALPHA, look.number) / tests
    checks = tuple(check(group, c, alpha) for group, c in compared)
    failed = [c.why for c in checks if c.verdict is Verdict.FAIL]
    inside = [c.why for c in checks if not c.group]
    return Reading(
        Verdict.FAIL if failed else Verdict.PASS,
        "; ".join(failed or inside),
        checks,
        window.start,
        window.end,
        alpha=alpha,
        tests=tests,
        look=look,
        sources=window.sources,
    )


def compare(group: Group, baseline: Baseline, limits: GateLimits) -> Iterator[Compared]:
    """Errors always; the others where the old release's own were recorded, of this very group."""
    kept = baseline.get(group.name, {})
    errors = (kept or baseline.get("", {})).get(ERRORS.metric, UNKNOWN)
    yield ERRORS.compare(group.canary, errors, limits)
    for figure in figures_of(limits):
        if figure is not ERRORS and figure.metric in kept:
            yield figure.compare(group.canary, kept[figure.metric], limits)


def check(group: Group, found: Compared, alpha: float) -> Check:
    failed = found.p is not None and found.p <= alpha
    text = words_of(found)
    if failed:
        text += f", chance p = {found.p:.2g}, alarm below {alpha:.2g}"
    return Check(
        found.metric,
        found.title,
        group.name,
        found.unit,
        found.ours,
        found.base,
        found.limit,
        found.samples,
        0,
        found.stable_samples,
        Verdict.FAIL if failed else Verdict.PASS,
        f"{group.name}: {text}" if group.name else text,
        found.p,
        found.is_floor,
    )


def words_of(found: Compared) -> str:
    shown = "–" if found.ours is None else amount(found.ours, found.unit)
    of = f" of {found.samples:,}" if found.unit == "share" else ""
    limit, base = amount(found.limit, found.unit), amount(found.base, found.unit)
    bound = "at least" if found.is_floor else "limit"
    return f"{found.title} {shown}{of}, {bound} {limit} (the old release had {base})"
