"""The steps of a rollout: what each was judged to be, and all of it as a table."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fleet.models import Rollout
from fleet.queries.audience import audience_of
from fleet.queries.rollout_gates import GateRow, live_gate
from fleet.rules.phases import FINAL, GOING_BACK, Phase
from fleet.rules.situation import StepPlan
from fleet.rules.step_table import Event, StepLine, happened, planned, sizes_from, state_of

MOVING = (Phase.SHIFTING, Phase.ANALYZING, Phase.AWAITING_STEP_APPROVAL, Phase.PAUSED)


@dataclass(frozen=True, slots=True)
class StepRow:
    """`state`: passed, now, failed, skipped, next, not_reached."""

    number: int  # from 1
    percent: int
    hold_seconds: int
    min_samples: int
    shadow: bool  # requests are copied, clients keep the old release
    approval: bool  # a person must say yes to what its gate judged
    state: str
    why: str
    gate: GateRow | None


def steps_of(r: Rollout, gates: Sequence[GateRow]) -> tuple[StepRow, ...]:
    last = {g.step: g for g in reversed(gates)}
    return tuple(
        StepRow(
            number=index + 1,
            percent=step["percent"],
            hold_seconds=step["hold_seconds"],
            min_samples=step["min_samples"],
            shadow=step.get("shadow", False),
            approval=step.get("approval", False),
            state=step_state(r, index, last.get(index)),
            why=last[index].why if index in last else "",
            gate=live_gate(r, index) or last.get(index),
        )
        for index, step in enumerate(r.steps)
    )


def step_state(r: Rollout, index: int, gate: GateRow | None) -> str:
    phase = Phase(r.phase)
    if gate and gate.verdict == "fail":
        return "failed"
    if index < r.step or phase is Phase.SUCCEEDED:
        return "passed" if gate and gate.verdict == "pass" else "skipped"
    if phase in GOING_BACK or phase in FINAL:
        return "not_reached"
    return "now" if index == r.step and phase in MOVING else "next"


def table_of(
    r: Rollout, steps: Sequence[StepRow], gates: Sequence[GateRow], events: Sequence[Event]
) -> tuple[StepLine, ...]:
    """Empty where the numbers of its plan were not kept."""
    numbers = r.plan.get("numbers", {})
    sizes = sizes_from(r.plan_kind, r.replicas, numbers)
    if sizes is None:
        return ()
    steps_planned = [StepPlan(**step) for step in r.steps]
    lines = planned(sizes, steps_planned, numbers.get("soak_seconds"), audience_of(r))
    was = happened(events, len(steps), sizes.old_replicas)
    phase = Phase(r.phase)
    going = phase not in FINAL and phase not in GOING_BACK
    failed = {g.step + 1 for g in gates if g.verdict == "fail"}  # after the last one: of the soak
    found = []
    for number, line in enumerate(lines):
        told = state_of(number, was, phase, going=going)
        if 0 < number <= len(steps):
            line = judged(line, steps[number - 1], told)
        elif number == len(steps) + 2 and len(steps) + 1 in failed:
            line = replace(line, state="failed")
        else:
            line = replace(line, state=told)
        if kept := was.get(number):
            line = replace(line, begun=kept.begun, ended=kept.ended,
                           new_was=kept.counts.new, old_was=kept.counts.old)  # fmt: skip
        found.append(line)
    return tuple(found)


def judged(line: StepLine, step: StepRow, told: str) -> StepLine:
    """`told`: by the timeline, which knows where it turned round."""
    state = told if step.state == "not_reached" else step.state
    needed = [c for c in step.gate.checks if c["needed"] and not c["group"]] if step.gate else []
    samples = min((c["samples"] for c in needed), default=None)
    return replace(line, state=state, why=step.why, samples=samples)
