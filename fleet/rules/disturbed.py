"""What somebody took away by hand while a rollout is open: made again, or told as theirs. Pure."""

from dataclasses import replace
from datetime import datetime

from fleet.rules.moves import stay
from fleet.rules.phases import BEFORE_WRITES, FINAL, GOING_BACK, Phase
from fleet.rules.seen import Side
from fleet.rules.state import KEEP, SOON, Decision, Place, Seen, State, Want

# Before, `keep` looks after the old release; on the way back each pass counts replicas anyway.
GOING_ON = frozenset(Phase) - BEFORE_WRITES - GOING_BACK - FINAL


def taken_away(state: State, seen: Seen, now: datetime) -> Decision | None:
    """Apply what is declared. Where another manager owns the number now, that names it."""
    if state.phase not in GOING_ON:
        return None
    new, old = lost_new(state, seen), lost_old(state, seen, now)
    if not new and not old:
        return leaving(state, seen)
    want = Want(
        old=Place(state.declared_old if old else KEEP, state.weight_old),
        new=Place(state.declared_new if new else KEEP, state.weight_new),
    )
    why = " and ".join(words for words in (new, old) if words)
    # What is changed again at each write, by a webhook, is hindered until it is left alone.
    mended = replace(stay(state, why), want=want, look_again=SOON)
    decision = replace(mended, mends=True, hindered=True)
    if state.phase not in (Phase.ANALYZING, Phase.AWAITING_STEP_APPROVAL) or not new:
        return decision
    # What its gate has counted was answered by replicas that are gone: the step begins anew.
    memory = replace(state.memory, shifted_at="")
    return replace(decision, phase=Phase.SHIFTING, memory=memory)


def leaving(state: State, seen: Seen) -> Decision | None:
    """Of an old release whose prefill is gone or drains, decode goes next."""
    if state.declared_old or not seen.old.exists or not seen.old.uneven:
        return None
    want = Want(old=Place(0, state.weight_old), new=Place(KEEP, state.weight_new))
    why = f"{state.old} goes: its prefill first, then its decode"
    return replace(stay(state, why), want=want, look_again=SOON)


def lost_new(state: State, seen: Seen) -> str:
    if seen.new.wanted >= state.declared_new:
        return uneven(state.new, seen.new, state.declared_new)
    if not seen.new.exists:
        return f"Somebody deleted {state.new} in the cluster: it is made again"
    return f"Somebody scaled {state.new} to {seen.new.wanted}: {state.declared_new} are declared"


def lost_old(state: State, seen: Seen, now: datetime) -> str:
    """Another number of old replicas may be an autoscaler's own. After the soak it goes anyway."""
    soaked = state.phase is Phase.SOAKING and now >= state.phase_since + state.soak
    if soaked or not state.declared_old:
        return ""
    if seen.old.exists:
        return uneven(state.old, seen.old, state.declared_old)
    return f"Somebody deleted {state.old} in the cluster: it is made again"


def uneven(label: str, side: Side, declared: int) -> str:
    """A write that was cut in the middle, or somebody's hand: the ratio is what was approved."""
    if not side.uneven:
        return ""
    found = " and ".join(f"{part.pods} pods of {part.name}" for part in side.parts)
    return f"The roles of {label} do not match, {found}: made even, for {declared} replicas"
