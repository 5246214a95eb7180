"""A step that asks, on the real database: who may say yes, to what, and until when."""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone

from fleet.actions import rollouts as actions
from fleet.models import Rollout
from fleet.queries.rollouts import get_rollout
from fleet.rules.phases import Phase
from fleet.rules.situation import StepPlan
from tenants.actions import changes
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import ConsoleError
from tenants.models import ChangeRequest
from tests.fleet.drive.stage import make_stage

pytestmark = pytest.mark.django_db(transaction=True)
STEPS = (StepPlan(10, 10, 20, approval=True), StepPlan(50, 10, 20))


@pytest.fixture
def stage():
    return make_stage()


@pytest.fixture
def rollout(stage):
    found = stage.propose(stage.release("b"), steps=STEPS)
    stage.approve(found)
    return stage.run(found, until={Phase.AWAITING_STEP_APPROVAL})


def asked(rollout):
    rollout.refresh_from_db()
    return ChangeRequest.objects.get(pk=rollout.step_change_id)


def decide(stage, viewer, rollout, *, approve=True, why=""):
    change = asked(rollout)
    with scope_of(viewer):
        changes.decide(viewer, change.pk, digest=change.digest, approve=approve, why=why)


def test_somebody_else_approves_what_the_gate_judged(stage, rollout):
    change = asked(rollout)
    assert change.title == f"chat: step 1 of {rollout} to r2"
    judged = change.payload["judged"]
    assert judged["gate"]["verdict"] == "pass"
    assert judged["gate"]["checks"]
    with pytest.raises(ConsoleError):  # who proposed it does not decide
        decide(stage, stage.olga, rollout)
    decide(stage, stage.vic, rollout, why="looks good")
    stage.step(rollout)
    assert (rollout.phase, rollout.step) == (Phase.SHIFTING, 1)
    assert stage.run(rollout).phase == Phase.SUCCEEDED


def test_it_is_approved_from_a_terminal(stage, rollout, capsys):
    call_command("rollout", "show", rollout.pk)
    assert f"approval of step 1 waiting, digest {asked(rollout).digest}" in capsys.readouterr().out
    call_command(
        "rollout", "approve", rollout.pk, "--as", stage.vic.email, "--digest", asked(rollout).digest
    )
    stage.step(rollout)
    assert rollout.phase == Phase.SHIFTING


def test_no_word_in_time_is_a_pause_and_it_asks_again(stage, rollout):
    first = asked(rollout)
    ChangeRequest.objects.filter(pk=first.pk).update(
        expires_at=timezone.now() - timedelta(seconds=1)
    )
    with fleet_scope():
        changes.expire()
    stage.step(rollout)
    assert (rollout.phase, rollout.memory["paused_by"]) == (Phase.PAUSED, "approval")
    stage.act(actions.resume_rollout, rollout.pk)
    Rollout.objects.filter(pk=rollout.pk).update(wish_at=stage.fake.now)  # by the cluster's clock
    stage.run(rollout, until={Phase.AWAITING_STEP_APPROVAL})
    assert asked(rollout).pk != first.pk
    shown = stage.act(get_rollout, rollout.pk).step_approval
    assert (shown.change_id, shown.state) == (rollout.step_change_id, "waiting")


def test_an_abort_takes_the_question_back(stage, rollout):
    stage.act(actions.abort_rollout, rollout.pk, why="no")
    assert stage.run(rollout).phase == Phase.ROLLED_BACK
    assert asked(rollout).state == "withdrawn"


def test_an_approval_counts_for_nothing_else(stage, rollout):
    decide(stage, stage.vic, rollout)
    memory = rollout.memory | {"judged": "0" * 64}
    Rollout.objects.filter(pk=rollout.pk).update(memory=memory)
    stage.step(rollout)
    assert rollout.phase == Phase.PAUSED
    assert "not what was judged" in rollout.why
