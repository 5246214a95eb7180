"""Wishes in the wrong moment through the doors: a gate that is not open, an abort while the API
server admits no replica. And a pause in which answers begin to fail.
"""

from dataclasses import replace

import pytest

from fleet.actions import rollouts as actions
from fleet.clients.errors import Temporary
from fleet.drive.rollout import drive
from fleet.models import Deployment
from fleet.queries.rollout_abilities import abilities_of
from fleet.rules.phases import GOING_BACK, Phase
from tenants.errors import Conflict
from tests.fleet.drive.stage import make_stage

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def stage():
    return make_stage()


def begun(stage, at):
    rollout = stage.propose(stage.release("b"))
    stage.approve(rollout)
    return stage.run(rollout, until={at})


@pytest.mark.parametrize("at", [Phase.CANARY_STARTING, Phase.SOAKING])
def test_no_gate_is_skipped_in_a_pause_where_none_is_open(stage, at):
    rollout = begun(stage, at)
    stage.act(actions.pause_rollout, rollout.pk, why="look")
    stage.run(rollout, until={Phase.PAUSED})
    assert not abilities_of(rollout).skip_gate
    with pytest.raises(Conflict, match=f"paused while {at}, at step .*: no gate"):
        stage.act(actions.skip_gate, rollout.pk, rollout.step, why="known")
    stage.act(actions.resume_rollout, rollout.pk, why="go on")
    stage.run(rollout)
    assert (rollout.phase, rollout.failures) == (Phase.SUCCEEDED, 0), rollout.why


def test_the_gate_that_was_judged_is_skipped_in_a_pause(stage):
    rollout = begun(stage, Phase.ANALYZING)
    stage.act(actions.pause_rollout, rollout.pk, why="look")
    stage.run(rollout, until={Phase.PAUSED})
    assert abilities_of(rollout).skip_gate
    stage.act(actions.skip_gate, rollout.pk, 0, why="known")
    stage.step(rollout)
    assert rollout.step == 1


def test_an_abort_moves_traffic_though_a_replica_cannot_be_admitted(stage, monkeypatch):
    rollout = begun(stage, Phase.PROMOTING)

    def busy(*_):
        raise Temporary("Too many requests", status=429)

    monkeypatch.setattr(stage.fake, "set_condition", busy)
    for _ in range(10):
        stage.step(rollout)  # until a replica waits to be admitted
    assert "Too many requests" in rollout.why
    stage.act(actions.abort_rollout, rollout.pk, why="bad answers")
    stage.step(rollout)
    assert rollout.phase in {p.value for p in GOING_BACK}, rollout.why
    assert rollout.cause == "operator"
    assert Deployment.objects.get(release=rollout.from_release).weight > 0


def test_an_abort_is_heard_before_engines_are_asked(stage, monkeypatch):
    """Each pass asked the new release who it is first: one that hangs, or whose answer breaks the
    pass, held the abort up.
    """
    rollout = begun(stage, Phase.CANARY_STARTING)
    monkeypatch.setattr(stage.fake, "set_condition", lambda *_: None)
    stage.run(rollout, until={Phase.CANARY_VERIFYING})
    stage.act(actions.abort_rollout, rollout.pk, why="wrong one")

    def never(*_):
        raise AssertionError("asked")

    for phase in (Phase.ABORTING, Phase.ROLLING_BACK, Phase.ROLLING_BACK):
        drive(rollout.pk, replace(stage.outside, ask=never))
        rollout.refresh_from_db()
        assert (rollout.phase, rollout.cause) == (phase, "operator")


def test_what_paused_for_want_of_samples_goes_back_when_all_its_answers_fail(stage):
    stage.per_second = 0
    rollout = begun(stage, Phase.PAUSED)
    stage.per_second, stage.errors = 50, 1.0
    for _ in range(60):
        stage.step(rollout, seconds=10)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, "gate_failed"), rollout.why
