"""Whatever happens in whichever order: what a sequence promises holds at every pass."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.rules.begins_within import BeginsWithin
from fleet.rules.phases import Phase as RolloutPhase
from fleet.rules.sequence import BEGUN, FINAL, Move, Phase, StageState, State, Wish, decide
from fleet.rules.state import Approval
from tests.fleet.rules.test_sequence_rules import BAKE, LOST, NOW, stage

EVENTS = st.tuples(
    st.sampled_from(
        ["approve", "good", "bad", "lose", "find", "finding", "pause", "run", "roll_back", "out"]
    ),
    st.integers(0, 2),
)


class Walk:
    """A sequence with rollouts that end as the events say."""

    def __init__(self, opens):
        """`opens`: of each cluster, after so many minutes; 0: at its turn."""
        self.now = NOW
        times = [BeginsWithin(NOW + timedelta(minutes=m) if m else None) for m in opens]
        stages = tuple(
            stage(n, f"c{n}", since=NOW, begins=begins) for n, begins in enumerate(times, 1)
        )
        self.state = State(Phase.AWAITING_APPROVAL, NOW, "r7", BAKE, stages)
        self.state = replace(self.state, approval=Approval("waiting"))
        self.begun = []

    def change(self, index, **fields):
        stages = list(self.state.stages)
        stages[index] = replace(stages[index], **fields)
        self.state = replace(self.state, stages=tuple(stages))

    def happen(self, event, index):
        state = self.state.stages[index].state
        if event == "approve":
            self.state = replace(self.state, approval=Approval("approved", "vic"))
        elif event in ("lose", "find"):
            self.change(index, lost=LOST if event == "lose" else "")
        elif event == "out" and state in (StageState.FAILED, StageState.PENDING):
            self.change(index, left_out="olga: broken")
        elif event == "finding" and state is StageState.BAKING:
            self.change(index, finding="acme misses its objective")
        elif event in ("good", "bad") and not self.state.stages[index].lost:
            self.end(index, good=event == "good")
        elif event in ("pause", "run", "roll_back"):
            self.wish(Wish(event))

    def wish(self, wanted):
        waits = self.state.phase is Phase.AWAITING_APPROVAL
        if not waits and self.state.wish is not Wish.ROLL_BACK:
            self.state = replace(self.state, wish=wanted, wish_at=self.now, wish_by="olga")

    def end(self, index, *, good):
        """The open rollout of a stage ends; a way back always works in the end."""
        one = self.state.stages[index]
        if one.back is not None and one.back.is_open:
            ended = RolloutPhase.SUCCEEDED if one.back.is_rollback else RolloutPhase.ROLLED_BACK
            self.change(index, back=replace(one.back, phase=ended), serves=False)
            self.change(
                index, move=replace(one.move, phase=ended) if one.move.is_open else one.move
            )
        elif one.move is not None and one.move.is_open:
            ended = RolloutPhase.SUCCEEDED if good else RolloutPhase.ROLLED_BACK
            self.change(index, move=replace(one.move, phase=ended), serves=good)

    def step(self, seconds=60):
        before = self.state
        decision = decide(before, self.now)
        self.check(before, decision)
        since = before.phase_since if decision.phase is before.phase else self.now
        self.state = replace(
            before, phase=decision.phase, phase_since=since, stages=decision.stages,
            why=decision.why,
        )  # fmt: skip
        if decision.begin is not None:
            index = decision.begin - 1
            self.begun.append(decision.begin)
            self.change(index, move=Move("RO-1", RolloutPhase.VALIDATING), back=None)
        for number in decision.undo:
            move = self.state.stages[number - 1].move
            back = move if move.is_open else Move("RO-2", RolloutPhase.PREPARING, "", True)
            self.change(number - 1, back=back)
        # A finding is of one bake.
        for index, one in enumerate(self.state.stages):
            if one.finding and one.state is not StageState.BAKING:
                self.change(index, finding="")
        self.now += timedelta(seconds=seconds)

    def check(self, before, decision):
        assert decision.why
        assert all(s.why for s in decision.stages if s.state is not StageState.PENDING or s.lost)
        assert (decision.look_again is None) == (decision.phase in FINAL)
        if decision.begin is not None:
            assert before.phase is Phase.RUNNING
            assert before.wish is Wish.RUN
            stages = {s.number: s for s in decision.stages}
            assert not stages[decision.begin].lost
            assert not stages[decision.begin].begins.is_early(self.now)
            assert not any(s.state in BEGUN and not s.is_frozen for s in stages.values())
            earlier = [s for s in stages.values() if s.number < decision.begin]
            assert all(s.is_frozen or s.state is not StageState.PENDING for s in earlier)
            assert not any(s.state is StageState.FAILED for s in stages.values())
        self.check_frozen(before, decision)
        for old, new in zip(before.stages, decision.stages, strict=True):
            if old.state is StageState.BAKING and new.state is StageState.DONE:
                assert self.now - old.since >= BAKE

    def check_frozen(self, before, decision):
        """A lost cluster never holds up another one that may begin."""
        waiting = [s for s in decision.stages if s.state is StageState.PENDING and not s.lost]
        busy = any(s.state in BEGUN and not s.lost for s in decision.stages)
        runs = before.phase is Phase.RUNNING and decision.phase is Phase.RUNNING
        if waiting and not busy and runs and before.wish is Wish.RUN:
            early = waiting[0].begins.is_early(self.now)
            assert decision.begin == (None if early else waiting[0].number)
            assert not early or waiting[0].begins.words in decision.why


@settings(max_examples=1500, deadline=None)
@given(st.lists(EVENTS, max_size=40), st.tuples(*[st.sampled_from((0, 0, 5, 90))] * 3))
def test_every_walk_keeps_its_promises_and_ends(events, opens):
    walk = Walk(opens)
    for event, index in events:
        walk.happen(event, index)
        walk.step()
    # Now everything heals: clusters are seen, rollouts end well, people go on.
    for _ in range(200):
        if walk.state.phase in FINAL:
            break
        for index in range(3):
            walk.happen("find", index)
            walk.happen("good", index)
        walk.happen("approve", 0)
        if walk.state.phase is Phase.PAUSED or walk.state.wish is Wish.PAUSE:
            walk.happen("run", 0)
        walk.step()
    assert walk.state.phase in (Phase.SUCCEEDED, Phase.ROLLED_BACK), walk.state.why
    if walk.state.phase is Phase.SUCCEEDED:
        assert all(s.serves or s.state is StageState.LEFT_OUT for s in walk.state.stages)
    else:
        assert not any(s.serves for s in walk.state.stages if s.state is StageState.BACK)
