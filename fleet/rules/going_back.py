"""The way back: traffic first, then capacity, then the new release goes. Needs nobody's consent.

It asks for no approval, gate, registry or statistics, so that it works while those are down.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from fleet.rules.balance import backward, counts_of, tally, weights_back
from fleet.rules.causes import Patience, diagnose, progress_of
from fleet.rules.groups import is_worker
from fleet.rules.moves import ended_as, scale, seconds, shift, stay, waited, want_of
from fleet.rules.phases import Cause, Phase
from fleet.rules.settling import quiet, settled
from fleet.rules.state import KEEP, NOW, SOON, Decision, Place, Seen, State, Want, moment

LEARN = timedelta(seconds=15)  # the observer sees old replicas that came; not waited for longer


def begin(state: State, seen: Seen, now: datetime, cause: Cause, why: str) -> Decision:
    """Traffic goes back in this very pass; replicas follow in the next ones."""
    at = now.isoformat()
    memory = replace(state.memory, back_since=at, shifted_at=at, told=0, reason=why)
    state = replace(state, memory=memory, cause=cause)
    decision = Decision(Phase.ABORTING, state.step, why, look_again=NOW, cause=cause, memory=memory)
    if seen.trouble:
        return replace(decision, want=blind_traffic(state))
    weights = weights_back(state, seen, at_any_price=at_any_price(state))
    return replace(decision, want=want_of(state, counts_of(seen), *weights))


def blind_traffic(state: State) -> Want | None:
    """The cluster cannot be asked, gateways still have its pods: traffic can go back already."""
    if not state.has_old or state.memory.old_serving < state.old_replicas:
        return None
    return Want(old=Place(KEEP, 100), new=Place(KEEP, 0))


def at_any_price(state: State) -> bool:
    """Wrong answers are worse than none."""
    return state.cause is Cause.WRONG_ANSWER


def going_back(state: State, seen: Seen, now: datetime) -> Decision:
    """One move back. Blocked means: a person is called, and the same moves go on."""
    state = replace(state, phase=phase_back(state, seen, now))
    if state.gives_way and state.phase is Phase.ROLLBACK_BLOCKED:
        return give_way(state, seen, now)
    decision = next_move(state, seen, now)
    if decision.phase is not Phase.ROLLBACK_BLOCKED:
        return decision
    return replace(decision, why=f"{blocked_because(state, seen, now)} {decision.why}")


def next_move(state: State, seen: Seen, now: datetime) -> Decision:
    weights = weights_back(state, seen, at_any_price=at_any_price(state))
    if weights != (state.weight_old, state.weight_new):
        if seen.unrouted(seen.old) and waited(state, now) < LEARN:
            why = f"Replicas of {state.old} answer, gateways do not know them yet"
            return replace(stay(state, why), look_again=SOON)
        return shift(state, seen, weights, f"{weights[0]} % of the traffic on {state.old}", now)
    counts = backward(state, seen, at_any_price=at_any_price(state))
    if counts != counts_of(seen):
        told = settled(state, seen, now)
        shrinks = counts.new < seen.new.wanted and seen.new.serving > 0
        if shrinks and not told.done:
            return replace(stay(state, told.why), look_again=SOON)
        why = back_text(state, seen, counts.old, counts.new)
        return scale(state, counts, f"{why}. {told.why}" if shrinks and told.why else why)
    if state.has_old and seen.old.serving < state.old_replicas:
        torn = seen.new.parts and not seen.new.exists  # one of its roles is gone already
        if torn or seen.new.uneven or seen.old.uneven:  # what is too many holds GPUs
            return scale(state, counts, "Prefill and decode are made even")
        return stay(state, f"{state.old}: {tally(seen.old)} ({progress_of(seen.old)})")
    return removed(state, seen, now)


def phase_back(state: State, seen: Seen, now: datetime) -> Phase:
    """Blocked once the deadline of the way back is over or the old release has a fault."""
    since = moment(state.memory.back_since) or state.phase_since
    missing = max(state.old_replicas - seen.old.serving, 1) if state.has_old else 1
    late = now - since > missing * state.back_deadline + 2 * state.drain
    return Phase.ROLLBACK_BLOCKED if late or old_fault(state, seen, now) else Phase.ROLLING_BACK


def old_fault(state: State, seen: Seen, now: datetime) -> str:
    if not state.has_old or seen.old.serving >= state.old_replicas:
        return ""
    draining = seen.old.terminating or seen.new.terminating
    patience = Patience(state.patience + (state.drain if draining else NOW))
    fault = diagnose(seen.old, state.old, now, patience)
    return fault.why if fault else ""


def blocked_because(state: State, seen: Seen, now: datetime) -> str:
    since = moment(state.memory.back_since) or state.phase_since
    fault = old_fault(state, seen, now)
    return f"Blocked, trying on: {fault or f'not back after {seconds(now - since)}'}."


def removed(state: State, seen: Seen, now: datetime) -> Decision:
    """Old answers in full: the new release goes. Its absence, proof of who answers and a window
    without a request to the new one end the rollout."""
    if not seen.new.gone or state.declared_new:  # what is declared would be made again
        old = Place(seen.old.wanted, state.weight_old) if state.has_old else Place(None, 0)
        want = Want(old=old, new=Place(None, 0))
        text = f"{state.new} is removed: {len(seen.new.pods)} pods left"
        return replace(stay(state, text), want=want, look_again=SOON)
    if state.has_old and state.declared_old != seen.old.wanted:
        # While somebody else's number was there, theirs was noted: what serves is declared.
        want = Want(old=Place(seen.old.wanted, state.weight_old), new=Place(None, 0))
        text = f"{state.old} is declared with the {seen.old.wanted} replicas that it has"
        return replace(stay(state, text), want=want, look_again=SOON)
    asked = [p for p in seen.old.live if not is_worker(p.role)]
    unproved = [p for p in asked if not ((f := seen.probes.get(p.uid)) and f.ok)]
    if state.has_old and unproved:
        words = "; ".join(f.text for p in unproved if (f := seen.probes.get(p.uid)) and not f.ok)
        return replace(stay(state, f"Asks {state.old} who it is. {words}".strip()), look_again=SOON)
    silence = quiet(state, seen, now)
    if not silence.done:
        return replace(stay(state, silence.why), look_again=SOON)
    phase, text = ended_as(state, Phase.ROLLED_BACK, end_text(state, seen, silence.why))
    return replace(stay(state, text), phase=phase, look_again=None)


def give_way(state: State, seen: Seen, now: datetime) -> Decision:
    """The old release does not come back, and people approved another one in place of both.

    The new one goes, whatever it still answers. What stays is the old release as declared: from
    there the next rollout begins.
    """
    because = f"{blocked_because(state, seen, now)} Makes way for {state.superseded_by}"
    old = Place(state.old_replicas, 100) if state.has_old else Place(None, 0)
    if (state.weight_old, state.weight_new) != (old.weight, 0):
        why = f"{because}: no traffic goes to {state.new} any more"
        return shift(state, seen, (old.weight, 0), why, now)
    told = settled(state, seen, now)
    if seen.new.serving and not told.done:
        return replace(stay(state, f"{because}. {told.why}"), look_again=SOON)
    if not seen.new.gone or state.declared_new:
        want = Want(old=Place(seen.old.wanted, old.weight) if state.has_old else old,
                    new=Place(None, 0))  # fmt: skip
        why = f"{because}: {state.new} is removed, {len(seen.new.pods)} pods left"
        return replace(stay(state, why), want=want, look_again=SOON)
    if state.has_old and (seen.old.wanted, state.declared_old) != (state.old_replicas,) * 2:
        why = f"{because}: {state.old} is declared with {state.old_replicas} replicas as before"
        return replace(stay(state, why), want=Want(old=old, new=Place(None, 0)), look_again=SOON)
    phase, why = ended_as(state, Phase.SUPERSEDED, f"{state.old} did not come back")
    return replace(stay(state, why), phase=phase, look_again=None)


def end_text(state: State, seen: Seen, silence: str) -> str:
    reason = f"Cause: {state.memory.reason}" if state.memory.reason else ""
    if not state.has_old:
        return f"Taken away; nothing served before. {reason}".strip()
    proved = f"{seen.old.alive} of {state.old_replicas} replicas of {state.old} answer"
    gone = f"{state.new} is gone, {silence}"
    return f"Back on {state.old}: {proved} by fingerprint, {gone}. {reason}".strip()


def back_text(state: State, seen: Seen, old: int, new: int) -> str:
    parts = []
    if old != seen.old.wanted:
        parts.append(f"{state.old} to {old} replicas")
    if new != seen.new.wanted:
        parts.append(f"{state.new} to {new} replicas")
    return " and ".join(parts) or "Nothing to change"
