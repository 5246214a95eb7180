"""Drills of a lost pod: approved by somebody else, killed in a quiet moment, watched, reported."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone
from msgspec.structs import replace

from fleet.actions.drills import due_reports, write_report
from fleet.actions.pod_losses import propose_pod_loss, wake_by_change
from fleet.actions.traffic import record
from fleet.drive.keep import due_deployments, keep
from fleet.drive.pod_loss import drive, due_losses, is_due
from fleet.models import Deployment, Drill, PodLoss, Service
from fleet.queries.drills import drill_age, get_drill
from fleet.queries.pod_losses import loss_hours
from fleet.rules.drill import SETTLES, Limits
from fleet.rules.pod_loss import PATIENCE
from fleet.rules.traffic import TrafficSample
from fleet.tasks.drills import drive_pod_loss, pod_loss_decided
from tenants.actions import changes
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import Conflict, Forbidden
from tenants.models import AuditEvent, ChangeRequest
from tests.fleet.drive.stage import make_stage

pytestmark = pytest.mark.django_db(transaction=True)
WIDE = Limits(traffic_back_seconds=60, full_back_seconds=120, requests_lost=3)


@pytest.fixture
def stage():
    made = make_stage()
    made.observe()
    return made


def plan(stage, **more):
    fields = {"limits": WIDE, "reason": "a node may die"}
    drill = stage.act(propose_pod_loss, stage.service.pk, **fields | more)
    return PodLoss.objects.select_related("drill").get(drill=drill)


def decide(stage, loss, approve=True):
    change = ChangeRequest.objects.get(pk=loss.change_id)
    with scope_of(stage.vic):
        why = "" if approve else "not today"
        changes.decide(stage.vic, change.pk, digest=change.digest, approve=approve, why=why)
    assert wake_by_change(change.pk) == loss.pk


def step(stage, loss, seconds=5):
    drive(loss.pk, stage.outside)
    stage.fake.tick(seconds)
    stage.observe()
    loss.refresh_from_db()


def run(stage, loss, most=60, kept=True):
    for _ in range(most):
        if loss.ended_at:
            return loss
        step(stage, loss)
        for row in due_deployments() if kept else ():
            keep(row, stage.outside)
            stage.observe()
    raise AssertionError(f"still {loss.phase}: {loss.why}")


def killed(stage):
    return [call for call in stage.fake.calls if call[0] == "delete"]


def reported(loss):
    return write_report(loss.drill_id, timezone.now() + SETTLES)


def test_one_is_killed_another_comes_and_the_report_stays(stage):
    loss = plan(stage)
    decide(stage, loss)
    run(stage, loss)
    assert loss.phase == "ended", loss.why
    assert (loss.before, loss.least, len(killed(stage))) == (4, 3, 1)
    assert loss.pod not in {p["metadata"]["name"] for p in stage.fake.pods.values()}
    assert loss.killed_at < loss.out_at <= loss.replaced_at
    assert Deployment.objects.get().replicas == 4
    assert due_reports(loss.ended_at + SETTLES) == [loss.drill_id]
    report = reported(loss)
    assert report.verdict == "passed", report.why
    assert [p["phase"] for p in report.report["phases"]] == [
        "choosing", "killing", "watching", "ended",
    ]  # fmt: skip
    assert report.report["replaced_by"] == loss.replaced_by
    with fleet_scope():
        verbs = AuditEvent.objects.filter(verb__startswith="drill.").order_by("id")
        assert list(verbs.values_list("verb", flat=True)) == [
            "drill.propose", "drill.kill", "drill.ended", "drill.report",
        ]  # fmt: skip
        row = get_drill(stage.olga, loss.drill_id)
        assert (row.state, row.rollout_id, row.pod) == ("passed", None, loss.pod)
        assert drill_age(stage.olga, stage.service.pk, timezone.now()).last is None
        hours = loss_hours(stage.olga, drill_id=loss.drill_id)
    held = (loss.replaced_at - loss.killed_at).total_seconds() * 1000
    assert sum(h.gpu_ms for _, h in hours) == pytest.approx(held, abs=2)


def test_nobody_is_killed_before_somebody_else_approved(stage):
    loss = plan(stage)
    for _ in range(3):
        step(stage, loss)
    assert (loss.phase, killed(stage)) == ("awaiting_approval", [])
    decide(stage, loss, approve=False)
    run(stage, loss)
    assert (loss.phase, loss.killed_at) == ("cancelled", None)
    assert "not today" in loss.why
    assert reported(loss).verdict == "not_run"


def test_the_only_replica_needs_consent():
    stage = make_stage(replicas=1)
    stage.observe()
    loss = plan(stage)
    decide(stage, loss)
    for _ in range(4):
        step(stage, loss)
    assert "without consent the only one is not killed" in loss.why
    step(stage, loss, PATIENCE.total_seconds() + 60)
    run(stage, loss)
    assert (loss.phase, killed(stage)) == ("cancelled", [])
    again = plan(stage, consent=True)
    decide(stage, again)
    run(stage, again)
    assert (again.phase, again.least) == ("ended", 0)


def test_an_open_rollout_holds_it(stage):
    loss = plan(stage)
    decide(stage, loss)
    rollout = stage.propose(stage.release("b"))
    stage.approve(rollout)
    stage.run(rollout, until={"canary_verifying"})
    for _ in range(3):
        step(stage, loss)
    assert f"{rollout} moves this service" in loss.why
    assert loss.killed_at is None


def test_where_none_comes_it_fails_with_what_was_lost(stage):
    loss = plan(stage)
    decide(stage, loss)
    while loss.killed_at is None:
        step(stage, loss)
    stage.fake.behaviours[stage.service.current_release.fingerprint] = "never"
    sample = TrafficSample(
        loss.killed_at + timedelta(seconds=1), 1, stage.service.pk,
        stage.service.current_release_id, "interactive", "served", ttft_ms=40, itl_ms=8,
    )  # fmt: skip
    with fleet_scope():
        record([sample] * 20 + [replace(sample, outcome="failed")] * 4, now=stage.fake.now)
    run(stage, loss, kept=False)
    report = reported(loss)
    assert report.verdict == "failed"
    assert "another one serves: not seen, at most 120 s" in report.why
    assert "requests lost: 4, at most 3" in report.why
    assert report.report["lost_by_tenant"] == [{"tenant": "1", "requests": 4}]


def test_a_pass_that_is_made_twice_kills_one(stage):
    loss = plan(stage)
    decide(stage, loss)
    while loss.phase != "killing":
        step(stage, loss)
    chosen = loss.uid
    before = PodLoss.objects.filter(pk=loss.pk).values("phase", "phase_since", "killed_at").get()
    step(stage, loss)
    PodLoss.objects.filter(pk=loss.pk).update(**before)  # the worker died before the record
    run(stage, loss)
    assert {name for _, name in killed(stage)} == {loss.pod}
    assert loss.uid == chosen


def test_one_at_a_time_and_only_who_may_propose(stage):
    plan(stage)
    with pytest.raises(Conflict, match="is open: let it end first"):
        plan(stage)
    assert Drill.objects.count() == 1
    with fleet_scope(), pytest.raises(Forbidden):
        propose_pod_loss(stage.vic, stage.service.pk)
    empty = Service.objects.create(name="empty")
    with pytest.raises(Conflict, match="no replica to kill"):
        stage.act(propose_pod_loss, empty.pk)


def test_a_claim_that_is_held_is_left_alone(stage):
    loss = plan(stage)
    assert due_losses() == [loss.pk]
    PodLoss.take_claim(loss.pk)
    assert drive(loss.pk, stage.outside) is None
    assert due_losses() == []


def test_one_that_is_not_due_has_no_pass_by_a_bell(stage):
    loss = plan(stage)
    step(stage, loss)
    assert not is_due(loss.pk)
    drive_pod_loss(loss.pk)
    fence = PodLoss.objects.get(pk=loss.pk).fence
    assert fence == loss.fence
    change = ChangeRequest.objects.get(pk=loss.change_id)
    with scope_of(stage.vic):
        changes.decide(stage.vic, change.pk, digest=change.digest, approve=False, why="no")
    pod_loss_decided(change.pk)
    loss.refresh_from_db()
    assert loss.phase == "cancelled"


def test_a_terminal_plans_it(stage):
    out = StringIO()
    call_command("drill", "lose-pod", "chat", "--as", "olga@example.com", "--lost", "7", stdout=out)
    drill = Drill.objects.get()
    assert f"{drill} chat r1, when a replica is killed: waiting" in out.getvalue()
    assert drill.limits["requests_lost"] == 7
