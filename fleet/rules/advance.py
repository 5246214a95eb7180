"""The way forward: one rule a phase. Each makes one move, or says what it waits for."""

from dataclasses import replace
from datetime import datetime, timedelta

from fleet.rules.balance import (
    Counts,
    counts_of,
    forward,
    kept_old,
    new_goal,
    tally,
    weights_promoting,
)
from fleet.rules.causes import progress_of
from fleet.rules.comparison import Window
from fleet.rules.contract.verifying import contract_kept, contract_open
from fleet.rules.gates import Look, Reading, Share, copied, read_gate, share_of
from fleet.rules.going_back import begin
from fleet.rules.moves import (
    enter,
    failed_because,
    final,
    scale,
    seconds,
    shift,
    stay,
    waited,
    watch,
)
from fleet.rules.phases import Cause, Phase, Verdict
from fleet.rules.settling import settled
from fleet.rules.soak_gate import baseline_of
from fleet.rules.state import LATER, NOW, SOON, Decision, Memory, Seen, State, moment
from fleet.rules.step_approval import onward
from fleet.rules.verify import passed

VERIFY = timedelta(seconds=120)  # a loaded replica must answer by then
SILENCE = 1400  # answers times percent: so many without one of the canary are no chance (1e-6)
CONFIRM = timedelta(seconds=90)  # answers must show the new share by then
EXTENSION = timedelta(seconds=30)  # of a gate, on top of a second hold


def validating(state: State, seen: Seen, now: datetime) -> Decision | None:
    if seen.dry_run is None:
        return stay(state, "Waits for the server's dry run of the manifests")
    if seen.dry_run:
        return final(state, Phase.REJECTED, f"Refused by the dry run: {seen.dry_run}")
    return enter(state, Phase.AWAITING_APPROVAL, "The server's dry run of all objects passed")


def awaiting_approval(state: State, seen: Seen, now: datetime) -> Decision | None:
    approval = state.approval
    if approval.state in ("", "approved"):
        if seen.moved:
            return final(state, Phase.REJECTED, seen.moved)
        by = f"Approved by {approval.by}" if approval.by else "No approval needed"
        return enter(state, Phase.PREPARING, by + (f": {approval.why}" if approval.why else ""))
    ends = {
        "rejected": (Phase.REJECTED, f"Rejected by {approval.by}: {approval.why}"),
        "expired": (Phase.EXPIRED, "Nobody decided in time: propose it again"),
        "withdrawn": (Phase.CANCELLED, f"Withdrawn before the approval. {approval.why}".strip()),
    }
    if approval.state in ends:
        return final(state, *ends[approval.state])
    return stay(state, "Waits for an approval by somebody else than who proposed it")


def canary_starting(state: State, seen: Seen, now: datetime) -> Decision | None:
    goal = min(state.together, state.replicas) if state.has_old else state.replicas
    counts = forward(state, seen, goal)
    if counts != counts_of(seen):
        return scale(state, counts, move_text(state, seen, counts))
    if seen.new.loaded >= goal and seen.new.alive >= goal:
        why = f"{goal} of {goal} replicas of {state.new} loaded their model"
        return enter(state, Phase.CANARY_VERIFYING, why)
    return waiting_for_start(state, seen, now, goal)


def waiting_for_start(state: State, seen: Seen, now: datetime, goal: int) -> Decision:
    if seen.new.queued and waited(state, now) < state.longest_pause:
        return in_queue(state, seen, goal)
    deadline = state.start_deadline + (state.drain if seen.old.terminating else NOW)
    late = waited(state, now) > deadline
    if late:
        why = (
            f"{state.new} never became ready: {seen.new.loaded} of {goal} replicas loaded after"
            f" {seconds(deadline)} ({progress_of(seen.new)})"
        )
        return begin(state, seen, now, Cause.NEVER_READY, why)
    draining = f"{seen.old.terminating} of {state.old} drain, " if seen.old.terminating else ""
    why = (
        f"{seen.new.loaded} of {goal} replicas of {state.new} loaded: {draining}"
        f"{progress_of(seen.new)}. Deadline {seconds(deadline)} without progress"
    )
    return stay(state, why)


def in_queue(state: State, seen: Seen, goal: int) -> Decision:
    """Kueue lets replicas in one after the other: no fault of the release, and no start yet."""
    hours = state.longest_pause.total_seconds() / 3600
    why = (
        f"{seen.new.queued} of {goal} replicas of {state.new} wait for the queue:"
        f" {progress_of(seen.new)}. Goes back by itself after {hours:.0f} h without progress"
    )
    return stay(state, why)


def canary_verifying(state: State, seen: Seen, now: datetime) -> Decision | None:
    wanted = seen.new.wanted
    if seen.new.serving >= wanted > 0:
        onward = verified(state, seen)
        return contract_open(state, seen, now, VERIFY) or contract_kept(state, seen, onward)
    if seen.new.loaded < wanted:
        return waiting_for_start(state, seen, now, wanted)
    return unanswered(state, seen, now) or replace(
        stay(state, f"{seen.new.serving} of {wanted} replicas of {state.new} verified"),
        look_again=SOON,
    )


def verified(state: State, seen: Seen) -> Decision:
    # Nothing is left to compare with where the only old replica gave its GPUs.
    compared = state.steps and seen.old.wanted
    following = Phase.SHIFTING if compared else Phase.PROMOTING
    words = [state.memory.probes.get(p.uid, "") for p in seen.new.live]
    why = f"Verified by probes: {'; '.join(w for w in words if w)}"
    return enter(state, following, why, step=0)


def unanswered(state: State, seen: Seen, now: datetime) -> Decision | None:
    """One that answers is admitted in this pass: that the cluster refuses that is no silence."""
    if waited(state, now) < VERIFY or passed(seen.probes, seen.new):
        return None
    words = "; ".join(p.text for p in seen.probes.values() if not p.ok)
    why = f"{state.new} is loaded and does not answer for {seconds(VERIFY)}: {words}"
    return begin(state, seen, now, Cause.NEVER_READY, why)


def grow(state: State, seen: Seen, now: datetime, goal: int) -> Decision | None:
    """Replicas before traffic. None: the goal is reached and all of it answers."""
    counts = forward(state, seen, goal)
    if counts != counts_of(seen):
        return scale(state, counts, move_text(state, seen, counts))
    if seen.new.serving >= goal:
        return None
    if seen.new.loaded >= seen.new.wanted:
        verifies = replace(stay(state, f"Verifies {state.new}"), look_again=SOON)
        return unanswered(state, seen, now) or verifies
    return waiting_for_start(state, seen, now, goal)


def unknown_to_gateways(state: State, seen: Seen) -> Decision | None:
    """Addresses before weight: traffic sent to a release without endpoints would be refused.

    The bell that tells gateways of new addresses can be lost with its worker, so a weight may
    only be written where any later publication holds both.
    """
    missing = seen.unrouted(seen.new)
    if not missing:
        return None
    why = (
        f"{missing} of {seen.new.serving} verified replicas of {state.new} are not known to"
        " gateways yet: the observer looks every 3 s"
    )
    return replace(stay(state, why), look_again=SOON, hindered=True)


def shifting(state: State, seen: Seen, now: datetime) -> Decision | None:
    """Replicas first, then the weight, then the proof from answers."""
    if decision := grow(state, seen, now, new_goal(state)):
        return decision
    if state.has_old and not state.declared_old:
        return nothing_to_compare(state)
    percent = 100 if seen.old.serving == 0 and not state.shadow else state.percent
    since = moment(state.memory.shifted_at)
    if state.weight_new != percent or since is None:
        if decision := unknown_to_gateways(state, seen):
            return decision
        return shift(state, seen, (100 - percent, percent), shift_text(state, percent), now)
    if state.shadow:
        return mirroring(state, seen, now - since)
    return proving(state, seen, now, percent, now - since)


def nothing_to_compare(state: State) -> Decision:
    """The last old replica gave its GPUs before the last step: gates would wait for ever."""
    why = f"Nothing of {state.old} is left to compare with: its GPUs went to {state.new}"
    memory = replace(state.memory, shifted_at="", share=None)
    return enter(state, Phase.PROMOTING, why, step=len(state.steps), memory=memory)


def shift_text(state: State, percent: int) -> str:
    if state.shadow:
        return f"Copies of {state.shadow} % of the traffic{state.taking} go to {state.new}"
    return f"{percent} % of the traffic{state.taking} goes to {state.new}"


def proving(state: State, seen: Seen, now: datetime, percent: int, waits: timedelta) -> Decision:
    """Answers must show the new share."""
    share = share_of(seen.window, percent) if seen.window else None
    if share and share.inside:
        why = f"Observed {share.observed:.1%} of {share.requests} answers, wanted {percent} %"
        return analyze(state, why, share.observed)
    if waits < CONFIRM:
        seen_text = f"{share.requests} answers so far" if share else "no statistics yet"
        return stay(state, f"Waits for answers to show {percent} % on {state.new}: {seen_text}")
    if share and not share.observed and share.requests >= SILENCE / max(percent, 1):
        why = (
            f"Traffic did not follow: none of {share.requests} answers came from {state.new},"
            f" wanted {percent} % for {seconds(waits)}"
        )
        return begin(state, seen, now, Cause.NOT_SHIFTED, why)
    return analyze(state, uneven(share, percent, waits), share.observed if share else None)


def mirroring(state: State, seen: Seen, waits: timedelta) -> Decision:
    """Wait for answers to copies; where none come, the gate says how many are missing."""
    share = copied(seen.window, state.shadow) if seen.window else None
    if share and share.inside:
        why = (
            f"{state.new} answered copies of {share.observed:.1%} of {share.requests} requests,"
            f" wanted {state.shadow} %. No client sees them"
        )
    elif waits < CONFIRM:
        answers = f"{share.requests} requests so far" if share else "no statistics yet"
        return stay(state, f"Waits for {state.new} to answer copies of requests: {answers}")
    else:
        why = f"Too few copies were answered in {seconds(waits)} to prove that they arrive"
    return analyze(state, why, share.observed if share else None)


def uneven(share: Share | None, percent: int, waits: timedelta) -> str:
    """Conversations stay where they are, so few of them divide unevenly."""
    if share is None or share.observed is None:
        return f"No answers in {seconds(waits)} to prove the share"
    return (
        f"Observed {share.observed:.1%} of {share.requests} answers in {seconds(waits)}, wanted"
        f" {percent} %: few conversations divide unevenly"
    )


def analyze(state: State, why: str, share: float | None) -> Decision:
    memory = replace(state.memory, share=share, extended=False, gate={}, looks=0, looked=0.0)
    return enter(state, Phase.ANALYZING, why, memory=memory)


def analyzing(state: State, seen: Seen, now: datetime) -> Decision | None:
    if not state.shadow and state.weight_new > state.percent and seen.old.serving:
        return compare_again(state)
    step = state.steps[state.step]
    hold = timedelta(seconds=step.hold_seconds)
    held = now - state.phase_since
    if seen.window is None or seen.window.late:
        return without_statistics(state, seen.window, held, hold)
    look = look_of(state.memory, seen.window, held, hold, len(state.steps))
    reading = read_gate(seen.window, step.min_samples, state.limits, look)
    memory = remembered(state.memory, reading, seen.window, over=held >= hold)
    state = replace(state, memory=memory)
    if reading.verdict is Verdict.FAIL:
        why = f"Gate of step {state.step + 1} {step.words} failed: {failed_because(reading)}"
        return replace(begin(state, seen, now, Cause.GATE_FAILED, why), reading=reading)
    if held < hold:
        why = f"Step {state.step + 1} holds {step.words} for {seconds(hold - held)} more"
        return watch(state, f"{why}. {reading.why}", held, hold - held)
    if reading.verdict is Verdict.PASS:
        return replace(step_passed(state, seen, reading), reading=reading)
    # Extend the step once rather than pass or stop: samples may only be late.
    if held < 2 * hold + EXTENSION:
        return stay(state, f"Step {state.step + 1} is extended. {reading.why}")
    return replace(stopped(state, f"Gate inconclusive: {reading.why}"), reading=reading)


def compare_again(state: State) -> Decision:
    """All traffic had gone to the new release while nothing of the old one answered."""
    why = f"{state.old} answers again: {state.percent} % of the traffic is what the step compares"
    memory = replace(state.memory, shifted_at="", share=None)
    return enter(state, Phase.SHIFTING, why, memory=memory)


def look_of(memory: Memory, window: Window, held: timedelta, hold: timedelta, gates: int) -> Look:
    """Each look may give a false alarm, so there are few: when the window has doubled, at the end
    of the hold, and at the end of its extension.
    """
    doubled = window.seconds >= 2 * memory.looked
    ends = (held >= hold and not memory.extended) or held >= 2 * hold + EXTENSION
    is_due = window.seconds > memory.looked and (doubled or ends)
    return Look(memory.looks + 1, gates, is_due)


def remembered(memory: Memory, reading: Reading, window: Window, *, over: bool) -> Memory:
    memory = replace(memory, gate=reading.as_json(), extended=memory.extended or over)
    if not reading.look.is_due:
        return memory
    return replace(memory, looks=reading.look.number, looked=window.seconds)


def without_statistics(
    state: State, window: Window | None, held: timedelta, hold: timedelta
) -> Decision:
    """Broken monitoring does not make a release bad, and it is no pass either."""
    trouble = window.late if window else "The traffic statistics cannot be read"
    if held < hold + EXTENSION:
        return stay(state, f"{trouble}, trying again")
    decision = stopped(state, f"The gate cannot be judged. {trouble}")
    if window is None:
        return decision
    reading = Reading(Verdict.ERROR, trouble, (), window.start, window.end, sources=window.sources)
    return replace(decision, reading=reading)


def stopped(state: State, why: str) -> Decision:
    memory = replace(state.memory, paused_by="gate")
    hours = state.longest_pause.total_seconds() / 3600
    text = (
        f"{why}. Resume to measure again, skip the gate, or abort; aborts itself in {hours:.0f} h"
    )
    return Decision(
        Phase.PAUSED,
        state.step,
        text,
        look_again=LATER,
        resume_phase=Phase.ANALYZING,
        memory=memory,
    )


def step_passed(state: State, seen: Seen, reading: Reading) -> Decision:
    assert seen.window is not None  # it was judged
    # A shadow's gate too: the stable release's own requests are the same.
    baseline = baseline_of(seen.window, state.limits)
    state = replace(state, memory=replace(state.memory, baseline=baseline))
    why = f"Gate of step {state.step + 1} passed. {reading.why}"
    return onward(state, why, {"gate": reading.as_json()})


def promoting(state: State, seen: Seen, now: datetime) -> Decision | None:
    """All replicas of the new release answer before the last old ones stop."""
    weights = weights_promoting(state, seen)
    if decision := unknown_to_gateways(state, seen):
        return decision
    if seen.new.serving and weights != (state.weight_old, state.weight_new):
        why = f"{weights[1]} % of the traffic goes to {state.new}: {tally(seen.new)}"
        return shift(state, seen, weights, why, now)
    if decision := grow(state, seen, now, state.replicas):
        return decision
    told = settled(state, seen, now)
    if state.has_old and not told.done:
        return replace(stay(state, told.why), look_again=SOON)
    keep = kept_old(state)
    if state.has_old and seen.old.wanted > keep:
        why = f"{state.new} carries everything: {state.old} shrinks to {keep}. {told.why}".strip()
        return scale(state, Counts(keep, state.replicas), why)
    why = f"{state.replicas} of {state.replicas} replicas of {state.new} carry all traffic"
    memory = replace(state.memory, looks=0, looked=0.0, gate={})
    text = f"{why}, watched for {seconds(state.soak)}"
    return enter(state, Phase.SOAKING, text, memory=memory)


def move_text(state: State, seen: Seen, counts: Counts) -> str:
    """Say which numbers change."""
    parts = []
    if counts.new != seen.new.wanted:
        parts.append(f"{state.new} to {counts.new} replicas")
    if counts.old != seen.old.wanted:
        parts.append(f"{state.old} to {counts.old} replicas, its GPUs go to {state.new}")
    return " and ".join(parts)
