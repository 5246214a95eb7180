"""Decide the next move of a rollout. Pure: no database, no cluster, no clock.

People write `wish`, the machine writes everything else. `decide` takes the first answer of
CHECKS, whose order is the policy: what is final stays, an abort wins over everything, an
unreachable cluster is never a failure of the release, and only then the phase's own rule speaks.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from fleet.rules.advance import (
    analyzing,
    awaiting_approval,
    canary_starting,
    canary_verifying,
    promoting,
    shifting,
    validating,
)
from fleet.rules.balance import occupied
from fleet.rules.causes import Fault, Patience, diagnose
from fleet.rules.disturbed import taken_away
from fleet.rules.going_back import begin, going_back
from fleet.rules.moves import Rule, ended_as, final, stay, waited, watch
from fleet.rules.phases import (
    BEFORE_WRITES,
    FINAL,
    GOING_BACK,
    Cause,
    Phase,
    Wish,
    gate_is_open,
)
from fleet.rules.preparing import preparing
from fleet.rules.soaking import soaking
from fleet.rules.state import LATER, NOW, SELDOM, SOON, Decision, Memory, Seen, State
from fleet.rules.step_approval import (
    BY_GATE,
    PAUSED_BY,
    awaiting_step,
    failed_meanwhile,
    onward,
)
from fleet.rules.verify import first_wrong, passed

# Faults that a node or a full cluster causes do not condemn a release that already served.
OWN_FAULTS = frozenset({Cause.CRASH_LOOP, Cause.OUT_OF_MEMORY, Cause.WRONG_ANSWER})
SERVED = frozenset({Phase.SOAKING, Phase.PAUSED, Phase.ANALYZING, Phase.AWAITING_STEP_APPROVAL})
MAY_SERVE = frozenset({Phase.ANALYZING, Phase.AWAITING_STEP_APPROVAL, Phase.PROMOTING})
UNJUDGED = BEFORE_WRITES | GOING_BACK | {Phase.PREPARING}


def decide(state: State, seen: Seen, now: datetime) -> Decision:
    """Return the first answer of CHECKS, with the pods that may take traffic from now on."""
    state = replace(state, memory=remember(state, seen, now))
    for check in CHECKS:
        if decision := check(state, seen, now):
            decision = replace(decision, memory=noted(state, decision))
            return replace(decision, admit=admitted_now(decision, state, seen))
    raise AssertionError("every phase has its rule")


def noted(state: State, decision: Decision) -> Memory:
    """With why it pauses: people decide by that, whatever is waited for meanwhile."""
    if decision.phase is not Phase.PAUSED or state.phase is Phase.PAUSED:
        return decision.memory
    return replace(decision.memory, paused_why=decision.why)


def remember(state: State, seen: Seen, now: datetime) -> Memory:
    """Note when the numbers of replicas last changed: deadlines of starts count from there."""
    if seen.trouble:
        return state.memory
    progress = " ".join(
        f"{s.wanted}/{len(s.live)}/{s.loaded}/{s.serving}/{s.terminating}/{s.queued}"
        for s in (seen.old, seen.new)
    )
    memory = replace(
        measured(state, seen),
        old_serving=seen.old.serving,
        told=state.memory.told or (seen.gateways.version if seen.gateways else 0),
        probes={**state.memory.probes, **{u: p.text for u, p in seen.probes.items()}},
    )
    if seen.prefetch and state.phase is not Phase.PREPARING and not seen.prefetch.found:
        memory = replace(memory, fetched=False)
    if progress == memory.progress:
        return memory
    return replace(memory, progress=progress, progress_at=now.isoformat())


def measured(state: State, seen: Seen) -> Memory:
    """What the plan is compared with afterwards: from the first write on, until the end."""
    memory = state.memory
    if not state.started or state.phase in FINAL:
        return memory
    least = seen.old.serving + seen.new.serving
    if memory.least_serving is not None:
        least = min(least, memory.least_serving)
    most = max(memory.most_gpus, occupied(state, seen))
    return replace(memory, least_serving=least, most_gpus=most)


def admitted_now(decision: Decision, state: State, seen: Seen) -> tuple[str, ...]:
    """A release that is left takes no more replicas into its traffic once it has none."""
    if decision.phase in FINAL or state.phase in BEFORE_WRITES:
        return ()
    weight = decision.want.new.weight if decision.want else state.weight_new
    leaves = decision.phase in GOING_BACK and state.has_old and not weight
    sides = (seen.old,) if leaves else (seen.old, seen.new)
    return tuple(p.uid for side in sides for p in passed(seen.probes, side))


def finished(state: State, seen: Seen, now: datetime) -> Decision | None:
    if state.phase not in FINAL:
        return None
    return final(state, state.phase, state.why)


def abort_asked(state: State, seen: Seen, now: datetime) -> Decision | None:
    """Accepted in every phase, and it wins over a promotion."""
    if state.wish is not Wish.ABORT or state.phase in GOING_BACK:
        return None
    by = f" by {state.wish_by}" if state.wish_by else ""
    why = f"Abort asked{by}" + (f": {state.wish_why}" if state.wish_why else "")
    # A worker that died between write and record leaves an object that nobody noted.
    unwritten = not state.started and not seen.trouble and seen.new.gone
    if state.phase in BEFORE_WRITES or unwritten:
        why += ". Nothing had been written to the cluster"
        phase, why = ended_as(state, Phase.CANCELLED, why)
        return Decision(phase, state.step, why, look_again=None, memory=state.memory)
    return begin(state, seen, now, Cause.OPERATOR, why)


def unreachable(state: State, seen: Seen, now: datetime) -> Decision | None:
    """Keep the phase: that the console cannot see is no fault of the release."""
    if not seen.trouble:
        return None
    why = f"Waits for the cluster, nothing is changed meanwhile. {seen.trouble}"
    return replace(stay(state, why), hindered=True)


def waits_to_go_back(state: State, seen: Seen, now: datetime) -> Decision | None:
    """For nothing but the end of a proposal in its way, of which nothing has begun. The cluster is
    not looked at meanwhile.
    """
    if state.phase is not Phase.PREPARING or not seen.queued:
        return None
    return stay(state, f"Waits. {seen.queued}")


def back(state: State, seen: Seen, now: datetime) -> Decision | None:
    return going_back(state, seen, now) if state.phase in GOING_BACK else None


def wrong_answer(state: State, seen: Seen, now: datetime) -> Decision | None:
    if state.phase in UNJUDGED:
        return None
    probe = first_wrong(seen.probes, seen.new)
    return begin(state, seen, now, Cause.WRONG_ANSWER, probe.text) if probe else None


def faulty(state: State, seen: Seen, now: datetime) -> Decision | None:
    if state.phase in UNJUDGED:
        return None
    patience = Patience(patience_of(state, seen), waited(state, now))
    fault = diagnose(seen.new, state.new, now, patience)
    if fault is None or not condemns(fault, state, seen):
        return None
    return begin(state, seen, now, fault.cause, fault.why)


def condemns(fault: Fault, state: State, seen: Seen) -> bool:
    """A group that broke later condemns as lost replicas do: where the old release does better."""
    if fault.cause is not Cause.LOST_REPLICAS:
        return state.phase not in SERVED or fault.cause in OWN_FAULTS
    phase = state.resume_phase if state.phase is Phase.PAUSED else state.phase
    if phase is Phase.SOAKING:
        return False  # it has its own rule
    return phase not in MAY_SERVE or seen.old.serving > seen.new.serving


def patience_of(state: State, seen: Seen) -> timedelta:
    """While predecessors drain, their whole drain is allowed on top."""
    draining = seen.old.terminating or seen.new.terminating
    return state.patience + (state.drain if draining else NOW)


def pause_asked(state: State, seen: Seen, now: datetime) -> Decision | None:
    if state.wish is not Wish.PAUSE or state.phase in BEFORE_WRITES | {Phase.PAUSED}:
        return None
    by = f" by {state.wish_by}" if state.wish_by else ""
    said = f": {state.wish_why}" if state.wish_why else ""
    why = f"Paused{by} at {state.weight_new} % on {state.new}{said}. Replicas stay as they are"
    memory = replace(state.memory, paused_by="operator")
    return Decision(
        Phase.PAUSED, state.step, why, look_again=LATER, resume_phase=state.phase, memory=memory
    )


def paused(state: State, seen: Seen, now: datetime) -> Decision | None:
    if state.phase is not Phase.PAUSED:
        return None
    by_gate = state.memory.paused_by in BY_GATE
    may_skip = gate_is_open(state.phase, state.resume_phase)
    if may_skip and state.skip_step == state.step and state.memory.paused_by != PAUSED_BY:
        return skipped(state)
    asked = state.wish_at is not None and state.wish_at > state.phase_since
    if state.wish is Wish.RUN and (asked or state.memory.paused_by == "operator"):
        return resumed(state)
    if by_gate and may_skip:
        state, failed = failed_meanwhile(state, seen, now)
        if failed:
            return failed
    if by_gate and now - state.phase_since > state.longest_pause:
        hours = state.longest_pause.total_seconds() / 3600
        why = f"Paused for more than {hours:.0f} h and nobody decided. {paused_why(state)}"
        return begin(state, seen, now, Cause.GATE_FAILED, why)
    return watch(state, paused_why(state), now - state.phase_since, SELDOM)


def paused_why(state: State) -> str:
    return state.memory.paused_why or state.why


def resumed(state: State) -> Decision:
    phase = state.resume_phase or Phase.ANALYZING
    by = f" by {state.wish_by}" if state.wish_by else ""
    memory = replace(state.memory, paused_by="", extended=False)
    return Decision(phase, state.step, f"Resumed{by}", look_again=NOW, memory=memory)


def gate_skipped(state: State, seen: Seen, now: datetime) -> Decision | None:
    """A person answers for this step's gate; all other checks stay in force."""
    if state.phase is Phase.ANALYZING and state.skip_step == state.step:
        return skipped(state)
    return None


def skipped(state: State) -> Decision:
    why = f"The gate of step {state.step + 1} was skipped by {state.skip_by}"
    state = replace(state, memory=replace(state.memory, paused_by="", extended=False, gate={}))
    return replace(onward(state, why, {"skipped_by": state.skip_by}), look_again=SOON)


def out_of_time(state: State, seen: Seen, now: datetime) -> Decision | None:
    """An approval for a stated time is no approval for another one."""
    begins = state.begins
    approved = state.phase is Phase.AWAITING_APPROVAL and state.approval.state in ("", "approved")
    if begins is None or not approved or seen.moved:
        return None
    if begins.is_over(now):
        waited_for = (
            f" It waited. {seen.frozen or seen.queued}" if seen.frozen or seen.queued else ""
        )
        why = f"It was approved to begin {begins.words}, and had not.{waited_for}"
        return final(state, Phase.EXPIRED, f"{why} Nothing was written: propose it again")
    if begins.is_early(now):
        return replace(
            stay(state, f"Approved, and begins {begins.words}"), look_again=begins.wait(now)
        )
    return None


def held_back(state: State, seen: Seen, now: datetime) -> Decision | None:
    """Only beginnings wait, for the calendar and for their turn: what moves goes on."""
    begins = state.phase is Phase.AWAITING_APPROVAL and state.approval.state in ("", "approved")
    why = seen.frozen or seen.queued
    if not begins or not why or seen.moved:
        return None
    return stay(state, f"Approved, and waits. {why}")


RULES: dict[Phase, Rule] = {
    Phase.VALIDATING: validating,
    Phase.AWAITING_APPROVAL: awaiting_approval,
    Phase.PREPARING: preparing,
    Phase.CANARY_STARTING: canary_starting,
    Phase.CANARY_VERIFYING: canary_verifying,
    Phase.SHIFTING: shifting,
    Phase.ANALYZING: analyzing,
    Phase.AWAITING_STEP_APPROVAL: awaiting_step,
    Phase.PROMOTING: promoting,
    Phase.SOAKING: soaking,
}


def by_phase(state: State, seen: Seen, now: datetime) -> Decision | None:
    return RULES[state.phase](state, seen, now)


CHECKS: tuple[Callable[[State, Seen, datetime], Decision | None], ...] = (
    finished,
    abort_asked,
    unreachable,
    waits_to_go_back,
    back,
    taken_away,
    wrong_answer,
    faulty,
    pause_asked,
    paused,
    gate_skipped,
    out_of_time,
    held_back,
    by_phase,
)
