"""Sequences decide by what was seen of each cluster: a table of situations and answers."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fleet.rules.begins_within import BeginsWithin
from fleet.rules.freshness import lost_because
from fleet.rules.phases import Phase as RolloutPhase
from fleet.rules.sequence import (
    Move,
    Phase,
    Stage,
    StageState,
    State,
    Wish,
    decide,
)
from fleet.rules.state import Approval

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
EARLIER = NOW - timedelta(minutes=30)
BAKE = timedelta(minutes=10)
LOST = "Last observed 3 min ago: no route to host"
OPEN = Move("RO-1", RolloutPhase.ANALYZING, "Step 1")
GOOD = Move("RO-1", RolloutPhase.SUCCEEDED)
BAD = Move("RO-1", RolloutPhase.ROLLED_BACK, "The canary failed its gate")


def stage(number, cluster, state=StageState.PENDING, **more):
    return Stage(number, cluster, state, more.pop("since", EARLIER), **more)


def sequence(*stages, phase=Phase.RUNNING, **more):
    return State(phase, EARLIER, "r7", BAKE, stages, **more)


def states(decision):
    return [s.state.value for s in decision.stages]


def test_it_waits_for_one_approval_of_all_clusters():
    waiting = sequence(
        stage(1, "eu"), phase=Phase.AWAITING_APPROVAL, approval=Approval("waiting", "", "")
    )
    assert decide(waiting, NOW).phase is Phase.AWAITING_APPROVAL
    approved = replace(waiting, approval=Approval("approved", "vic", "go"))
    decision = decide(approved, NOW)
    assert (decision.phase, decision.why) == (Phase.RUNNING, "Approved by vic: go")
    rejected = replace(waiting, approval=Approval("rejected", "vic", "not today"))
    assert decide(rejected, NOW).phase is Phase.REJECTED
    expired = replace(waiting, approval=Approval("expired", "", ""))
    assert decide(expired, NOW).phase is Phase.EXPIRED


def test_it_begins_in_the_stated_order():
    decision = decide(sequence(stage(1, "eu"), stage(2, "us")), NOW)
    assert (decision.begin, decision.why) == (1, "Begins in eu")


def test_a_cluster_waits_for_its_time_and_nobody_overtakes_it():
    opens = NOW + timedelta(hours=2)
    late = stage(1, "eu", begins=BeginsWithin(opens))
    decision = decide(sequence(late, stage(2, "us")), NOW)
    told = "Begins from Fri 20 Nov 14:00 UTC, as it was approved"
    assert (decision.begin, decision.why) == (None, f"eu: {told}")
    assert [s.why for s in decision.stages] == [told, "Its turn comes"]
    assert decide(sequence(late, stage(2, "us")), opens).begin == 1
    lost = replace(late, lost=LOST)
    assert decide(sequence(lost, stage(2, "us")), NOW).begin == 2


def test_one_cluster_moves_at_a_time():
    decision = decide(sequence(stage(1, "eu", StageState.MOVING, move=OPEN), stage(2, "us")), NOW)
    assert decision.begin is None
    assert decision.why == "eu: RO-1 is analyzing. Step 1"


def test_it_bakes_before_the_next_begins():
    moved = stage(1, "eu", StageState.MOVING, move=GOOD, serves=True)
    decision = decide(sequence(moved, stage(2, "us")), NOW)
    assert (states(decision), decision.begin) == (["baking", "pending"], None)
    assert "Bakes for another 10 min" in decision.why
    soon = decide(sequence(*decision.stages), NOW + timedelta(minutes=9))
    assert (states(soon), soon.begin) == (["baking", "pending"], None)
    baked = decide(sequence(*decision.stages), NOW + BAKE)
    assert (states(baked), baked.begin) == (["done", "pending"], 2)


def test_a_lost_cluster_freezes_its_stage_and_the_others_go_on():
    lost = stage(1, "eu", lost=LOST)
    decision = decide(sequence(lost, stage(2, "us")), NOW)
    assert decision.begin == 2
    assert decision.why == f"Begins in us. Frozen until seen again: eu ({LOST})"
    assert decision.stages[0].is_frozen
    assert decision.stages[0].why == f"Frozen: eu is lost. {LOST}."


def test_a_cluster_that_is_lost_under_way_is_gone_around():
    lost = stage(1, "eu", StageState.MOVING, move=OPEN, lost=LOST)
    decision = decide(sequence(lost, stage(2, "us")), NOW)
    assert (decision.begin, states(decision)) == (2, ["moving", "pending"])


def test_it_comes_back_to_a_cluster_that_is_seen_again():
    seen = stage(1, "eu")
    done = stage(2, "us", StageState.DONE, serves=True)
    assert decide(sequence(seen, done), NOW).begin == 1


def test_it_waits_when_only_lost_clusters_are_left():
    left = stage(1, "eu", lost=LOST)
    done = stage(2, "us", StageState.DONE, serves=True)
    decision = decide(sequence(left, done), NOW)
    assert (decision.phase, decision.begin) == (Phase.RUNNING, None)
    assert "All others are done. Frozen until seen again: eu" in decision.why


def test_a_bake_that_nobody_saw_does_not_count():
    baking = stage(1, "eu", StageState.BAKING, move=GOOD, serves=True, lost=LOST)
    decision = decide(sequence(baking), NOW)
    assert states(decision) == ["baking"]
    assert decision.stages[0].since == NOW


STOPS = {
    "its rollout went back": stage(1, "eu", StageState.MOVING, move=BAD),
    "somebody took the release back while it baked": stage(1, "eu", StageState.BAKING, move=GOOD),
    "a tenant missed an objective while it baked": stage(
        1, "eu", StageState.BAKING, move=GOOD, serves=True, finding="acme: errors 4 %"
    ),
}


@pytest.mark.parametrize("name", STOPS)
def test_it_stops_and_asks_a_person_when(name):
    decision = decide(sequence(STOPS[name], stage(2, "us")), NOW)
    assert (decision.phase, decision.begin) == (Phase.PAUSED, None)
    assert states(decision) == ["failed", "pending"]
    assert decision.why.startswith("Stopped in eu. ")
    assert "try again, leave eu out, or roll back" in decision.why


def test_a_failed_stage_is_tried_again_when_a_person_resumes():
    bad = stage(1, "eu", StageState.FAILED, move=BAD)
    stopped = sequence(bad, stage(2, "us"), phase=Phase.PAUSED)
    assert decide(stopped, NOW).phase is Phase.PAUSED
    resumed = replace(stopped, wish_at=NOW, wish_by="olga")
    decision = decide(resumed, NOW)
    assert (decision.phase, states(decision)) == (Phase.RUNNING, ["pending", "pending"])
    assert decision.stages[0].move is None
    assert decide(sequence(*decision.stages), NOW).begin == 1


def test_it_goes_on_when_what_failed_is_left_out():
    bad = stage(1, "eu", StageState.FAILED, move=BAD, left_out="olga: broken racks")
    decision = decide(sequence(bad, stage(2, "us"), phase=Phase.PAUSED), NOW)
    assert (decision.phase, states(decision)) == (Phase.RUNNING, ["left_out", "pending"])
    assert decide(sequence(*decision.stages), NOW).begin == 2


def test_a_pause_lets_what_is_open_end():
    moving = stage(1, "eu", StageState.MOVING, move=GOOD, serves=True)
    paused = sequence(moving, stage(2, "us"), wish=Wish.PAUSE, wish_by="olga", wish_at=NOW)
    decision = decide(paused, NOW)
    assert (decision.phase, states(decision)) == (Phase.PAUSED, ["baking", "pending"])
    later = decide(replace(paused, phase=Phase.PAUSED, stages=decision.stages), NOW + BAKE)
    assert (states(later), later.begin) == (["done", "pending"], None)


def test_a_way_back_goes_to_all_clusters_at_once_lost_ones_too():
    reached = (
        stage(1, "eu", StageState.DONE, move=GOOD, serves=True),
        stage(2, "us", StageState.MOVING, move=OPEN, lost=LOST),
        stage(3, "asia"),
    )
    decision = decide(sequence(*reached, wish=Wish.ROLL_BACK, wish_by="olga"), NOW)
    assert (decision.phase, decision.undo) == (Phase.ROLLING_BACK, (1, 2))
    back = Move("RO-9", RolloutPhase.SUCCEEDED, is_rollback=True)
    preparing = replace(back, phase=RolloutPhase.PREPARING)
    waiting = tuple(
        replace(s, back=preparing) if s.state is StageState.GOING_BACK else s
        for s in decision.stages
    )
    going = sequence(*waiting, phase=Phase.ROLLING_BACK, wish=Wish.ROLL_BACK)
    assert decide(going, NOW).phase is Phase.ROLLING_BACK
    ended = tuple(
        replace(s, back=back, serves=False) if s.state is StageState.GOING_BACK else s
        for s in waiting
    )
    decision = decide(replace(going, stages=ended), NOW)
    assert decision.phase is Phase.ROLLED_BACK
    assert states(decision) == ["back", "back", "pending"]
    assert decision.why == "r7 was taken back in eu and us"


def test_an_abort_that_came_too_late_is_followed_by_a_way_back():
    late = stage(1, "eu", StageState.GOING_BACK, move=GOOD, back=GOOD, serves=True)
    going = sequence(late, phase=Phase.ROLLING_BACK, wish=Wish.ROLL_BACK)
    assert decide(going, NOW).undo == (1,)


def test_a_way_back_that_did_not_work_is_not_repeated_for_ever():
    bad = Move("RO-9", RolloutPhase.CANCELLED, is_rollback=True)
    stuck = stage(1, "eu", StageState.GOING_BACK, move=GOOD, back=bad, serves=True)
    decision = decide(sequence(stuck, phase=Phase.ROLLING_BACK, wish=Wish.ROLL_BACK), NOW)
    assert (decision.phase, decision.undo) == (Phase.ROLLING_BACK, ())
    assert "or leave it out" in decision.stages[0].why


def test_an_end_leaves_everything_as_it_is():
    stages = (
        stage(1, "eu", StageState.DONE, move=GOOD, serves=True),
        stage(2, "us", StageState.MOVING, move=OPEN),
    )
    decision = decide(sequence(*stages, wish=Wish.END, wish_by="olga"), NOW)
    assert (decision.phase, decision.look_again) == (Phase.CANCELLED, None)
    assert decision.why == "Ended by olga. 1 of 2 clusters serve r7; RO-1 goes on by itself"


def test_it_succeeds_when_every_stage_has_baked():
    stages = (
        stage(1, "eu", StageState.DONE, serves=True),
        stage(2, "us", StageState.LEFT_OUT),
    )
    decision = decide(sequence(*stages), NOW)
    assert (decision.phase, decision.look_again) == (Phase.SUCCEEDED, None)
    assert decision.why == "r7 serves in eu; us was left out"


def test_a_cluster_is_lost_after_a_minute_without_a_look():
    assert lost_because(NOW - timedelta(seconds=60), "no route", NOW) == ""
    assert lost_because(NOW - timedelta(seconds=61), "no route", NOW) == (
        "Last observed 61 s ago: no route"
    )
    assert lost_because(None, "", NOW) == "It has not been observed yet"
