"""A freeze keeps rollouts from beginning; a way back and an abort are never frozen."""

from datetime import timedelta
from importlib import import_module

import pytest
from django.db import IntegrityError, connection, transaction

from fleet.actions import freezes, rollouts
from fleet.models import Freeze
from fleet.queries.freezes import held, held_rollouts, kept_back, list_freezes
from fleet.rules.freeze import Window
from fleet.rules.phases import Phase
from tenants.actions import changes
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import Conflict, Forbidden, Invalid
from tenants.models import AuditEvent, ChangeRequest
from tests.fleet.drive.stage import make_stage, make_viewer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def stage():
    return make_stage()


def freeze(stage, *, hours=8, title="Holidays", **scope):
    now = stage.fake.now
    ends = now + timedelta(hours=hours) if hours else None
    window = Window(title, "nobody is up", now - timedelta(hours=1), ends)
    return stage.act(freezes.create_freeze, window, **scope)


def proposed(stage):
    rollout = stage.propose(stage.release("b"))
    stage.step(rollout)
    assert rollout.phase == Phase.AWAITING_APPROVAL
    return rollout


def approved(stage):
    rollout = proposed(stage)
    stage.approve(rollout)
    stage.step(rollout)
    return rollout


def test_an_approved_rollout_waits_and_says_for_what(stage):
    freeze(stage)
    rollout = approved(stage)
    assert rollout.phase == Phase.AWAITING_APPROVAL
    assert "“Holidays” lets no rollout begin until" in rollout.why
    assert "nobody is up" in rollout.why
    with scope_of(stage.olga):
        ((waiting, _),) = held_rollouts(stage.olga, stage.fake.now)
    assert waiting == rollout


BEYOND = "9999-12-31 23:00+00", "10000-01-01 05:00+00", "infinity"


@pytest.mark.parametrize("end", BEYOND)
def test_a_window_of_years_that_no_clock_can_tell_is_none(stage, end):
    """Somewhere on earth it ends in the year 10000, for which no sentence and no page has words."""
    window = freeze(stage)
    with pytest.raises(IntegrityError, match="freeze_years"), transaction.atomic():
        end_in(window, end)


@pytest.mark.parametrize("end", BEYOND)
def test_one_from_before_that_was_refused_is_read_again(stage, end):
    migration = import_module("fleet.migrations.0151_years_of_freezes")
    window, hold = freeze(stage), freeze(stage, hours=0)
    Freeze.objects.update(zone="Pacific/Auckland")
    with transaction.atomic(), connection.cursor() as cursor:
        # Found before the real one, and of no constraint.
        cursor.execute('CREATE TEMP TABLE "freeze" AS SELECT * FROM public."freeze"')
        end_in(window, end)
        cursor.execute(migration.LAST)
        rollout = stage.propose(stage.release("b"))
        with scope_of(stage.olga):
            found = {f.id: f.ends_at for f in list_freezes(stage.olga, stage.fake.now)}
            waits = held(stage.olga, rollout, stage.fake.now)
        assert (found[window.pk].year, found[hold.pk]) == (2200, None)
        assert "until Thu 01 Jan 12:59 Pacific/Auckland" in waits.freezes[window.pk]
        transaction.set_rollback(True)


def end_in(window, end):
    with connection.cursor() as cursor:
        cursor.execute('UPDATE "freeze" SET ends_at = %s WHERE id = %s', [end, window.pk])


def test_it_begins_when_a_hold_is_ended(stage):
    hold = freeze(stage, hours=0, title="Incident 7")
    rollout = approved(stage)
    assert "until somebody ends it" in rollout.why
    with scope_of(stage.olga), pytest.raises(Forbidden, match=f"keeps back {rollout}, which you"):
        freezes.end_freeze(stage.olga, hold.pk, why="I want to go on")
    colleague = make_viewer("oscar", "operator")
    with scope_of(colleague):
        freezes.end_freeze(colleague, hold.pk, why="it is over")
    stage.step(rollout)
    assert rollout.phase == Phase.PREPARING
    with fleet_scope():
        verbs = AuditEvent.objects.filter(verb__startswith="freeze.")
        assert list(verbs.order_by("id").values_list("verb", flat=True)) == [
            "freeze.create", "freeze.end",
        ]  # fmt: skip


def test_a_window_that_holds_is_ended_by_an_approver_only(stage):
    window = freeze(stage)
    with pytest.raises(Forbidden):
        stage.act(freezes.end_freeze, window.pk, why="I want to go on")
    with scope_of(stage.vic):
        freezes.end_freeze(stage.vic, window.pk, why="agreed in the meeting")
        assert [f.state for f in list_freezes(stage.vic, stage.fake.now)] == ["over"]
        with pytest.raises(Forbidden):
            freezes.create_freeze(stage.vic, Window("x", "y", stage.fake.now))


def test_an_exception_needs_a_reason_and_somebody_elses_approval(stage):
    freeze(stage)
    rollout = approved(stage)
    with pytest.raises(Invalid, match="cannot wait"):
        stage.act(freezes.ask_exception, rollout.pk, why=" ")
    change_id = stage.act(freezes.ask_exception, rollout.pk, why="a leak")
    stage.step(rollout)
    assert rollout.phase == Phase.AWAITING_APPROVAL
    change = ChangeRequest.objects.get(pk=change_id)
    paul = make_viewer("paul", "approver")
    with scope_of(stage.olga), pytest.raises(Forbidden):
        changes.decide(stage.olga, change.pk, digest=change.digest, approve=True)
    with scope_of(paul):
        changes.decide(paul, change.pk, digest=change.digest, approve=True)
    stage.step(rollout)
    assert rollout.phase == Phase.PREPARING
    with pytest.raises(Conflict, match="needs no exception"):
        stage.act(freezes.ask_exception, rollout.pk, why="again")


def test_an_exception_is_from_the_freezes_that_its_approver_saw(stage):
    freeze(stage, title="Weekend")
    rollout = approved(stage)
    change_id = stage.act(freezes.ask_exception, rollout.pk, why="a leak")
    freeze(stage, hours=0, title="Incident 7")
    grant(stage, change_id)
    stage.step(rollout)
    assert rollout.phase == Phase.AWAITING_APPROVAL
    assert "“Incident 7” lets no rollout begin" in rollout.why
    with scope_of(stage.olga):
        assert kept_back([rollout], stage.fake.now) == {rollout.pk}
        ((_, found),) = held_rollouts(stage.olga, stage.fake.now)
    assert found.may_ask and "Incident 7" in found.sentence and len(found.freezes) == 2
    grant(stage, stage.act(freezes.ask_exception, rollout.pk, why="it mends the incident"))
    stage.step(rollout)
    assert rollout.phase == Phase.PREPARING
    assert kept_back([rollout], stage.fake.now) == set()


def grant(stage, change_id):
    change = ChangeRequest.objects.get(pk=change_id)
    with scope_of(stage.vic):
        changes.decide(stage.vic, change.pk, digest=change.digest, approve=True)


def test_who_was_refused_an_exception_may_ask_again(stage):
    freeze(stage)
    rollout = approved(stage)
    change_id = stage.act(freezes.ask_exception, rollout.pk, why="a leak")
    with scope_of(stage.olga):
        changes.withdraw(stage.olga, change_id, why="the reason was wrong")
        assert held(stage.olga, rollout, stage.fake.now).may_ask
    assert stage.act(freezes.ask_exception, rollout.pk, why="another leak") != change_id


def test_it_holds_only_where_it_is_planned(stage):
    freeze(stage, cluster_id=stage.cluster.pk)
    assert "Holidays" in approved(stage).why


def test_another_cluster_or_service_is_not_touched(stage):
    with pytest.raises(Invalid, match="no such cluster"):
        freeze(stage, cluster_id=999_999)
    other = type(stage.service).objects.create(name="other", cluster=stage.cluster)
    freeze(stage, service_id=other.pk)
    assert approved(stage).phase == Phase.PREPARING


def test_an_abort_and_a_way_back_are_never_frozen(stage):
    first = stage.propose(stage.release("b"))
    stage.approve(first)
    stage.run(first)
    assert first.phase == Phase.SUCCEEDED
    freeze(stage)
    back = stage.act(rollouts.roll_back, first.pk, why="worse")
    stage.run(back)
    assert back.phase == Phase.SUCCEEDED


def test_what_moves_already_goes_on(stage):
    rollout = stage.propose(stage.release("b"))
    stage.approve(rollout)
    stage.run(rollout, until={Phase.ANALYZING})
    freeze(stage)
    stage.run(rollout)
    assert rollout.phase == Phase.SUCCEEDED


def test_an_abort_ends_what_a_freeze_holds(stage):
    freeze(stage)
    rollout = approved(stage)
    stage.act(rollouts.abort_rollout, rollout.pk, why="not needed")
    stage.step(rollout)
    assert rollout.phase == Phase.CANCELLED
