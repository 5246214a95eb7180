"""What a proposed rollout must look like before it is planned, and the numbers frozen into it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from fleet.rules.answers import Answer
from fleet.rules.audience import SHRINKING
from fleet.rules.capacity import Gpus
from fleet.rules.fit import Need
from fleet.rules.gate_limits import limits_of
from fleet.rules.phases import PlanKind
from fleet.rules.plan import Plan
from fleet.rules.release import ReleaseSpec
from fleet.rules.situation import Situation, StepPlan
from fleet.rules.starts import deadline_of

DEFAULT_STEPS = (StepPlan(10, 300, 50), StepPlan(25, 300, 100), StepPlan(50, 300, 200))
DEFAULT_SOAK = 1800
PATIENCE = 60  # seconds for a place, drains not counted
MOST_STEPS = 12
LINE = re.compile(
    r"(shadow[\s,:]+)?(\d{1,3})\s*%?[\s,:]+(\d{1,6})\s*s?[\s,:]+(\d{1,8})([\s,:]+approval)?"
)
COUNTED = ("percent", "hold_seconds", "min_samples")
CHOSEN = ("shadow", "approval")


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
    limits: Mapping[str, float | None]  # fleet.rules.gate_limits.GateLimits
    needs: tuple[Need, ...] = ()  # on top: whole replicas, of each GPU product
    mixes: tuple[Gpus, Gpus] | None = None  # GPUs of a replica by product, new and old
    budget: Gpus | None = None  # that both releases together may hold


def read_steps(given: Iterable[Mapping[str, Any]]) -> tuple[StepPlan, ...]:
    """Steps from JSON; raise ValueError with a sentence. 100 % is not a step but the promotion."""
    found = []
    for step in given:
        strange = sorted(step.keys() - {*COUNTED, *CHOSEN})
        if strange:
            raise ValueError(f"A step has percent, hold_seconds and min_samples, no {strange[0]}")
        values = {k: step.get(k) for k in COUNTED}
        if any(not isinstance(v, int) or isinstance(v, bool) for v in values.values()):
            raise ValueError("A step has percent, hold_seconds and min_samples, whole numbers")
        chosen = {k: step.get(k, False) for k in CHOSEN}
        if not isinstance(chosen["shadow"], bool):
            raise ValueError("A step is a shadow or not: true or false")
        if not isinstance(chosen["approval"], bool):
            raise ValueError("A step asks for approval or not: true or false")
        found.append(StepPlan(**values, **chosen))  # type: ignore[arg-type]  # checked above
    refuse_steps(found)
    return tuple(found)


def read_lines(lines: Iterable[str]) -> tuple[StepPlan, ...]:
    """Steps as people write them, one a line; raise ValueError with a sentence."""
    return read_steps([step_in(line.strip()) for line in lines if line.strip()])


def step_in(line: str) -> dict[str, int | bool]:
    match = LINE.fullmatch(line.lower())
    if not match:
        raise ValueError(
            f"'{line[:40]}' is not like: 25, 300, 100 or shadow 25, 300, 100 or 25, 300, 100,"
            " approval"
        )
    shadow, *numbers, approval = match.groups()
    counted = dict(zip(COUNTED, map(int, numbers), strict=True))
    return counted | {"shadow": bool(shadow), "approval": bool(approval)}


def line_of(step: StepPlan) -> str:
    """As `read_lines` takes it."""
    kind = "shadow " if step.shadow else ""
    asks = ", approval" if step.approval else ""
    return f"{kind}{step.percent} %, {step.hold_seconds} s, {step.min_samples}{asks}"


def refuse_steps(steps: Sequence[StepPlan]) -> None:
    if len(steps) > MOST_STEPS:
        raise ValueError(f"{len(steps)} steps: at most {MOST_STEPS}")
    refuse_order(steps)
    for step in steps:
        if step.shadow and not 1 <= step.percent <= 100:
            raise ValueError(f"A shadow of {step.percent} %: between 1 and 100")
        if not step.shadow and not 1 <= step.percent <= 99:
            raise ValueError(f"{step.percent} %: between 1 and 99; all of it is the promotion")
        if not 0 <= step.hold_seconds <= 86_400:
            raise ValueError(f"A hold of {step.hold_seconds} s: between 0 and 86,400 (a day)")
        if not 1 <= step.min_samples <= 1_000_000:
            raise ValueError(f"{step.min_samples} samples: between 1 and 1,000,000")


def refuse_order(steps: Sequence[StepPlan]) -> None:
    shadows = shadows_of(steps)
    if any(s.shadow for s in steps[shadows:]):
        raise ValueError("Shadow steps come first: later ones would take the traffic back")
    for percents in ([s.percent for s in steps[:shadows]], [s.percent for s in steps[shadows:]]):
        if percents != sorted(set(percents)):
            raise ValueError("The percents of the steps must rise")


def shadows_of(steps: Sequence[StepPlan]) -> int:
    """How many steps the plan begins with in which no client meets the new release."""
    return next((i for i, step in enumerate(steps) if not step.shadow), len(steps))


def refuse_shadows(kind: PlanKind, steps: Sequence[StepPlan]) -> str:
    """Why requests cannot be copied in this plan. Empty: they can."""
    if kind not in SHRINKING or not shadows_of(steps):
        return ""
    return (
        "A shadow step compares a canary with a stable release that answers in full, as in a surge"
        " canary: in place, the old release would give replicas up for copies that nobody gets"
    )


def numbers_of(
    plan: Plan,
    s: Situation,
    new: ReleaseSpec,
    old: ReleaseSpec | None,
    patience: int,
    limits: Mapping[str, float | None],
) -> Numbers:
    """`limits`: those of gates that somebody chose."""
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
        limits=asdict(limits_of(limits, s.gpus_new, s.gpus_old)),
        needs=plan.needs,
        mixes=(s.exchange.new, s.exchange.old),
        budget=plan.budget,
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
