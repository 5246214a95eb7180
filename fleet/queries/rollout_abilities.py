"""What may be asked of a rollout as it stands."""

from dataclasses import dataclass

from fleet.models import Rollout
from fleet.rules.phases import BEFORE_WRITES, FINAL, GOING_BACK, Phase, Wish, gate_is_open


@dataclass(frozen=True, slots=True)
class Abilities:
    """What may be asked of the rollout in its present state; the viewer's rights come on top."""

    pause: bool
    resume: bool
    abort: bool
    skip_gate: bool
    roll_back: bool
    close: bool


def abilities_of(r: Rollout) -> Abilities:
    phase = Phase(r.phase)
    is_open = phase not in FINAL
    back = phase in GOING_BACK or r.wish == Wish.ABORT
    resume = Phase(r.resume_phase) if r.resume_phase else None
    paused = r.wish == Wish.PAUSE or phase is Phase.PAUSED
    current = r.service.current_release_id == r.to_release_id
    return Abilities(
        pause=is_open and not back and not paused and phase not in BEFORE_WRITES,
        resume=is_open and not back and paused,
        abort=is_open and not back,
        skip_gate=not back and gate_is_open(phase, resume),
        roll_back=phase is Phase.SUCCEEDED and current and r.from_release_id is not None,
        close=phase is Phase.ROLLED_BACK and r.closed_at is None,
    )
