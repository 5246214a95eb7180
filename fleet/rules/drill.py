"""Drills of the way back: when a rollout is taken back on purpose, and whether it went well. Pure.

A drill rolls a release out by the ordinary machine and aborts it at a stated moment. Its plan and
limits are frozen before the approval; its verdict comes from the timeline that the rollout keeps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from fleet.rules.phases import Phase

LONGEST_LIMIT = 86_400  # seconds
SETTLES = timedelta(seconds=60)  # after the end: usage of the last requests arrives meanwhile


class Moment(StrEnum):
    """Of the rollout, at which it is taken back."""

    CANARY = "canary"  # a replica loads and is verified; it has no traffic yet
    STEP = "step"  # the traffic of a step is on the new release
    PROMOTING = "promoting"
    SOAKING = "soaking"  # all traffic is on the new release
    POD_LOST = "pod_lost"  # of no rollout: a replica that serves is killed


class DrillVerdict(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not_run"  # the rollout ended before its moment came


@dataclass(frozen=True, slots=True)
class Limits:
    """What a drill must keep to pass. Seconds count from the abort."""

    traffic_back_seconds: float = 10
    full_back_seconds: float = 600
    requests_lost: int = 0


USUAL = Limits()


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    unit: str  # seconds, requests; empty: a fact
    promised: float | None  # by the rollout's plan, before the approval
    limit: str
    measured: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Measured:
    """Of a rollout that has ended. None: it did not come to that."""

    started: bool  # something was written to the cluster
    asked_in: str  # the phase in which the drill took it back; empty: it never did
    phase: Phase
    traffic_back: float | None
    full_back: float | None
    lost: int


@dataclass(frozen=True, slots=True)
class Promise:
    traffic_back: float | None
    full_back: float | None


MOVES = {
    Phase.CANARY_STARTING: 1.0,
    Phase.CANARY_VERIFYING: 2.0,
    Phase.SHIFTING: 3.0,
    Phase.ANALYZING: 3.5,
    Phase.PROMOTING: 1000.0,
    Phase.SOAKING: 1001.0,
}
STEPPED = frozenset({Phase.SHIFTING, Phase.ANALYZING})
MOMENTS = {Moment.CANARY: 2.0, Moment.STEP: 2.5, Moment.PROMOTING: 1000.0, Moment.SOAKING: 1001.0}


def reached(phase: Phase, step: int, moment: Moment, number: int) -> bool:
    """Whether it is time, or past it. `step` counts from 0 and `number`, of `STEP`, from 1.

    What is paused, goes back or has ended is left alone.
    """
    if phase not in MOVES:
        return False
    now = MOVES[phase] + (step if phase in STEPPED else 0)
    return now >= MOMENTS[moment] + (number if moment is Moment.STEP else 0)


def refuse_moment(moment: Moment, number: int, steps: int, *, gated: bool) -> str:
    """`gated`: both releases serve side by side for a time, as canary and steps need it."""
    if moment is Moment.POD_LOST:
        return "A replica is killed without a rollout: plan that drill for itself"
    if moment in (Moment.CANARY, Moment.STEP) and not gated:
        return (
            "This way to roll out has neither canary nor steps: take it back while it promotes"
            " or soaks"
        )
    if moment is Moment.STEP and not 1 <= number <= steps:
        return f"There is no step {number}: the plan has {steps}"
    return ""


def refuse_limits(limits: Limits) -> str:
    given = (limits.traffic_back_seconds, limits.full_back_seconds)
    if not all(0 < seconds <= LONGEST_LIMIT for seconds in given):  # nor what is no number
        return "A way back takes time: allow more than 0 seconds, a day at most"
    if limits.requests_lost < 0:
        return "Requests that may be lost are counted from 0"
    return ""


def moment_in_words(moment: Moment, number: int) -> str:
    return {
        Moment.CANARY: "while the canary is verified",
        Moment.STEP: f"at step {number}",
        Moment.PROMOTING: "while it promotes",
        Moment.SOAKING: "while it soaks",
        Moment.POD_LOST: "when a replica is killed",
    }[moment]


def judge(found: Measured, limits: Limits, promise: Promise) -> tuple[DrillVerdict, list[Check]]:
    """All checks have to pass. One that was not taken back by the drill is no proof either way."""
    checks = [
        Check(
            "Ended on the old release", "", None, "rolled back",
            found.phase.value.replace("_", " "), found.phase is Phase.ROLLED_BACK,
        ),
        _within(
            "All traffic back", promise.traffic_back, limits.traffic_back_seconds,
            found.traffic_back,
        ),
        _within(
            "Everything back", promise.full_back, limits.full_back_seconds, found.full_back
        ),
        Check(
            "Requests lost", "requests", None, f"at most {limits.requests_lost}", str(found.lost),
            found.lost <= limits.requests_lost,
        ),
    ]  # fmt: skip
    if not found.asked_in:
        return DrillVerdict.NOT_RUN, checks if found.started else []
    whole = all(check.passed for check in checks)
    return DrillVerdict.PASSED if whole else DrillVerdict.FAILED, checks


def _within(name: str, promised: float | None, limit: float, measured: float | None) -> Check:
    said = "not seen" if measured is None else f"{measured:.1f} s"
    kept = measured is not None and measured <= limit
    return Check(name, "seconds", promised, f"at most {limit:g} s", said, kept)


def sentence(verdict: DrillVerdict, checks: Sequence[Check], why: str) -> str:
    """For the person who reads the report first. `why` is the rollout's own last word."""
    if verdict is DrillVerdict.PASSED:
        measured = {c.name: c.measured for c in checks}
        return (
            f"All traffic was back after {measured['All traffic back']}, everything after"
            f" {measured['Everything back']}, and {measured['Requests lost']} requests were lost"
        )
    if verdict is DrillVerdict.NOT_RUN:
        return f"The rollout ended before its moment came, so nothing was proved. {why}"
    broken = [f"{c.name.lower()}: {c.measured}, {c.limit}" for c in checks if not c.passed]
    return f"Not as it must be. {'; '.join(broken)}. {why}"


def is_stale(last: datetime | None, now: datetime, days: int) -> bool:
    """Whether a service needs a drill: none yet, or the last one is too long ago."""
    return last is None or now - last > timedelta(days=days)
