"""A step that asks for a person's word: bound to what was judged, and no word is never a yes."""

from dataclasses import replace
from datetime import timedelta

import pytest

from fleet.rules.phases import Cause, Phase, Wish
from fleet.rules.proposal import line_of, read_lines
from fleet.rules.situation import StepPlan
from fleet.rules.state import Approval
from tests.fleet.rules.walk import Walk, make_state

STEPS = (StepPlan(10, 10, 20, approval=True), StepPlan(50, 10, 20))


def waiting(**changes):
    walk = Walk(make_state(steps=STEPS), **changes)
    return walk.run(until={Phase.AWAITING_STEP_APPROVAL})


def say(walk, state, **more):
    said = Approval(state, "vic@example.com", "seen")
    walk.state = replace(walk.state, step_approval=said, **more)
    walk.step()
    walk.state = replace(walk.state, step_approval=Approval(), step_moved=False)


def test_it_waits_at_its_share_and_goes_on_when_approved():
    walk = waiting()
    for _ in range(10):
        walk.step()
    assert (walk.state.phase, walk.state.weight_new) == (Phase.AWAITING_STEP_APPROVAL, 10)
    assert "Step 1 at 10 % waits for an approval" in walk.state.why
    say(walk, "approved")
    assert (walk.state.phase, walk.state.step) == (Phase.SHIFTING, 1)
    assert walk.run().state.phase is Phase.SUCCEEDED
    assert walk.phases.count(Phase.AWAITING_STEP_APPROVAL) == 1  # the other step asks nobody


@pytest.mark.parametrize("state", ["rejected", "expired", "withdrawn"])
def test_any_other_word_and_none_in_time_is_a_pause(state):
    walk = waiting()
    say(walk, state)
    assert (walk.state.phase, walk.state.weight_new) == (Phase.PAUSED, 10)
    for _ in range(3):
        walk.step()
    assert walk.state.phase is Phase.PAUSED
    walk.state = replace(walk.state, wish_at=walk.now)
    walk.run(until={Phase.AWAITING_STEP_APPROVAL})  # measured anew, asked anew


def test_an_approval_of_something_else_than_what_was_judged_does_not_count():
    walk = waiting()
    say(walk, "approved", step_moved=True)
    assert walk.state.phase is Phase.PAUSED
    assert "What was approved is not what was judged of step 1" in walk.state.why


def test_the_gate_goes_on_judging_while_people_think():
    walk = waiting()
    walk.errors = 0.5
    walk.run()
    assert (walk.state.phase, walk.state.cause) == (Phase.ROLLED_BACK, Cause.GATE_FAILED)
    assert "While step 1 at 10 % waited for approval: error ratio" in walk.state.memory.reason


def test_who_skips_a_gate_does_not_skip_the_approval():
    walk = Walk(make_state(steps=STEPS), counted=False)
    walk.run(until={Phase.PAUSED})
    walk.state = replace(walk.state, skip_step=0, skip_by="olga@example.com")
    walk.step()
    assert walk.state.phase is Phase.AWAITING_STEP_APPROVAL
    say(walk, "expired")
    for _ in range(3):
        walk.step()
    assert walk.state.phase is Phase.PAUSED  # asked once, not again and again


def test_a_pause_keeps_the_question_and_an_abort_wins():
    walk = waiting()
    walk.state = replace(walk.state, wish=Wish.PAUSE)
    walk.step()
    assert walk.state.resume_phase is Phase.AWAITING_STEP_APPROVAL
    walk.state = replace(walk.state, wish=Wish.RUN, wish_at=walk.now)
    walk.step()
    assert walk.state.phase is Phase.AWAITING_STEP_APPROVAL
    walk.state = replace(walk.state, wish=Wish.ABORT)
    assert walk.run().state.phase is Phase.ROLLED_BACK


def test_nobody_decides_for_a_day_and_it_goes_back():
    walk = waiting()
    say(walk, "expired")
    walk.state = replace(walk.state, longest_pause=timedelta(seconds=60))
    assert walk.run().state.phase is Phase.ROLLED_BACK


def test_it_reads_what_it_writes():
    (step,) = read_lines(["25 %, 300 s, 100, approval"])
    assert step == StepPlan(25, 300, 100, approval=True)
    assert read_lines([line_of(step)]) == (step,)
