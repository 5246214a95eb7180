"""Judge a canary against stable in the same window. Too few samples are never a pass."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from math import sqrt
from typing import Any

from fleet.rules.histogram import Histogram
from fleet.rules.phases import Verdict
from fleet.rules.traffic import GATE_SECONDS, ReleaseWindow, slot_of

ARRIVAL = timedelta(seconds=3)  # usage events reach the statistics this late
CONFIRM_SAMPLES = 20


@dataclass(frozen=True, slots=True)
class GateLimits:
    """Canary against stable. The absolute slack keeps tiny latencies from failing on noise."""

    error_points: float = 0.01  # share of failed requests on top of stable's
    ttft_ratio: float = 1.25
    itl_ratio: float = 1.15
    slack_ms: float = 10.0
    stable_samples: int = 20


@dataclass(frozen=True, slots=True)
class Check:
    metric: str  # error_ratio, ttft_p95, itl_p95
    unit: str  # share, ms
    canary: float | None
    stable: float | None
    limit: float | None
    samples: int
    needed: int
    stable_samples: int
    verdict: Verdict
    why: str


@dataclass(frozen=True, slots=True)
class Window:
    """What both releases answered between `start` and `end`."""

    start: datetime
    end: datetime
    canary: ReleaseWindow
    stable: ReleaseWindow

    @property
    def seconds(self) -> float:
        return max((self.end - self.start).total_seconds(), 0.0)


@dataclass(frozen=True, slots=True)
class Reading:
    """One look of the gate."""

    verdict: Verdict
    why: str
    checks: tuple[Check, ...]
    start: datetime
    end: datetime

    def as_json(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict.value,
            "why": self.why,
            "checks": [asdict(c) | {"verdict": c.verdict.value} for c in self.checks],
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
        }


def bounds_of(since: datetime, now: datetime) -> tuple[datetime, datetime]:
    """Whole slots after `since` that have surely arrived; the slot of the change is dropped."""
    start = slot_of(since, GATE_SECONDS) + timedelta(seconds=GATE_SECONDS)
    return start, max(slot_of(now - ARRIVAL, GATE_SECONDS), start)


def read_gate(window: Window, min_samples: int, limits: GateLimits) -> Reading:
    """Judge all checks; the worst answer is the gate's."""
    checks = tuple(check(window, min_samples, limits) for check in CHECKS)
    for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE):
        found = [c for c in checks if c.verdict is verdict]
        if found:
            why = "; ".join(c.why for c in found)
            return Reading(verdict, why, checks, window.start, window.end)
    why = "; ".join(c.why for c in checks)
    return Reading(Verdict.PASS, f"Inside all limits: {why}", checks, window.start, window.end)


def error_ratio(window: Window, min_samples: int, limits: GateLimits) -> Check:
    canary, stable = judged(window.canary), judged(window.stable)
    bad = failures(window.canary)
    ours = bad / canary if canary else None
    theirs = failures(window.stable) / stable if stable else None
    limit = None if theirs is None else theirs + limits.error_points
    verdict, why = _enough(window, "requests", canary, min_samples, stable, limits)
    if verdict is Verdict.PASS and ours is not None and limit is not None:
        why = f"error ratio {ours:.2%} of {canary:,}, limit {limit:.2%}, stable {theirs or 0:.2%}"
        if ours > limit:
            # One failure is no rate: wait for a second one, or for samples that dilute it.
            verdict = Verdict.FAIL if bad >= 2 else Verdict.INCONCLUSIVE
            why += "" if bad >= 2 else ", from a single failure"
    return Check(
        "error_ratio", "share", ours, theirs, limit, canary, min_samples, stable, verdict, why
    )


def ttft_p95(window: Window, min_samples: int, limits: GateLimits) -> Check:
    return _latency(
        "TTFT p95", window, (window.canary.ttft, window.stable.ttft), min_samples, limits
    )


def itl_p95(window: Window, min_samples: int, limits: GateLimits) -> Check:
    return _latency("ITL p95", window, (window.canary.itl, window.stable.itl), min_samples, limits)


CHECKS: tuple[Callable[[Window, int, GateLimits], Check], ...] = (error_ratio, ttft_p95, itl_p95)


def _latency(
    name: str,
    window: Window,
    histograms: tuple[Histogram, Histogram],
    min_samples: int,
    limits: GateLimits,
) -> Check:
    canary, stable = histograms
    ratio = limits.ttft_ratio if name.startswith("TTFT") else limits.itl_ratio
    ours, theirs = canary.quantile(0.95), stable.quantile(0.95)
    limit = None if theirs is None else max(theirs * ratio, theirs + limits.slack_ms)
    what = f"{name} samples"
    verdict, why = _enough(window, what, canary.total, min_samples, stable.total, limits)
    if verdict is Verdict.PASS and ours is not None and limit is not None:
        verdict = Verdict.FAIL if ours > limit else Verdict.PASS
        why = f"{name} {ours:.0f} ms, limit {limit:.0f} ms, stable {theirs:.0f} ms"
    metric = name.lower().replace(" ", "_")
    return Check(
        metric, "ms", ours, theirs, limit, canary.total, min_samples, stable.total, verdict, why
    )


def _enough(
    window: Window, what: str, canary: int, needed: int, stable: int, limits: GateLimits
) -> tuple[Verdict, str]:
    """Too few samples on either side: say how many are missing and about how long they take."""
    if canary < needed:
        missing = needed - canary
        return Verdict.INCONCLUSIVE, (
            f"{missing:,} of {needed:,} {what} of the canary are missing"
            f"{_wait(missing, canary, window.seconds)}"
        )
    wanted = min(limits.stable_samples, needed)
    if stable < wanted:
        return Verdict.INCONCLUSIVE, (
            f"{wanted - stable:,} of {wanted:,} {what} of stable are missing"
            f"{_wait(wanted - stable, stable, window.seconds)}"
        )
    return Verdict.PASS, ""


def _wait(missing: int, seen: int, seconds: float) -> str:
    if not seen or not seconds:
        return ", and none came yet"
    left = missing * seconds / seen
    return f", about {left:.0f} s at this rate" if left < 120 else f", about {left / 60:.0f} min"


def judged(window: ReleaseWindow) -> int:
    """Requests that say something about the release: refused and left ones do not."""
    return window.answered + failures(window)


def failures(window: ReleaseWindow) -> int:
    return window.outcomes.get("failed", 0) + window.outcomes.get("timed_out", 0)


@dataclass(frozen=True, slots=True)
class Share:
    """Traffic that the canary got, counted from the fingerprints of answers."""

    observed: float | None
    requests: int
    inside: bool


def share_of(window: Window, percent: int) -> Share:
    """Compare the observed share with the wanted one: 5 points, or three sigma of few samples."""
    canary, stable = judged(window.canary), judged(window.stable)
    total = canary + stable
    if total < CONFIRM_SAMPLES:
        return Share(canary / total if total else None, total, inside=False)
    wanted = percent / 100
    slack = max(0.05, 3 * sqrt(wanted * (1 - wanted) / total))
    observed = canary / total
    return Share(observed, total, abs(observed - wanted) <= slack)
