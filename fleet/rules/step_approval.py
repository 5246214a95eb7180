"""A step whose plan wants a person's word before it goes on. Pure.

Asked is what was judged: a change request holds the gate's reading, or who skipped it and why, and
its digest. Meanwhile the gate goes on judging within its error rate, for what was good an hour ago
may be bad when somebody decides. No word in time is a pause, never a yes.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from fleet.rules.gates import Look, Reading, read_gate
from fleet.rules.going_back import begin
from fleet.rules.moves import enter, failed_because, watch
from fleet.rules.phases import Cause, Phase, Verdict
from fleet.rules.release import digest_json
from fleet.rules.state import LATER, SOON, Decision, Seen, State

PAUSED_BY = "approval"
BY_GATE = ("gate", PAUSED_BY)  # pauses that a person is called to


def onward(state: State, why: str, judged: Mapping[str, Any]) -> Decision:
    """The step is over: ask for a person's word where its plan wants it, else go on."""
    if not state.steps[state.step].approval:
        return following(state, why)
    asks = {"step": state.step + 1, "words": state.steps[state.step].words, **judged}
    memory = replace(state.memory, judged=digest_json(asks))
    decision = enter(
        state, Phase.AWAITING_STEP_APPROVAL, f"{why}. Asks for approval", memory=memory
    )
    return replace(decision, asks=asks, look_again=SOON)


def following(state: State, why: str) -> Decision:
    step = state.step + 1
    memory = replace(
        state.memory, shifted_at="", share=None, judged="", paused_by="", extended=False
    )
    phase = Phase.SHIFTING if step < len(state.steps) else Phase.PROMOTING
    return enter(state, phase, why, step=step, memory=memory)


def awaiting_step(state: State, seen: Seen, now: datetime) -> Decision | None:
    state, failed = failed_meanwhile(state, seen, now)
    if failed:
        return failed
    said, step = state.step_approval, f"step {state.step + 1}"
    if said.state == "approved" and not state.step_moved:
        why = f"{step.capitalize()} approved by {said.by}" + (f": {said.why}" if said.why else "")
        return following(state, why)
    ends = {
        "approved": f"What was approved is not what was judged of {step}",
        "rejected": f"{step.capitalize()} rejected by {said.by}: {said.why}",
        "expired": f"Nobody approved {step} in time",
        "withdrawn": f"The question about {step} was withdrawn. {said.why}".strip(),
    }
    if said.state in ends:
        return unapproved(state, ends[said.state])
    text = f"{step.capitalize()} {state.steps[state.step].words} waits for an approval"
    so_far = f". {state.memory.gate['why']}" if state.memory.gate else ""
    return watch(state, f"{text} by somebody else than who proposed it{so_far}",
                 now - state.phase_since, LATER)  # fmt: skip


def failed_meanwhile(state: State, seen: Seen, now: datetime) -> tuple[State, Decision | None]:
    """The traffic of a step that waits for a person is judged as before."""
    state, reading = judged_on(state, seen)
    if reading is None or reading.verdict is not Verdict.FAIL:
        return state, None
    waited = "was paused" if state.phase is Phase.PAUSED else "waited for approval"
    words = state.steps[state.step].words
    why = f"While step {state.step + 1} {words} {waited}: {failed_because(reading)}"
    return state, replace(begin(state, seen, now, Cause.GATE_FAILED, why), reading=reading)


def judged_on(state: State, seen: Seen) -> tuple[State, Reading | None]:
    """Looks go on when the window has doubled: all of them together keep the gate's error rate."""
    window = seen.window
    if window is None or window.late or state.skip_step == state.step:
        return state, None
    step, memory = state.steps[state.step], state.memory
    is_due = window.seconds >= 2 * memory.looked > 0
    look = Look(memory.looks + 1, len(state.steps), is_due)
    reading = read_gate(window, step.min_samples, state.limits, look)
    if is_due:
        memory = replace(memory, looks=look.number, looked=window.seconds)
    return replace(state, memory=replace(memory, gate=reading.as_json())), reading


def unapproved(state: State, why: str) -> Decision:
    hours = state.longest_pause.total_seconds() / 3600
    text = f"{why}. Resume to measure and to ask again, or abort; aborts itself in {hours:.0f} h"
    memory = replace(state.memory, paused_by=PAUSED_BY, judged="")
    return Decision(
        Phase.PAUSED,
        state.step,
        text,
        look_again=LATER,
        resume_phase=Phase.ANALYZING,
        memory=memory,
    )
