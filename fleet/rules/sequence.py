"""Decide the next move of a rollout sequence: one service, cluster after cluster. Pure.

Each stage is an ordinary rollout in one cluster, with its own gates, and then a bake: a time in
which the release serves there and nothing else begins. A cluster that is lost freezes its own
stage and never the others: the order goes on without it, and comes back to it when it is seen
again. What fails stops the sequence and asks a person.

People write `wish` and who leaves a stage out; the machine writes everything else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from fleet.rules.begins_within import BeginsWithin
from fleet.rules.freshness import in_words
from fleet.rules.phases import FINAL as ROLLOUT_ENDED
from fleet.rules.phases import Phase as RolloutPhase
from fleet.rules.queue import listed
from fleet.rules.state import Approval

LOOK = timedelta(seconds=5)
NOW = timedelta(0)


class Phase(StrEnum):
    AWAITING_APPROVAL = "awaiting_approval"
    RUNNING = "running"
    PAUSED = "paused"  # by a person, or because a stage failed
    ROLLING_BACK = "rolling_back"
    SUCCEEDED = "succeeded"
    ROLLED_BACK = "rolled_back"
    CANCELLED = "cancelled"  # ended by a person: what is done stays
    REJECTED = "rejected"
    EXPIRED = "expired"


FINAL = frozenset(
    {Phase.SUCCEEDED, Phase.ROLLED_BACK, Phase.CANCELLED, Phase.REJECTED, Phase.EXPIRED}
)


class Wish(StrEnum):
    RUN = "run"
    PAUSE = "pause"
    END = "end"
    ROLL_BACK = "roll_back"


class StageState(StrEnum):
    PENDING = "pending"
    MOVING = "moving"  # its rollout is open
    BAKING = "baking"
    DONE = "done"
    FAILED = "failed"
    LEFT_OUT = "left_out"
    GOING_BACK = "going_back"
    BACK = "back"


BEGUN = frozenset({StageState.MOVING, StageState.BAKING})
OVER = frozenset({StageState.DONE, StageState.LEFT_OUT})
# Only these wait for their cluster; what has ended there has ended.
FREEZES = BEGUN | {StageState.PENDING, StageState.GOING_BACK}


@dataclass(frozen=True, slots=True)
class Move:
    """A rollout of a stage, as it is stored."""

    label: str  # RO-12
    phase: RolloutPhase
    why: str = ""
    is_rollback: bool = False

    @property
    def is_open(self) -> bool:
        return self.phase not in ROLLOUT_ENDED


@dataclass(frozen=True, slots=True)
class Stage:
    """`lost`: why its cluster cannot be seen. `serves`: the wanted release does, and stays.
    `begins`: the time that its turn waits for, as it was approved.
    """

    number: int  # from 1
    cluster: str
    state: StageState
    since: datetime
    why: str = ""
    lost: str = ""
    serves: bool = False
    finding: str = ""  # a tenant misses an objective there since it bakes
    move: Move | None = None
    back: Move | None = None
    left_out: str = ""  # who, and why
    begins: BeginsWithin = BeginsWithin()
    refused: datetime | None = None  # since when what it asks for is refused at each pass

    @property
    def is_frozen(self) -> bool:
        return bool(self.lost) and self.state in FREEZES

    @property
    def is_touched(self) -> bool:
        """There is something to take back."""
        return self.move is not None and (self.move.is_open or self.serves)


@dataclass(frozen=True, slots=True)
class State:
    phase: Phase
    phase_since: datetime
    release: str  # r7
    bake: timedelta
    stages: tuple[Stage, ...]
    wish: Wish = Wish.RUN
    wish_by: str = ""
    wish_why: str = ""
    wish_at: datetime | None = None
    approval: Approval = Approval()
    why: str = ""

    @property
    def asked(self) -> str:
        return f" by {self.wish_by}" + (f": {self.wish_why}" if self.wish_why else "")

    @property
    def is_heard(self) -> bool:
        """The wish is older than the phase: it was answered already."""
        return self.wish_at is None or self.wish_at <= self.phase_since


@dataclass(frozen=True, slots=True)
class Decision:
    """`begin`: the number of the stage whose rollout opens now; `undo`: those that go back."""

    phase: Phase
    why: str
    stages: tuple[Stage, ...]
    look_again: timedelta | None = LOOK
    begin: int | None = None
    undo: tuple[int, ...] = ()


def decide(state: State, now: datetime) -> Decision:
    """Bring the stages up to date, then take the first answer of CHECKS."""
    if state.phase in FINAL:
        return Decision(state.phase, state.why, state.stages, look_again=None)
    state = replace(state, stages=tuple(settle(state, stage, now) for stage in state.stages))
    for check in CHECKS:
        if decision := check(state, now):
            return decision
    raise AssertionError("the last check always answers")


def settle(state: State, stage: Stage, now: datetime) -> Stage:
    """What became of a stage by itself since the last pass."""
    if stage.left_out and stage.state not in (StageState.LEFT_OUT, StageState.BACK):
        return become(stage, StageState.LEFT_OUT, now, f"Left out by {stage.left_out}")
    if stage.state is StageState.PENDING and stage.move is not None:
        return settle_move(state, become(stage, StageState.MOVING, now), now)
    if stage.state is StageState.MOVING:
        return settle_move(state, stage, now)
    if stage.state is StageState.BAKING:
        return settle_bake(state, stage, now)
    if stage.state is StageState.GOING_BACK:
        return settle_back(state, stage, now)
    if stage.state is StageState.PENDING:
        return replace(stage, why=frozen_text(stage) if stage.lost else turn_text(stage, now))
    return stage


def settle_move(state: State, stage: Stage, now: datetime) -> Stage:
    move = stage.move
    assert move is not None
    if move.phase is RolloutPhase.SUCCEEDED:
        return become(stage, StageState.BAKING, now, bake_text(state.bake))
    if not move.is_open:
        ended = f"{move.label} ended as {move.phase.value.replace('_', ' ')}. {move.why}"
        return become(stage, StageState.FAILED, now, ended)
    why = f"{move.label} is {move.phase.value.replace('_', ' ')}. {move.why}"
    return replace(stage, why=f"{frozen_text(stage)} {move.label} waits" if stage.lost else why)


def settle_bake(state: State, stage: Stage, now: datetime) -> Stage:
    """Time in which nobody could see the cluster does not count."""
    if not stage.serves:
        why = (
            f"{state.release} does not stay in {stage.cluster}: another rollout moves away from it"
        )
        return become(stage, StageState.FAILED, now, why)
    if stage.finding:
        return become(stage, StageState.FAILED, now, f"While it baked: {stage.finding}")
    if stage.lost:
        return replace(stage, since=now, why=f"{frozen_text(stage)} Then it bakes from the start")
    left = stage.since + state.bake - now
    if left > NOW:
        return replace(stage, why=bake_text(left))
    return become(stage, StageState.DONE, now, f"Baked for {in_words(state.bake)}")


def settle_back(state: State, stage: Stage, now: datetime) -> Stage:
    back = stage.back
    if back is None or back.is_open:
        told = f"{back.label}: {back.why}" if back else stage.why
        return replace(stage, why=f"{frozen_text(stage)} {told}" if stage.lost else told)
    if not stage.serves:
        return become(stage, StageState.BACK, now, f"{back.label} took {state.release} back")
    if not back.is_rollback:  # it succeeded in the moment in which it was to be aborted
        return replace(stage, back=None, why=f"{back.label} had succeeded: a way back follows")
    why = f"{back.label} ended as {back.phase.value.replace('_', ' ')}: {state.release} still"
    return replace(stage, why=f"{why} serves. Roll it back on its service's page, or leave it out")


def become(stage: Stage, state: StageState, now: datetime, why: str = "") -> Stage:
    return replace(stage, state=state, since=now, why=why, refused=None)


def frozen_text(stage: Stage) -> str:
    return f"Frozen: {stage.cluster} is lost. {stage.lost}."


def turn_text(stage: Stage, now: datetime) -> str:
    early = stage.begins.is_early(now)
    return f"Begins {stage.begins.words}, as it was approved" if early else "Its turn comes"


def bake_text(left: timedelta) -> str:
    return f"Bakes for another {in_words(left)}"


# -- checks, the first that answers decides ------------------------------------------------


def ended_by_person(state: State, now: datetime) -> Decision | None:
    if state.wish is not Wish.END:
        return None
    done = sum(stage.serves for stage in state.stages)
    why = f"Ended{state.asked}. {done} of {len(state.stages)} clusters serve {state.release}"
    open_ones = [s.move.label for s in state.stages if s.move and s.move.is_open]
    if open_ones:
        why += f"; {listed(open_ones)} goes on by itself"
    return Decision(Phase.CANCELLED, why, state.stages, look_again=None)


def unapproved(state: State, now: datetime) -> Decision | None:
    if state.phase is not Phase.AWAITING_APPROVAL:
        return None
    approval = state.approval
    because = f": {approval.why}" if approval.why else ""
    if approval.state == "approved":
        why = f"Approved by {approval.by}{because}"
        return Decision(Phase.RUNNING, why, state.stages, look_again=NOW)
    ends = {
        "rejected": (Phase.REJECTED, f"Rejected by {approval.by}{because}"),
        "expired": (Phase.EXPIRED, "Nobody decided in time: propose it again"),
        "withdrawn": (Phase.CANCELLED, f"Withdrawn before the approval{because}"),
    }
    if approval.state in ends:
        phase, why = ends[approval.state]
        return Decision(phase, why, state.stages, look_again=None)
    why = "Waits for an approval by somebody else than who proposed it"
    return Decision(state.phase, why, state.stages)


def back_asked(state: State, now: datetime) -> Decision | None:
    """All clusters at once: the release is bad, and each way back is the cluster's own."""
    if state.wish is not Wish.ROLL_BACK or state.phase is Phase.ROLLING_BACK:
        return None
    stages = tuple(
        become(s, StageState.GOING_BACK, now, "Goes back") if s.is_touched else s
        for s in state.stages
    )
    undo = tuple(s.number for s in stages if s.state is StageState.GOING_BACK)
    clusters = [s.cluster for s in stages if s.number in undo]
    where = f" in {listed(clusters)}" if clusters else ""
    why = f"Taken back{where}{state.asked}"
    return Decision(Phase.ROLLING_BACK, why, stages, look_again=NOW, undo=undo)


def going_back(state: State, now: datetime) -> Decision | None:
    if state.phase is not Phase.ROLLING_BACK:
        return None
    left = [s for s in state.stages if s.state is StageState.GOING_BACK]
    if not left:
        back = [s.cluster for s in state.stages if s.state is StageState.BACK]
        why = (
            f"{state.release} was taken back in {listed(back)}"
            if back
            else "Nothing is to be taken back"
        )
        return Decision(Phase.ROLLED_BACK, why, state.stages, look_again=None)
    undo = tuple(s.number for s in left if s.back is None)
    why = f"Waits until {state.release} is taken back in {listed([s.cluster for s in left])}"
    return Decision(state.phase, why + frozen_words(left), state.stages, undo=undo)


def resumed(state: State, now: datetime) -> Decision | None:
    """A person goes on: what failed is tried again, or bakes again where it still serves."""
    if state.phase is not Phase.PAUSED or state.wish is not Wish.RUN or state.is_heard:
        return None
    stages = tuple(again(s, now) if s.state is StageState.FAILED else s for s in state.stages)
    return Decision(Phase.RUNNING, f"Resumed{state.asked}", stages, look_again=NOW)


def again(stage: Stage, now: datetime) -> Stage:
    if stage.serves:
        return become(stage, StageState.BAKING, now, "Bakes again")
    return replace(become(stage, StageState.PENDING, now, "Is tried again"), move=None)


def failed(state: State, now: datetime) -> Decision | None:
    bad = [s for s in state.stages if s.state is StageState.FAILED]
    if not bad:
        return None
    good = sum(s.serves for s in state.stages)
    why = f"Stopped in {bad[0].cluster}. {bad[0].why.rstrip('.')}. Nothing else begins:"
    why += f" try again, leave {bad[0].cluster} out, or roll back"
    why += f" ({good} of {len(state.stages)} clusters serve {state.release})"
    return Decision(Phase.PAUSED, why, state.stages)


def paused(state: State, now: datetime) -> Decision | None:
    """What is open goes on; nothing else begins."""
    if state.wish is Wish.PAUSE:
        why = f"Paused{state.asked}. What is open goes on, nothing else begins"
        return Decision(Phase.PAUSED, why, state.stages)
    if state.phase is Phase.PAUSED:  # the stage that failed was left out, or nobody has resumed
        why = "Nothing failed any more: goes on"
        return Decision(Phase.RUNNING, why, state.stages, look_again=NOW)
    return None


def in_progress(state: State, now: datetime) -> Decision | None:
    begun = [s for s in state.stages if s.state in BEGUN and not s.is_frozen]
    if not begun:
        return None
    told = f"{begun[0].cluster}: {begun[0].why}"
    return Decision(state.phase, told + frozen_words(state.stages), state.stages)


def next_stage(state: State, now: datetime) -> Decision | None:
    """The first in the stated order that can be seen; lost ones have their turn later. One that
    waits for its time is not overtaken: the order is what was approved.
    """
    waiting = [s for s in state.stages if s.state is StageState.PENDING and not s.is_frozen]
    if not waiting:
        return None
    first = waiting[0]
    if first.serves:
        baking = become(first, StageState.BAKING, now, f"{state.release} serves there already")
        stages = tuple(baking if s is first else s for s in state.stages)
        return Decision(state.phase, f"{first.cluster}: {baking.why}", stages, look_again=NOW)
    if first.begins.is_early(now):
        told = f"{first.cluster}: {first.why}"
        return Decision(state.phase, told + frozen_words(state.stages), state.stages)
    why = f"Begins in {first.cluster}" + frozen_words(state.stages)
    return Decision(state.phase, why, state.stages, begin=first.number)


def ends(state: State, now: datetime) -> Decision | None:
    left = [s for s in state.stages if s.state not in OVER]
    if left:
        why = "All others are done" + frozen_words(left)
        return Decision(state.phase, f"{why}. Leave out what does not come back", state.stages)
    done = [s.cluster for s in state.stages if s.state is StageState.DONE]
    skipped = [s.cluster for s in state.stages if s.state is StageState.LEFT_OUT]
    why = f"{state.release} serves in {listed(done)}" if done else "Every cluster was left out"
    if done and skipped:
        why += f"; {listed(skipped)} was left out"
    return Decision(Phase.SUCCEEDED, why, state.stages, look_again=None)


def frozen_words(stages: Sequence[Stage]) -> str:
    frozen = [f"{s.cluster} ({s.lost})" for s in stages if s.is_frozen]
    return f". Frozen until seen again: {listed(frozen)}" if frozen else ""


CHECKS: tuple[Callable[[State, datetime], Decision | None], ...] = (
    ended_by_person,
    back_asked,
    unapproved,
    going_back,
    resumed,
    failed,
    paused,
    in_progress,
    next_stage,
    ends,
)
