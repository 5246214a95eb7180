"""What a proposed rollout must look like before it is planned, and the numbers frozen into it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from fleet.rules.answers import Answer
from fleet.rules.measures import GateLimits
from fleet.rules.plan import Plan, Situation, StepPlan
from fleet.rules.release import ReleaseSpec
from fleet.rules.starts import deadline_of

DEFAULT_STEPS = (StepPlan(10, 300, 50), StepPlan(25, 300, 100), StepPlan(50, 300, 200))
DEFAULT_SOAK = 1800
PATIENCE = 60  # seconds for a place, drains not counted
MOST_STEPS = 12


@dataclass(frozen=True, slots=True)
class Numbers:
    """Times of a rollout, frozen at its proposal; in seconds."""

    old_replicas: int
    min_replicas: int
    surge: int
    gpus_new: int
    gpus_old: int
    product: str
    start_seconds: float  # deadline of one start of the new release
    back_seconds: float  # and of the old one
    patience_seconds: float
    drain_seconds: float
    soak_seconds: float
    limits: Mapping[str, float]


def read_steps(given: Iterable[Mapping[str, Any]]) -> tuple[StepPlan, ...]:
    """Steps from JSON; raise ValueError with a sentence. 100 % is not a step but the promotion."""
    found = []
    for step in given:
        strange = sorted(step.keys() - {"percent", "hold_seconds", "min_samples"})
        if strange:
            raise ValueError(f"A step has percent, hold_seconds and min_samples, no {strange[0]}")
        values = {k: step.get(k) for k in ("percent", "hold_seconds", "min_samples")}
        if any(not isinstance(v, int) or isinstance(v, bool) for v in values.values()):
            raise ValueError("A step has percent, hold_seconds and min_samples, whole numbers")
        found.append(StepPlan(**values))  # type: ignore[arg-type]  # checked one line above
    refuse_steps(found)
    return tuple(found)


def refuse_steps(steps: Sequence[StepPlan]) -> None:
    if len(steps) > MOST_STEPS:
        raise ValueError(f"{len(steps)} steps: at most {MOST_STEPS}")
    percents = [s.percent for s in steps]
    if percents != sorted(set(percents)):
        raise ValueError("The percents of the steps must rise")
    for step in steps:
        if not 1 <= step.percent <= 99:
            raise ValueError(f"{step.percent} %: between 1 and 99; all of it is the promotion")
        if not 0 <= step.hold_seconds <= 86_400:
            raise ValueError(f"A hold of {step.hold_seconds} s: between 0 and 86,400 (a day)")
        if not 1 <= step.min_samples <= 1_000_000:
            raise ValueError(f"{step.min_samples} samples: between 1 and 1,000,000")


def numbers_of(
    plan: Plan, s: Situation, new: ReleaseSpec, old: ReleaseSpec | None, patience: int
) -> Numbers:
    old_start = old.probes.startup_seconds if old else 0
    drains = [spec.probes.grace_seconds for spec in (new, old) if spec]
    return Numbers(
        old_replicas=s.old_replicas,
        min_replicas=plan.min_replicas,
        surge=plan.surge,
        gpus_new=s.gpus_new,
        gpus_old=s.gpus_old,
        product=s.product,
        start_seconds=seconds(deadline_of(s.starts_new, new.probes.startup_seconds)),
        back_seconds=seconds(deadline_of(s.starts_old, old_start)) if old else 600.0,
        patience_seconds=patience,
        drain_seconds=max(drains),
        soak_seconds=s.soak_seconds,
        limits=asdict(GateLimits()),
    )


def seconds(duration: timedelta) -> float:
    return duration.total_seconds()


def refuse_plan(plan: Plan, *, consent: bool) -> str:
    """Why this plan cannot be proposed: with the number that is missing."""
    if plan.answer is Answer.NEVER:
        return f"This never fits. {plan.why}"
    if plan.answer is Answer.NOT_NOW:
        return f"Not now. {plan.why}"
    if plan.answer is Answer.NEEDS_CONSENT and not consent:
        return f"This needs your consent: propose it with it if you accept that. {plan.why}"
    return ""
