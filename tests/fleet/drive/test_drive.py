"""The durable loop on PostgreSQL: eligibility, success, stale claims, contention, poison."""

import threading
import uuid
from datetime import timedelta

import pytest
from django.db import DatabaseError, connection
from django.utils import timezone

from fleet.actions import rollouts as actions
from fleet.drive import rollout as driving
from fleet.drive.rollout import drive, due_rollouts
from fleet.models import Deployment, GateResult, Rollout, RolloutEvent, StartSample
from fleet.queries.overview import get_overview
from fleet.rules.phases import Cause, Phase
from fleet.rules.situation import StepPlan
from tenants.base.scope import fleet_scope
from tenants.errors import Conflict
from tenants.models import AuditEvent, ChangeRequest
from tests.fleet.drive.stage import make_stage
from tests.plugins.database import end_connections

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def stage():
    return make_stage()


def test_it_moves_a_service_to_a_good_release(stage):
    rollout = stage.propose(stage.release("b"))
    stage.approve(rollout)
    stage.run(rollout)
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    stage.service.refresh_from_db()
    assert stage.service.current_release_id == rollout.to_release_id
    rows = {d.release_id: (d.replicas, d.weight) for d in Deployment.objects.all()}
    assert rows == {rollout.to_release_id: (4, 100), rollout.from_release_id: (0, 0)}
    assert stage.fake.serving(rollout.to_release.fingerprint) == 4


def test_it_keeps_gates_starts_and_a_timeline(stage):
    rollout = stage.propose(stage.release("b"))
    stage.approve(rollout)
    stage.run(rollout)
    assert [g.verdict for g in GateResult.objects.order_by("id")] == ["pass", "pass"]
    assert StartSample.objects.filter(release=rollout.to_release).count() == 4
    phases = list(RolloutEvent.objects.order_by("id").values_list("phase", flat=True))
    assert phases[0] == Phase.VALIDATING
    assert phases[-1] == Phase.SUCCEEDED
    with fleet_scope():
        verbs = set(AuditEvent.objects.values_list("verb", flat=True))
    assert {"rollout.propose", "change.approve", "rollout.succeeded"} <= verbs


def test_it_waits_for_an_approval_and_writes_nothing_before(stage):
    rollout = stage.propose(stage.release("b"))
    stage.fake.calls.clear()
    for _ in range(5):
        stage.step(rollout)
    assert rollout.phase == Phase.AWAITING_APPROVAL
    assert {c[0] for c in stage.fake.calls} == {"dry_run", "look"}


def test_it_rejects_what_the_dry_run_refuses_and_asks_nobody_any_more(stage):
    stage.fake.refuses = 'unknown field "spec.replica"'
    rollout = stage.propose(stage.release("b"))
    stage.run(rollout)
    assert rollout.phase == Phase.REJECTED
    assert 'unknown field "spec.replica"' in rollout.why
    assert ChangeRequest.objects.get(pk=rollout.change_id).state == "withdrawn"


def test_it_rejects_what_is_not_what_was_approved(stage):
    rollout = stage.propose(stage.release("b"))
    stage.approve(rollout)
    Rollout.objects.filter(pk=rollout.pk).update(steps=[])
    stage.run(rollout)
    assert rollout.phase == Phase.REJECTED
    assert "not what would be applied" in rollout.why


@pytest.mark.parametrize(
    ("behaviour", "cause"), [("crash", Cause.CRASH_LOOP), ("wrong_fingerprint", Cause.WRONG_ANSWER)]
)
def test_it_goes_back_and_names_the_cause(stage, behaviour, cause):
    release = stage.release("b")
    stage.fake.behave(release.fingerprint, behaviour)
    rollout = stage.propose(release)
    stage.approve(rollout)
    stage.run(rollout)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, cause)
    assert stage.fake.serving(rollout.from_release.fingerprint) == 4
    stage.service.refresh_from_db()
    assert stage.service.current_release_id == rollout.from_release_id


def test_it_goes_back_when_the_gate_fails(stage):
    stage.errors = 0.1
    rollout = stage.propose(stage.release("b"))
    stage.approve(rollout)
    stage.run(rollout)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.GATE_FAILED)
    assert GateResult.objects.get().verdict == "fail"


def test_it_goes_back_when_one_tenant_is_hurt(stage):
    """The total is inside its limits: the other tenants are many."""
    stage.per_second, stage.tenants, stage.hurt = 100, {1: 1.0, 2: 0.02}, 2
    rollout = stage.propose(stage.release("b"), steps=(StepPlan(50, 60, 100),))
    stage.approve(rollout)
    stage.run(rollout)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.GATE_FAILED)
    kept = GateResult.objects.order_by("-id")[0]
    failed = [c["group"] for c in kept.checks if c["verdict"] == "fail"]
    assert failed == ["tenant 2"]
    assert "tenant 2: error ratio" in rollout.why
    assert kept.evidence["alpha"] > 0
    assert "FROM traffic_slot" in kept.evidence["sources"][0]


def test_it_tells_what_somebody_deleted(stage):
    rollout = stage.propose(stage.release("b"))
    stage.approve(rollout)
    stage.run(rollout, until={Phase.SHIFTING})
    del stage.fake.deployments[Deployment.objects.get(release=rollout.from_release).name]
    stage.step(rollout)
    assert rollout.phase == Phase.SHIFTING
    told = RolloutEvent.objects.filter(rollout=rollout, why__startswith="Somebody deleted r1")
    assert told.count() == 1
    stage.run(rollout)
    assert rollout.phase == Phase.SUCCEEDED
    assert told.count() == 1


def test_it_names_the_manager_that_owns_a_field(stage):
    rollout = stage.propose(stage.release("b"))
    stage.approve(rollout)
    stage.run(rollout, until={Phase.CANARY_STARTING})
    stage.fake.owned_by = "kubectl"
    stage.step(rollout)
    assert (rollout.phase, rollout.cause) == (Phase.ABORTING, Cause.OWNERSHIP)
    assert "kubectl" in rollout.why
    stage.fake.owned_by = ""
    assert stage.run(rollout).phase == Phase.ROLLED_BACK


def test_it_rolls_a_finished_rollout_back_without_an_approval(stage):
    rollout = stage.propose(stage.release("b"))
    stage.approve(rollout)
    stage.run(rollout)
    back = stage.act(actions.roll_back, rollout.pk, why="answers got worse")
    assert back.change_id is None
    stage.run(back)
    assert back.phase == Phase.SUCCEEDED, back.why
    stage.service.refresh_from_db()
    assert stage.service.current_release_id == rollout.from_release_id
    assert stage.fake.serving(rollout.from_release.fingerprint) == 4
    assert not GateResult.objects.filter(rollout=back).exists()


def test_it_refuses_to_go_back_from_what_is_not_the_last_word(stage):
    rollout = stage.propose(stage.release("b"))
    stage.approve(rollout)
    stage.run(rollout)
    stage.run(stage.act(actions.roll_back, rollout.pk))
    with pytest.raises(Conflict, match="not the last word"):
        stage.act(actions.roll_back, rollout.pk)


def test_it_places_the_first_release():
    stage = make_stage(replicas=2, serving=False)
    rollout = stage.propose(stage.release("a"))
    stage.approve(rollout)
    stage.run(rollout)
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    assert Deployment.objects.get().weight == 100


def test_it_finds_what_is_due_and_nothing_else(stage):
    rollout = stage.propose(stage.release("b"))
    assert due_rollouts() == [rollout.pk]
    rows = Rollout.objects.filter(pk=rollout.pk)
    rows.update(look_again=timezone.now() + timedelta(minutes=1))
    assert due_rollouts() == []
    rows.update(look_again=timezone.now() - timedelta(minutes=1))
    Rollout.take_claim(rollout.pk)
    assert due_rollouts() == []
    rows.update(claim_until=timezone.now() - timedelta(seconds=1))
    assert due_rollouts() == [rollout.pk]
    rows.update(claim_until=None, phase=Phase.SUCCEEDED)
    assert due_rollouts() == []


def test_it_drops_the_pass_of_a_worker_that_lost_its_claim(stage):
    rollout = stage.propose(stage.release("b"))
    stage.approve(rollout)
    stage.run(rollout, until={Phase.CANARY_STARTING})
    before = RolloutEvent.objects.count()
    real = stage.fake.look

    def stolen(selector, kinds):
        Rollout.objects.filter(pk=rollout.pk).update(claim=uuid.uuid4())
        return real(selector, kinds)

    stage.fake.look = stolen
    stage.fake.calls.clear()
    assert drive(rollout.pk, stage.outside) is None
    assert RolloutEvent.objects.count() == before
    assert [c for c in stage.fake.calls if c[0] == "apply"] == []


def test_it_lets_one_of_two_workers_have_the_row(stage):
    rollout = stage.propose(stage.release("b"))
    inside, go = threading.Event(), threading.Event()
    real = stage.fake.apply

    def slow(manifest, **more):
        inside.set()
        go.wait(5)
        return real(manifest, **more)

    stage.fake.apply = slow
    results = []

    def work():
        results.append(drive(rollout.pk, stage.outside))
        connection.close()

    worker = threading.Thread(target=work)
    worker.start()
    assert inside.wait(5)
    assert drive(rollout.pk, stage.outside) is None
    go.set()
    worker.join(5)
    assert results[0] is not None


def test_it_parks_a_poisoned_row_with_its_traceback(stage):
    rollout = stage.propose(stage.release("b"))

    def broken(*_args, **_more):
        raise ZeroDivisionError("a bug")

    stage.fake.apply = broken
    with pytest.raises(ZeroDivisionError):
        drive(rollout.pk, stage.outside)
    rollout.refresh_from_db()
    assert rollout.failures == 1
    assert "a bug" in rollout.failure
    assert rollout.look_again > timezone.now()
    assert rollout.claim is None


def test_a_pass_whose_connection_dies_frees_its_row_at_once(stage):
    rollout = stage.propose(stage.release("b"))
    stage.approve(rollout)
    stage.run(rollout, until={Phase.CANARY_STARTING})
    real, died = stage.fake.look, []

    def look(*args, **more):
        if not died:
            died.append(end_connections())
        return real(*args, **more)

    stage.fake.look = look
    with pytest.raises(DatabaseError):
        drive(rollout.pk, stage.outside)
    rollout.refresh_from_db()
    assert (rollout.claim, rollout.failures) == (None, 0)
    assert rollout.pk in due_rollouts()
    assert stage.run(rollout).phase == Phase.SUCCEEDED


def test_it_keeps_its_phase_while_the_cluster_is_down(stage):
    rollout = stage.propose(stage.release("b"))
    stage.approve(rollout)
    stage.run(rollout, until={Phase.ANALYZING})
    stage.fake.down = True
    stage.step(rollout)
    assert rollout.phase == Phase.ANALYZING
    assert "does not answer" in rollout.why


def test_it_says_since_when_it_is_hindered_until_it_is_not(stage):
    rollout = stage.propose(stage.release("b"))
    stage.approve(rollout)
    stage.run(rollout, until={Phase.ANALYZING})
    assert rollout.hindered_since is None
    stage.fake.down = True
    stage.step(rollout)
    since = rollout.hindered_since
    stage.step(rollout)
    assert since is not None and rollout.hindered_since == since
    assert not needing(stage, rollout, since)
    (told,) = needing(stage, rollout, since + timedelta(minutes=1))
    assert "makes no progress" in told.title and "does not answer" in told.why
    stage.fake.down = False
    stage.step(rollout)
    assert rollout.hindered_since is None


def needing(stage, rollout, now):
    """What the overview says of it."""
    with fleet_scope():
        found = get_overview(stage.olga, now).attention
    return [a for a in found if (a.kind, a.key) == ("rollout", str(rollout.pk))]


def test_it_gives_traffic_back_in_the_pass_that_sees_the_abort(stage):
    rollout = stage.propose(stage.release("b"))
    stage.approve(rollout)
    stage.run(rollout, until={Phase.ANALYZING})
    stage.act(actions.abort_rollout, rollout.pk, why="complaints")
    stage.step(rollout)
    weights = dict(Deployment.objects.values_list("release_id", "weight"))
    assert weights == {rollout.from_release_id: 100, rollout.to_release_id: 0}
    stage.run(rollout)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.OPERATOR)
    assert "complaints" in rollout.why


@pytest.mark.parametrize("news", ["approval", "abort"])
def test_it_looks_again_at_once_when_somebody_decided_during_the_pass(stage, monkeypatch, news):
    rollout = stage.propose(stage.release("b"))
    stage.run(rollout, until={Phase.AWAITING_APPROVAL})
    real = driving.decide

    def slow(*seen):
        if news == "approval":
            stage.approve(rollout)
        else:
            stage.act(actions.abort_rollout, rollout.pk)
        return real(*seen)

    monkeypatch.setattr(driving, "decide", slow)
    again = drive(rollout.pk, stage.outside)
    assert again == driving.SHORTLY
    assert due_rollouts() == [rollout.pk]


def test_it_refuses_a_second_open_rollout(stage):
    stage.propose(stage.release("b"))
    with pytest.raises(Conflict, match="is open"):
        stage.propose(stage.release("c"))


def test_it_refuses_a_plan_without_room_and_says_what_is_missing():
    stage = make_stage(replicas=1, gpus=1)
    with pytest.raises(Conflict, match="consent"):
        stage.propose(stage.release("b"))


def test_it_moves_no_traffic_to_replicas_that_gateways_do_not_know(stage):
    """Nobody observes: the rollout waits, and says for what."""
    rollout = stage.propose(stage.release("b"))
    stage.approve(rollout)
    stage.observe = lambda: None
    for _ in range(20):
        stage.step(rollout)
    assert rollout.phase == Phase.SHIFTING
    assert "1 of 1 verified replicas" in rollout.why
    assert "not known to gateways yet" in rollout.why
    assert list(Deployment.objects.filter(weight__gt=0).values_list("weight", flat=True)) == [100]
    del stage.observe
    stage.run(rollout)
    assert rollout.phase == Phase.SUCCEEDED, rollout.why


def test_it_asks_the_observer_to_look_at_replicas_that_it_admitted(stage):
    later = timezone.now() + timedelta(hours=1)
    type(stage.cluster).objects.update(look_again=later)
    rollout = stage.propose(stage.release("b"))
    stage.approve(rollout)
    stage.run(rollout, until={Phase.SHIFTING})
    stage.cluster.refresh_from_db()
    assert stage.cluster.look_again < later


def test_what_others_wrote_into_a_release_does_not_hold_up_its_way_back(stage):
    """It is deleted where it cannot be scaled to 0: nothing of theirs is written over."""
    rollout = stage.propose(stage.release("b"))
    stage.approve(rollout)
    stage.run(rollout, until={Phase.ANALYZING})
    stage.fake.owned_by = "kubectl-patch"
    stage.act(actions.abort_rollout, rollout.pk, why="drill")
    stage.run(rollout)
    assert rollout.phase == Phase.ROLLED_BACK, rollout.why
    told = RolloutEvent.objects.filter(rollout=rollout).values_list("phase", flat=True)
    assert Phase.ROLLBACK_BLOCKED.value not in told
    old = Deployment.objects.get(release=rollout.from_release)
    assert list(stage.fake.deployments) == [old.name]
