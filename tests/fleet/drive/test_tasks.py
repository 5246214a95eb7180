"""Bells: who rings for what, and that a sweep finds what nobody rang for."""

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from fleet.actions import rollouts as actions
from fleet.actions import waking
from fleet.actions.observation import store_pods, tell
from fleet.drive.outside import Outside
from fleet.models import Rollout
from fleet.rules.observation import read_pods
from fleet.rules.phases import Phase
from fleet.tasks import rollouts as tasks
from tenants import nudge as nudging
from tenants.base.rows import database_now
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
    monkeypatch.setattr(tasks, "nudge", lambda *call, **order: found.append(call))
    return found


@pytest.fixture
def timed(monkeypatch):
    found = []
    monkeypatch.setattr(
        tasks.follow_rollout, "apply_async", lambda args, countdown: found.append((args, countdown))
    )
    return found


@pytest.fixture
def told(monkeypatch):
    found = []
    monkeypatch.setattr(waking, "nudge", lambda *call, machine: found.append(call))
    return found


def look(stage):
    """What the observer does with the pods that it finds."""
    pods = read_pods(list(stage.fake.pods.values()), stage.fake.now)
    tell(stage.cluster, store_pods(stage.cluster, pods, stage.fake.now))


def test_it_rings_for_every_rollout_that_is_due(stage, rung):
    rollout = stage.propose(stage.release("b"))
    tasks.sweep_rollouts()
    ((task, at),) = [call for call in rung if call[0] != tasks.KEEP]
    assert task == tasks.NEXT
    passes = rollout.fence
    tasks.drive_next(at)
    rollout.refresh_from_db()
    assert rollout.fence > passes


def test_a_sweeps_bell_is_for_the_one_that_waits_longest(rung, monkeypatch):
    driven = []
    monkeypatch.setattr(tasks, "drive_rollout", driven.append)
    monkeypatch.setattr(tasks.driving, "due_rollouts", lambda: [7, 3, 5, 8, 9, 2])
    tasks.sweep_rollouts()
    assert [call[0] for call in rung] == [tasks.NEXT] * tasks.CHAINS
    now = rung.pop()[1]
    rung.clear()
    tasks.drive_next(now)
    assert (driven, rung) == ([7], [(tasks.NEXT, now)])


def test_a_timer_lets_one_that_is_late_go_first(stage, rung):
    rollout = stage.propose(stage.release("b"))
    row = Rollout.objects.filter(pk=rollout.pk)
    row.update(look_again=database_now() - timedelta(seconds=5))
    tasks.follow_rollout(999_999)
    assert rung == [(tasks.DRIVE, 999_999)]
    row.update(look_again=database_now() - timedelta(seconds=11))
    tasks.follow_rollout(999_999)
    assert rung[1:] == [(tasks.DRIVE, rollout.pk), (tasks.DRIVE, 999_999)]


def test_what_a_person_asks_for_goes_before_all_that_machines_ring_for(stage, monkeypatch):
    """In the order of a worker: 0 first. Bells without a priority have that of 0."""
    sent = []
    monkeypatch.setattr(
        nudging.current_app, "send_task",
        lambda task, args, retry, priority=0: sent.append((priority, task)),
    )  # fmt: skip
    rollout = stage.propose(stage.release("b"))
    sent.clear()
    tasks.follow_rollout(rollout.pk)
    tasks.sweep_rollouts()
    with transaction.atomic():
        stage.act(actions.abort_rollout, rollout.pk, why="no")
    assert (0, tasks.DRIVE) in sent
    assert sorted(priority for priority, _ in sent if priority)[0] == nudging.MACHINES
    assert max(sent)[0] == nudging.LAST


def test_bells_of_sweeps_do_not_pile_up(rung, monkeypatch):
    driven = []
    monkeypatch.setattr(tasks, "drive_rollout", driven.append)
    monkeypatch.setattr(tasks.driving, "due_rollouts", lambda: [7, 3])
    tasks.drive_next((database_now() - timedelta(seconds=6)).isoformat())
    assert (driven, rung) == ([7], [])  # answered late: it does one, later sweeps rang for the rest
    monkeypatch.setattr(tasks.driving, "due_rollouts", lambda: [])
    tasks.drive_next(database_now().isoformat())
    assert (driven, rung) == ([7], [])


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


def test_it_goes_on_as_soon_as_a_pod_that_it_waits_for_has_changed(stage, timed, told):
    rollout = stage.propose(stage.release("b"))
    stage.approve(rollout)
    stage.run(rollout, {Phase.CANARY_STARTING})
    tasks.driving.drive(rollout.pk)  # a replica is declared
    stage.fake.tick(1)
    look(stage)
    assert told == [(waking.PODS_CHANGED, rollout.pk)]
    Rollout.objects.filter(pk=rollout.pk).update(look_again=timezone.now() + timedelta(hours=1))
    passes = rollout.fence
    tasks.pods_changed(rollout.pk)
    rollout.refresh_from_db()
    assert rollout.fence > passes


def test_it_tells_no_rollout_of_pods_that_stayed_as_they_were(stage, told):
    rollout = stage.propose(stage.release("b"))
    stage.approve(rollout)
    stage.run(rollout, {Phase.CANARY_STARTING})
    look(stage)
    told.clear()
    look(stage)
    assert told == []


def test_a_bell_that_comes_late_starts_no_second_row_of_timers(stage, timed):
    rollout = stage.propose(stage.release("b"))
    stage.approve(rollout)
    stage.run(rollout, {Phase.CANARY_STARTING})
    Rollout.objects.filter(pk=rollout.pk).update(look_again=timezone.now() + timedelta(seconds=1))
    rollout.refresh_from_db()
    tasks.drive_rollout(rollout.pk)
    assert timed == []
    assert Rollout.objects.get(pk=rollout.pk).fence == rollout.fence
