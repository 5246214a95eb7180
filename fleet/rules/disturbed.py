"""What somebody took away by hand while a rollout is open: made again, or told as theirs. Pure."""

from dataclasses import replace
from datetime import datetime

from fleet.rules.moves import stay
from fleet.rules.phases import Phase
from fleet.rules.state import SOON, Decision, Place, Seen, State, Want

# Elsewhere the phase's own rule counts replicas with each pass.
STEADY = frozenset(
    {Phase.CANARY_VERIFYING, Phase.SHIFTING, Phase.ANALYZING, Phase.PAUSED, Phase.PROMOTING,
     Phase.SOAKING}
)  # fmt: skip


def taken_away(state: State, seen: Seen, now: datetime) -> Decision | None:
    """Apply what is declared. Where another manager owns the number now, that names it."""
    if state.phase not in STEADY:
        return None
    words = [*lost_new(state, seen), *lost_old(state, seen, now)]
    if not words:
        return None
    want = Want(
        old=Place(max(state.declared_old, seen.old.wanted), state.weight_old)
        if state.has_old
        else Place(None, 0),
        new=Place(max(state.declared_new, seen.new.wanted), state.weight_new),
    )
    decision = replace(stay(state, " and ".join(words)), want=want, look_again=SOON)
    if state.phase is not Phase.ANALYZING or not lost_new(state, seen):
        return decision
    # What its gate has counted was answered by replicas that are gone: the step begins anew.
    memory = replace(state.memory, shifted_at="")
    return replace(decision, phase=Phase.SHIFTING, memory=memory)


def lost_new(state: State, seen: Seen) -> list[str]:
    if seen.new.wanted >= state.declared_new:
        return []
    if not seen.new.exists:
        return [f"Somebody deleted {state.new} in the cluster: it is made again"]
    return [f"Somebody scaled {state.new} to {seen.new.wanted}: {state.declared_new} are declared"]


def lost_old(state: State, seen: Seen, now: datetime) -> list[str]:
    """Another number of old replicas may be an autoscaler's own. After the soak it goes anyway."""
    soaked = state.phase is Phase.SOAKING and now >= state.phase_since + state.soak
    if seen.old.exists or not state.declared_old or soaked:
        return []
    return [f"Somebody deleted {state.old} in the cluster: it is made again"]
