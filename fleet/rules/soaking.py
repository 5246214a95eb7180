"""The soak: all traffic is on the new release, the old one stays warm where the plan keeps it."""

from dataclasses import replace
from datetime import datetime, timedelta

from fleet.rules.balance import tally
from fleet.rules.causes import broken_group
from fleet.rules.gates import Look
from fleet.rules.going_back import begin
from fleet.rules.moves import final, seconds, stay, watch
from fleet.rules.phases import Cause, Phase, Verdict
from fleet.rules.soak_gate import is_due, read_soak
from fleet.rules.state import LATER, SOON, Decision, Place, Seen, State, Want, moment

LOST = timedelta(seconds=60)  # replicas may be missing so long during the soak


def soaking(state: State, seen: Seen, now: datetime) -> Decision | None:
    state, failed = soak_gate(state, seen, now)
    if decision := failed or lost_replicas(state, seen, now):
        return decision
    left = state.phase_since + state.soak - now
    if left > timedelta(0):
        keep = f", {state.old} keeps {seen.old.wanted} replicas" if state.has_old else ""
        memory = replace(state.memory, lost_since="")
        why = f"Watched for {seconds(left)} more{keep}"
        why += f". {state.memory.soaked}" if state.memory.soaked else ""
        return watch(state, why, now - state.phase_since, left, memory=memory)
    if unjudged := unjudged_because(state, seen):
        if is_overdue(state, now):
            return unproved(state, f"The soak cannot be judged. {unjudged}")
        return stay(state, f"Soaked, and not judged to its end. {unjudged}, trying again")
    if state.has_old and (not seen.old.gone or state.declared_old):
        want = Want(old=Place(None, 0), new=Place(state.replicas, 100))
        why = f"Soaked. {state.old} is removed: {len(seen.old.pods)} pods left"
        return replace(stay(state, why), want=want, look_again=SOON)
    return final(state, Phase.SUCCEEDED, f"{state.new} serves: {tally(seen.new)}")


def is_overdue(state: State, now: datetime) -> bool:
    return now - state.phase_since > state.soak + 10 * LOST


def unjudged_because(state: State, seen: Seen) -> str:
    """Asked before warm replicas go. A way back has no soak, and depends on no statistics."""
    if not (state.soak and state.declared_old):
        return ""
    if seen.window is None:
        return "The traffic statistics cannot be read"
    return seen.window.late


def unproved(state: State, why: str) -> Decision:
    """No success, and no failure that anybody saw: a person is called."""
    hours = state.longest_pause.total_seconds() / 3600
    text = f"{why}. Resume to soak again, or abort; aborts itself in {hours:.0f} h"
    memory = replace(state.memory, paused_by="gate")
    return Decision(Phase.PAUSED, state.step, text, look_again=LATER,
                    resume_phase=Phase.SOAKING, memory=memory)  # fmt: skip


def lost_replicas(state: State, seen: Seen, now: datetime) -> Decision | None:
    """Goes back only where the old release could do better: it needs warm replicas."""
    if seen.new.serving >= state.replicas:
        return None
    if is_overdue(state, now):
        text = f"{state.new} has no replica that answers"
        return None if seen.new.serving else unproved(state, text)
    since = moment(state.memory.lost_since)
    if since is None:
        memory = replace(state.memory, lost_since=now.isoformat())
        return stay(state, f"{state.new}: {tally(seen.new)}", memory=memory)
    if now - since < LOST or seen.old.serving <= seen.new.serving:
        return stay(state, f"{state.new} since {seconds(now - since)}: {tally(seen.new)}")
    why = f"{state.new} lost replicas for {seconds(now - since)}: {tally(seen.new)}"
    if fault := broken_group(seen.new, state.new):
        why = f"{why}. {fault.why}"
    return begin(state, seen, now, Cause.LOST_REPLICAS, why)


def soak_gate(state: State, seen: Seen, now: datetime) -> tuple[State, Decision | None]:
    """With the old release as the last gate saw it: it gets no traffic any more."""
    window, memory = seen.window, state.memory
    if window is None or window.late or not is_due(window, memory.looked):
        return state, None
    look = Look(memory.looks + 1)
    reading = read_soak(window, memory.baseline, state.limits, look)
    memory = replace(
        memory, looks=look.number, looked=window.seconds, soaked=reading.why, gate=reading.as_json()
    )
    state = replace(state, memory=memory)
    if reading.verdict is not Verdict.FAIL:
        return state, None
    why = f"During the soak {reading.why}"
    return state, replace(begin(state, seen, now, Cause.GATE_FAILED, why), reading=reading)
