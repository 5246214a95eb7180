"""Bells: who rings for what, and that a sweep finds what nobody rang for."""

import pytest

from fleet.drive.outside import Outside
from fleet.rules.phases import Phase
from fleet.tasks import rollouts as tasks
from tenants.models import ChangeRequest
from tests.fleet.drive.stage import make_stage

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def stage(monkeypatch):
    found = make_stage()
    real = tasks.driving.drive
    monkeypatch.setattr(tasks.driving, "drive", lambda pk: real(pk, found.outside))
    assert isinstance(found.outside, Outside)
    return found


@pytest.fixture
def rung(monkeypatch):
    found = []
    monkeypatch.setattr(tasks, "nudge", lambda *call, later: found.append(call))
    return found


@pytest.fixture
def timed(monkeypatch):
    found = []
    monkeypatch.setattr(
        tasks.drive_rollout, "apply_async", lambda args, countdown: found.append((args, countdown))
    )
    return found


def test_it_rings_for_every_rollout_that_is_due(stage, rung):
    rollout = stage.propose(stage.release("b"))
    tasks.sweep_rollouts()
    assert (tasks.DRIVE, rollout.pk) in rung


def test_it_rings_for_replicas_that_are_not_as_declared(stage, rung):
    tasks.sweep_rollouts()
    assert [call[0] for call in rung] == [tasks.KEEP]


def test_it_goes_on_in_the_task_of_the_approval_until_something_takes_time(stage, timed):
    rollout = stage.propose(stage.release("b"))
    tasks.drive_rollout(rollout.pk)
    rollout.refresh_from_db()
    assert rollout.phase == Phase.AWAITING_APPROVAL
    stage.approve(rollout)
    tasks.change_decided(rollout.change_id)
    rollout.refresh_from_db()
    assert rollout.phase == Phase.CANARY_STARTING
    assert timed == [((rollout.pk,), 1.0)]
    assert [c for c in stage.fake.calls if c[0] == "apply"]


def test_it_ignores_a_change_of_something_else(stage, timed):
    tasks.change_decided(999_999)
    assert timed == []
    assert not ChangeRequest.objects.exists()
