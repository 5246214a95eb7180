"""Scaling by load on the real database: looked at, decided, kept, and brought to a cluster."""

from datetime import timedelta

import pytest
from django.utils import timezone

from fleet.actions import scaling as actions
from fleet.actions import services, trimming
from fleet.actions.freezes import create_freeze
from fleet.drive import scaling as driving
from fleet.drive.keep import due_deployments, keep
from fleet.models import (
    Cluster,
    Deployment,
    EngineSample,
    Node,
    ScalingDecision,
    ScalingPolicy,
    Service,
    StartSample,
)
from fleet.queries.plans import plan_rollout
from fleet.queries.scaling import find_policy, list_decisions, load_series
from fleet.rules.freeze import Window
from fleet.rules.scaling import Policy
from fleet.rules.schedule import Bounds, read_hours
from fleet.rules.steps import grid
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import Forbidden, Invalid, NotFound, PreconditionRequired, Stale
from tenants.models import AuditEvent
from tests.fleet.drive.stage import make_stage

pytestmark = pytest.mark.django_db(transaction=True)
POLICY = Policy(Bounds(1, 6), target=10, stable=timedelta(seconds=60), pause=timedelta(seconds=15))


@pytest.fixture
def stage():
    """Four replicas serve; the node has room for four more."""
    found = make_stage()
    found.observe()
    starts(found, 30, 30, 30)
    return found


def starts(stage, *seconds):
    StartSample.objects.all().delete()
    release = stage.service.current_release
    for number, took in enumerate(seconds):
        StartSample.objects.create(
            service=stage.service, release=release, cluster=stage.cluster, seconds=took,
            pod_uid=f"s{number}",
        )  # fmt: skip


@pytest.fixture
def row(stage):
    return Deployment.objects.get()


@pytest.fixture
def policy(stage):
    return stage.act(actions.set_policy, stage.service.pk, None, POLICY)


def say(stage, running, waiting=0.0):
    """Each admitted engine says it now."""
    EngineSample.objects.bulk_create(
        EngineSample(
            pod_uid=uid, service=stage.service, release_id=stage.service.current_release_id,
            at=stage.fake.now, running=running, waiting=waiting,
        )
        for uid in stage.fake.pods
    )  # fmt: skip


def look(stage, policy, running=None, waiting=0.0):
    """As observer, beat and worker do beside each other, 15 s later."""
    stage.fake.tick(15)
    stage.observe()
    Cluster.objects.update(observed_at=stage.fake.now)
    if running is not None:
        say(stage, running, waiting)
    return driving.scale(policy.pk, stage.outside)


def replicas_of(stage, row):
    keep(row.pk, stage.outside)
    return stage.fake.deployments[row.name]["spec"]["replicas"]


def test_it_orders_more_and_the_deployment_follows(stage, row, policy):
    decision = look(stage, policy, 11, waiting=2)
    assert (decision.wanted, decision.given) == (6, 6)
    row.refresh_from_db()
    assert row.replicas == 6
    assert due_deployments() == [row.pk]
    assert replicas_of(stage, row) == 6
    kept = ScalingDecision.objects.get()
    assert (kept.running, kept.waiting, kept.queued, kept.demand) == (44, 8, 0, 52)
    assert (kept.declared, kept.given, kept.serving, kept.changed) == (4, 6, 4, True)
    with fleet_scope():
        event = AuditEvent.objects.get(verb="service.scale")
    assert (event.actor, event.before, event.after) == (
        "system:scaling", {"replicas": 4}, {"replicas": 6},
    )  # fmt: skip
    assert event.why == kept.why
    assert "52 requests in flight" in kept.why


def test_it_counts_what_is_starting_already(stage, row, policy):
    look(stage, policy, 11, waiting=2)
    keep(row.pk, stage.outside)
    decision = look(stage, policy, 11, waiting=2)
    assert decision.given == 6
    assert ScalingDecision.objects.filter(changed=True).count() == 1


def test_it_goes_down_one_at_a_time_after_a_quiet_window(stage, row, policy):
    numbers = [look(stage, policy, 3).given for _ in range(10)]
    assert numbers == [4, 4, 4, 4, 4, 3, 2, 2, 2, 2]
    assert replicas_of(stage, row) == 2


def test_more_than_there_are_gpus_for_is_told_with_the_number_missing(stage, policy):
    Node.objects.update(gpus_allocatable=5)
    decision = look(stage, policy, 20)
    assert (decision.wanted, decision.given) == (6, 5)
    assert "6 wanted, 5 given: 1 H100-80GB-HBM3 missing. 1 H100-80GB-HBM3 are free" in decision.why


def test_gpus_of_replicas_that_wait_for_a_node_are_not_given_twice(stage, row, policy):
    Node.objects.update(gpus_allocatable=6)
    other = Service.objects.create(name="other", cluster=stage.cluster)
    Deployment.objects.create(
        service=other, release=row.release, cluster=stage.cluster, name="other", replicas=1
    )
    decision = look(stage, policy, 20)
    assert decision.given == 5
    assert "2 H100-80GB-HBM3 are free, 1 of them claimed already" in decision.why


def test_a_quota_limits_as_well(stage, policy):
    Cluster.objects.update(quotas=[{"name": "gpus", "hard": 5, "used": 4}])
    decision = look(stage, policy, 20)
    assert decision.given == 5
    assert "The quota gpus leaves 1 of 5 GPUs" in decision.why


def test_the_measured_lag_is_in_the_decision(stage, row, policy):
    starts(stage, 60, 60, 60, 60)
    for running in (2, 3, 4, 5, 6):
        decision = look(stage, policy, running)
    assert decision.forecast == 24 + 4 / 15 * 75
    assert "16 more a minute, so 44 when a replica has started (60 s, p95 of 4)" in decision.why
    assert decision.given == 5


def test_old_metrics_and_a_lost_cluster_change_nothing(stage, row, policy):
    look(stage, policy, 3)
    decision = look(stage, policy)
    assert (decision.given, "at least" in decision.why) == (4, False)
    stage.fake.tick(30)
    stage.observe()
    Cluster.objects.update(observed_at=stage.fake.now)
    decision = driving.scale(policy.pk, stage.outside)
    assert "None of 4 replicas gave metrics in the last 20 s" in decision.why
    Cluster.objects.update(observed_at=stage.fake.now - timedelta(minutes=3), trouble="refused")
    say(stage, 50)
    decision = driving.scale(policy.pk, stage.outside)
    assert decision.given == 4
    assert "Last observed 3 min ago: refused" in decision.why
    assert ScalingDecision.objects.latest("at").changed is False


def test_it_waits_for_an_open_rollout(stage, row, policy):
    rollout = stage.propose(stage.release("b"))
    decision = look(stage, policy, 50)
    assert decision.given == 4
    assert decision.why.startswith(f"Waits for {rollout}:")


def test_a_rollout_that_is_proposed_during_a_look_wins(stage, row, policy):
    def ask(cluster):
        stage.propose(stage.release("b"))
        return stage.fake

    stage.fake.tick(15)
    stage.observe()
    Cluster.objects.update(observed_at=stage.fake.now)
    say(stage, 50)
    outside = driving.Outside(ask, stage.fake.ask, lambda: stage.fake.now)
    driving.scale(policy.pk, outside)
    row.refresh_from_db()
    assert (row.replicas, ScalingDecision.objects.count()) == (4, 0)


def test_a_rollout_starts_with_what_the_load_needed(stage, row, policy):
    look(stage, policy, 11, waiting=2)
    with scope_of(stage.olga):
        proposal = plan_rollout(stage.olga, stage.service.pk, stage.release("b").pk)
    assert proposal.replicas == 6


def owned_by(stage, row, manager, replicas):
    found = stage.fake.deployments[row.name]
    found["spec"]["replicas"] = replicas
    found["metadata"]["managedFields"] = [
        {"manager": manager, "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    ]


def test_an_autoscalers_number_is_left_alone(stage, row, policy):
    owned_by(stage, row, "kube-controller-manager", 5)
    stage.fake.owned_by = "kube-controller-manager"
    decision = look(stage, policy, 50)
    assert decision.given == 4
    assert "An autoscaler (kube-controller-manager) owns the number of replicas, 5" in decision.why
    assert replicas_of(stage, row) == 5


def test_a_number_set_by_hand_waits_for_a_person(stage, row, policy):
    owned_by(stage, row, "kubectl", 5)
    decision = look(stage, policy, 50)
    assert decision.given == 4
    assert "kubectl set 5 replicas by hand: adopt or repair that first" in decision.why


def test_a_cluster_that_cannot_be_asked_is_left_as_it_is(stage, row, policy):
    stage.fake.tick(15)
    stage.observe()
    Cluster.objects.update(observed_at=stage.fake.now)
    say(stage, 50)
    stage.fake.down = True
    decision = driving.scale(policy.pk, stage.outside)
    assert decision.given == 4
    assert "connection refused" in decision.why


def test_a_freeze_lets_it_answer_and_takes_nothing_away(stage, row, policy):
    window = Window("Holidays", "nobody is up", stage.fake.now - timedelta(hours=1))
    stage.act(create_freeze, window, service_id=stage.service.pk)
    decisions = [look(stage, policy, 3) for _ in range(8)]
    assert decisions[-1].given == 4
    assert "“Holidays” holds" in decisions[-1].why
    assert look(stage, policy, 15).given == 6


def test_somebody_elses_budget_is_a_floor_and_our_own_is_not(stage, row, policy):
    labels = {"quartermaster.dev/service": "chat"}
    Cluster.objects.update(
        budgets=[
            {"name": "chat", "labels": labels, "floor": 4},
            {"name": "contract", "labels": labels, "floor": 3},
        ]
    )
    assert [look(stage, policy, 1) for _ in range(12)][-1].given == 3


def test_changed_bounds_are_applied_in_the_next_look(stage, row, policy):
    tight = Policy(Bounds(1, 2), target=10)
    stage.act(actions.set_policy, stage.service.pk, policy.version, tight, why="money")
    assert policy.pk in driving.due_policies()
    assert look(stage, policy, 9).given == 2
    policy.refresh_from_db()
    night = Policy(Bounds(1, 2), target=10, hours=read_hours("Mon-Sun 00:00-24:00 min 5 max 6"))
    stage.act(actions.set_policy, stage.service.pk, policy.version, night)
    decision = look(stage, policy, 1)
    assert decision.given == 5
    assert "Mon-Sun 00:00-24:00 min 5 max 6, UTC" in decision.why


def test_one_of_two_workers_has_the_row(stage, row, policy):
    claim = ScalingPolicy.take_claim(policy.pk)
    assert driving.due_policies() == []
    assert look(stage, policy, 50) is None
    ScalingPolicy.record(policy.pk, claim)
    assert driving.due_policies() == [policy.pk]
    assert look(stage, policy, 50).given == 6
    assert driving.due_policies() == []  # looked at a moment ago


def test_a_worker_that_lost_its_claim_writes_nothing(stage, row, policy):
    def ask(cluster):
        ScalingPolicy.objects.update(claim_until=timezone.now() - timedelta(seconds=1))
        ScalingPolicy.take_claim(policy.pk)
        return stage.fake

    say(stage, 50)
    stage.observe()
    Cluster.objects.update(observed_at=stage.fake.now)
    outside = driving.Outside(ask, stage.fake.ask, lambda: stage.fake.now)
    assert driving.scale(policy.pk, outside) is None
    row.refresh_from_db()
    assert (row.replicas, ScalingDecision.objects.count()) == (4, 0)


def test_a_worker_killed_after_the_record_leaves_the_rest_to_the_sweep(stage, row, policy):
    """The bell died with it: the row alone brings the number to the cluster."""
    look(stage, policy, 50)
    assert stage.fake.deployments[row.name]["spec"]["replicas"] == 4
    assert due_deployments() == [row.pk]
    assert replicas_of(stage, row) == 6
    assert replicas_of(stage, row) == 6  # twice changes nothing


def test_a_poisoned_row_is_parked_with_its_traceback(stage, row, policy):
    ScalingPolicy.objects.update(zone="Mars/Olympus", hours=read_json())
    with pytest.raises(Exception, match="Mars"):
        look(stage, policy, 5)
    policy.refresh_from_db()
    assert policy.failures == 1
    assert "Mars" in policy.failure
    assert policy.claim is None
    assert driving.due_policies() == []


def read_json():
    return [h.as_json() for h in read_hours("Mon-Sun 00:00-24:00 min 5")]


def test_a_service_without_a_release_is_looked_at_later():
    stage = make_stage(serving=False)
    policy = stage.act(actions.set_policy, stage.service.pk, None, POLICY)
    assert driving.scale(policy.pk, stage.outside) is None
    assert driving.due_policies() == []
    assert ScalingDecision.objects.count() == 0


def test_two_do_not_give_the_number(stage, row, policy):
    with pytest.raises(Invalid, match="A policy scales it between 1 and 6 replicas"):
        stage.act(services.change, stage.service.pk, None, replicas=5)
    stage.act(services.change, stage.service.pk, None, replicas=4, description="chat")
    keep(row.pk, stage.outside)
    row.refresh_from_db()
    assert row.replicas == 4


def test_the_number_stays_when_the_policy_is_taken_away(stage, row, policy):
    look(stage, policy, 11, waiting=2)
    keep(row.pk, stage.outside)
    with pytest.raises(Stale):
        stage.act(actions.clear_policy, stage.service.pk, policy.version + 1)
    left = stage.act(actions.clear_policy, stage.service.pk, policy.version, why="by hand now")
    assert left.replicas == 6
    assert replicas_of(stage, row) == 6
    with fleet_scope():
        event = AuditEvent.objects.get(verb="service.clear_scaling")
    assert (event.before["max_replicas"], event.after, event.why) == (
        6, {"replicas": 6}, "by hand now",
    )  # fmt: skip
    with pytest.raises(NotFound, match="not scaled by a policy"):
        stage.act(actions.clear_policy, stage.service.pk, None)


def test_a_policy_is_changed_by_who_saw_it(stage, policy):
    with pytest.raises(PreconditionRequired):
        stage.act(actions.set_policy, stage.service.pk, None, POLICY)
    with pytest.raises(Stale):
        stage.act(actions.set_policy, stage.service.pk, 7, POLICY)
    with scope_of(stage.vic), pytest.raises(Forbidden):
        actions.set_policy(stage.vic, stage.service.pk, 1, POLICY)
    with pytest.raises(Invalid, match="no request could wake it"):
        stage.act(actions.set_policy, stage.service.pk, 1, Policy(Bounds(0, 0), target=10))
    stage.act(actions.clear_policy, stage.service.pk, None)
    with pytest.raises(Stale, match="not scaled by a policy any more"):
        stage.act(actions.set_policy, stage.service.pk, 1, POLICY)


def test_what_was_decided_is_shown_and_forgotten_in_time(stage, row, policy):
    for running in (3, 3, 15, 15):
        look(stage, policy, running)
    now = stage.fake.now
    with scope_of(stage.olga):
        assert [d.changed for d in list_decisions(stage.olga, stage.service.pk)] == [
            False, True, False, False,
        ]  # fmt: skip
        (changed,) = list_decisions(stage.olga, stage.service.pk, only_changed=True)
        found = find_policy(stage.olga, stage.service.pk, now)
        end = now + timedelta(seconds=1)
        series = load_series(stage.olga, stage.service.pk, grid(now - timedelta(hours=1), end, end))
    assert (changed.declared, changed.given) == (4, 6)
    assert (found.now.least, found.now.most, found.min_replicas) == (1, 6, 1)
    assert max(n for n in series.given if n is not None) == 6
    assert {n for n in series.capacity if n is not None} == {40.0}
    trimming.trim(now + timedelta(days=3))
    assert ScalingDecision.objects.get().changed
    trimming.trim(now + timedelta(days=91))
    assert ScalingDecision.objects.count() == 0
