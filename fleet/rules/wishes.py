"""What people may wish of something that moves and that the machine drives. Pure.

A wish stands beside the phase: people write the one, the machine the other. Every kind of move
knows two wishes, to hold everything (`PAUSE`) and to go on (`RUN`), and has its own for an end.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from fleet.rules import phases, sequence

PAUSE, RUN = "pause", "run"


@dataclass(frozen=True, slots=True)
class Manner:
    """How one kind of move takes wishes.

    `verbs`: of the audit, by wish. `end`: the wish that is taken before anything moves. `back`: the
    wish that leads back; once it is written, or the phase is one of `going_back`, the way back is
    neither held nor left. `unmoved`: phases in which nothing moves yet; of the wishes `too_early`
    none is taken in them.
    """

    verbs: Mapping[str, str]
    end: str
    back: str
    too_early: Collection[str]
    final: Collection[str]
    unmoved: Collection[str]
    going_back: Collection[str]
    paused: str  # the phase


def refuse_wish(manner: Manner, name: str, phase: str, wish: str, wanted: str) -> str:
    """A sentence, or nothing. `name` is of what moves; `wish` is what was wished before."""
    if phase in manner.final:
        return f"{name} has ended as {phase}: nothing can be asked of it any more"
    if (phase in manner.going_back or wish == manner.back) and wanted in (PAUSE, RUN):
        return f"{name} is going back: that is neither paused nor undone"
    if phase in manner.unmoved and wanted in manner.too_early:
        words = "waits for its approval" if phase == "awaiting_approval" else f"is {phase}"
        return f"{name} {words}: nothing moves yet that could be paused or taken back"
    if wanted == RUN and phase != manner.paused and wish != PAUSE:
        return f"{name} is not paused"
    return ""


def ends_unmoved(manner: Manner, phase: str, wanted: str) -> bool:
    """Whether it is given up before anything moved: then nobody shall be asked about it."""
    return wanted == manner.end and phase in manner.unmoved


ROLLOUTS = Manner(
    verbs={"pause": "pause", "run": "resume", "abort": "abort"},
    end=phases.Wish.ABORT,
    back=phases.Wish.ABORT,
    too_early=frozenset({PAUSE}),
    final=phases.FINAL,
    unmoved=phases.BEFORE_WRITES,
    going_back=phases.GOING_BACK,
    paused=phases.Phase.PAUSED,
)
SEQUENCES = Manner(
    verbs={"pause": "pause", "run": "run", "end": "end", "roll_back": "roll_back"},
    end=sequence.Wish.END,
    back=sequence.Wish.ROLL_BACK,
    too_early=frozenset({PAUSE, RUN, sequence.Wish.ROLL_BACK}),
    final=sequence.FINAL,
    unmoved=frozenset({sequence.Phase.AWAITING_APPROVAL}),
    going_back=frozenset({sequence.Phase.ROLLING_BACK}),
    paused=sequence.Phase.PAUSED,
)
