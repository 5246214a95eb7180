"""Drills on the ordinary machine: taken back at their moment, and a report that stays."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from fleet.actions import rollouts
from fleet.actions.drills import due_reports, propose_drill, write_report
from fleet.models import Deployment, Drill, DrillReport, Rollout, RolloutAnswer
from fleet.queries.drills import drill_age, drill_ages, get_drill, search_drills
from fleet.queries.overview import get_overview
from fleet.rules.drill import SETTLES, Limits, Moment
from fleet.rules.phases import FINAL, Phase, PlanKind
from fleet.tasks.drills import report_drills
from tenants.base.scope import fleet_scope
from tenants.errors import Conflict, Forbidden, Invalid, NotFound
from tenants.models import AuditEvent, ChangeRequest
from tests.fleet.drive.stage import STEPS, make_stage, make_viewer

pytestmark = pytest.mark.django_db(transaction=True)
WIDE = Limits(traffic_back_seconds=60, full_back_seconds=600)


@pytest.fixture
def stage():
    return make_stage()


def plan(stage, moment=Moment.STEP, step=1, **more):
    fields = {"steps": STEPS, "soak_seconds": 20, "limits": WIDE, "reason": "as every quarter"}
    release = more.pop("release", None) or stage.release("b")
    return stage.act(
        propose_drill, stage.service.pk, release.pk, moment=moment, step=step, **fields | more
    )


def run(stage, drill):
    rollout = Rollout.objects.get(pk=drill.rollout_id)
    stage.approve(rollout)
    return stage.run(rollout)


def reported(drill):
    with fleet_scope():
        return write_report(drill.pk, timezone.now())


MOMENTS = {
    Moment.CANARY: "canary_verifying",
    Moment.STEP: "analyzing",
    Moment.PROMOTING: "promoting",
    Moment.SOAKING: "soaking",
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_it_is_taken_back_at_its_moment_and_ends_on_the_old_release(stage, moment):
    drill = plan(stage, moment)
    rollout = run(stage, drill)
    assert rollout.phase == Phase.ROLLED_BACK, rollout.why
    stage.service.refresh_from_db()
    assert stage.service.current_release_id == rollout.from_release_id
    rows = {d.release_id: (d.replicas, d.weight) for d in Deployment.objects.all()}
    assert rows == {rollout.from_release_id: (4, 100), rollout.to_release_id: (0, 0)}
    report = reported(drill)
    assert report.verdict == "passed", report.why
    assert report.report["taken_back_in"] == MOMENTS[moment]
    assert 0 <= report.report["traffic_back_seconds"] <= report.report["full_back_seconds"]
    assert report.report["phases"][-1]["phase"] == "rolled_back"
    assert rollout.wish_why.startswith(f"{drill}: ")


def test_a_terminal_plans_and_shows_it(stage):
    stage.release("b")

    def say(*args, **options):
        out = StringIO()
        call_command("drill", *map(str, args), stdout=out, **options)
        return out.getvalue()

    planned = say("plan", "chat", 2, "--as", "olga@example.com", "--at", "canary", "--lost", 5)
    drill = Drill.objects.get()
    assert f"{drill} chat r1 -> r2 -> r1, taken back while the canary is verified: wai" in planned
    with pytest.raises(CommandError, match="has not ended"):
        say("report", drill.pk)
    run(stage, drill)
    told = say("report", drill.pk)
    assert "Requests lost: 0, at most 5: kept" in told
    assert DrillReport.objects.get().digest in told
    assert "passed" in say("list")


def test_the_second_step_is_not_the_first(stage):
    drill = plan(stage, step=2)
    run(stage, drill)
    asked = next(p for p in reported(drill).report["phases"] if p["who"] == f"system:{drill}")
    assert (asked["phase"], asked["step"]) == ("analyzing", 1)


def test_lost_requests_fail_it_and_are_told_by_tenant(stage):
    drill = plan(stage)
    rollout = run(stage, drill)
    with fleet_scope():
        RolloutAnswer.objects.create(
            rollout=rollout, tenant_id=7, release_id=rollout.to_release_id, leaving=True,
            outcome="failed", reason="", cut=True, requests=3, last_began=timezone.now(),
            last_ended=timezone.now(),
        )  # fmt: skip
    report = reported(drill)
    assert report.verdict == "failed"
    assert report.report["lost_by_tenant"] == [{"tenant": "7", "requests": 3}]
    assert report.report["answers_cut"] == 3
    assert "requests lost: 3, at most 0" in report.why


def test_one_that_somebody_aborts_before_proves_nothing(stage):
    drill = plan(stage)
    rollout = Rollout.objects.get(pk=drill.rollout_id)
    stage.act(rollouts.abort_rollout, rollout.pk, why="not today")
    stage.run(rollout)
    report = reported(drill)
    assert (report.verdict, report.report["checks"]) == ("not_run", [])
    with fleet_scope():
        assert drill_age(stage.olga, stage.service.pk, timezone.now()).last is None


def test_it_waits_for_somebody_elses_approval(stage):
    drill = plan(stage)
    with fleet_scope():
        change = ChangeRequest.objects.get(pk=drill.rollout.change_id)
        assert "it is taken back at step 1. as every quarter" in change.reason
    rollout = Rollout.objects.get(pk=drill.rollout_id)
    for _ in range(3):
        stage.step(rollout)
    assert rollout.phase == Phase.AWAITING_APPROVAL
    with fleet_scope():
        row = get_drill(stage.olga, drill.pk)
    assert (row.state, row.promise["traffic_back"]) == (
        "waiting", rollout.plan["plan"]["traffic_back_seconds"],
    )  # fmt: skip


def test_the_sweep_writes_one_report_after_the_last_usage_arrived(stage):
    drill = plan(stage)
    rollout = run(stage, drill)
    assert rollout.phase in FINAL
    ended = rollout.ended_at
    assert due_reports(ended + SETTLES - timedelta(seconds=1)) == []
    assert due_reports(ended + SETTLES) == [drill.pk]
    Rollout.objects.filter(pk=rollout.pk).update(ended_at=timezone.now() - SETTLES)
    report_drills()
    report_drills()
    assert DrillReport.objects.count() == 1
    assert reported(drill) is None
    with fleet_scope():
        verbs = AuditEvent.objects.filter(verb__startswith="drill.").order_by("id")
        assert list(verbs.values_list("verb", flat=True)) == ["drill.propose", "drill.report"]
        assert not drill_age(stage.olga, stage.service.pk, timezone.now()).is_stale
        later = timezone.now() + timedelta(days=91)
        assert [a.is_stale for a in drill_ages(stage.olga, later)] == [True]
        assert [d.pk for d in search_drills(stage.olga, state="passed")] == [drill.pk]


def test_a_failed_and_an_overdue_drill_wait_for_a_person(stage):
    def lines(now):
        with fleet_scope():
            found = get_overview(stage.olga, now).attention
        return [(a.kind, a.key, a.title) for a in found if a.kind.startswith("drill")]

    drill = plan(stage, limits=Limits(traffic_back_seconds=0.001, full_back_seconds=600))
    now = timezone.now()
    assert lines(now) == []
    assert lines(now + timedelta(days=91)) == [("drills", "", "chat is overdue for a drill")]
    run(stage, drill)
    reported(drill)
    want = ("drill", str(drill.pk), f"{drill} chat: the drill failed")
    assert lines(now) == [want]
    again = plan(stage, release=stage.release("c"))
    run(stage, again)
    reported(again)
    assert lines(now) == []


CHANGES = {"update": "UPDATE {table} SET id = id", "delete": "DELETE FROM {table}"}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("table", [Drill, DrillReport])
def test_plan_and_report_are_never_changed(stage, table, change):
    drill = plan(stage)
    run(stage, drill)
    reported(drill)
    sql = CHANGES[change].format(table=table._meta.db_table)
    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
        connection.cursor().execute(sql)


REFUSED = {
    "no such step": ({"step": 3}, Conflict, "There is no step 3"),
    "no canary": (
        {"moment": Moment.CANARY, "kind": PlanKind.RECREATE, "consent": True}, Conflict,
        "neither canary nor steps",
    ),
    "no time": ({"limits": Limits(full_back_seconds=0)}, Invalid, ""),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_drilled_is_refused_whole(stage, case):
    given, error, sentence = REFUSED[case]
    with pytest.raises(error, match=sentence):
        plan(stage, **given)
    assert not Rollout.objects.exists()


def test_nothing_to_go_back_to_is_refused():
    stage = make_stage(serving=False)
    with pytest.raises(Conflict, match="no release to go back to"):
        plan(stage)


def test_only_who_may_propose_plans_one_and_only_the_fleet_sees_them(stage, acme):
    release = stage.release("b")
    with fleet_scope(), pytest.raises(Forbidden):
        propose_drill(stage.vic, stage.service.pk, release.pk, moment=Moment.SOAKING)
    stranger = make_viewer("mal", "operator", acme)
    with pytest.raises(NotFound):
        search_drills(stranger)
