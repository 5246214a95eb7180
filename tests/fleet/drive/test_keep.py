"""Between rollouts: replicas made anew are admitted, a changed Deployment becomes as declared."""

import pytest
from django.utils import timezone

from fleet.actions import drift, services
from fleet.actions.drift import KEEP, store_drift
from fleet.drive.keep import due_deployments, keep
from fleet.models import Deployment, EngineProbe, ObservedPod, Rollout, StartSample
from fleet.queries.service_states import list_states
from fleet.rules.manifests import placed
from fleet.rules.phases import Phase
from tenants.base.scope import fleet_scope, scope_of
from tenants.models import AuditEvent
from tests.fleet.drive.stage import make_stage

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def stage():
    return make_stage()


@pytest.fixture
def row(stage):
    return Deployment.objects.get()


def observe(stage, row):
    """As the observer writes it down."""
    ObservedPod.objects.all().delete()
    for uid, pod in stage.fake.pods.items():
        conditions = {c["type"]: c["status"] for c in pod["status"]["conditions"]}
        ObservedPod.objects.create(
            cluster=stage.cluster, deployment=row, uid=uid, name=pod["metadata"]["name"],
            release=row.release.fingerprint, created_at=stage.fake.now, observed_at=stage.fake.now,
            ready=conditions.get("ContainersReady") == "True",
            admitted=conditions.get("quartermaster.dev/admitted") == "True",
        )  # fmt: skip


def test_it_has_nothing_to_do_where_all_is_as_declared(stage, row):
    observe(stage, row)
    assert due_deployments() == []


def test_it_admits_a_replica_that_kubernetes_made_anew(stage, row):
    del stage.fake.pods[next(iter(stage.fake.pods))]
    for _ in range(4):
        stage.fake.tick()
    observe(stage, row)
    assert due_deployments() == [row.pk]
    assert stage.fake.serving(row.release.fingerprint) == 3
    keep(row.pk, stage.outside)
    assert stage.fake.serving(row.release.fingerprint) == 4
    assert StartSample.objects.count() == 1
    assert EngineProbe.objects.get().completion_tokens == 24


def test_it_does_not_admit_what_answers_wrongly(stage, row):
    del stage.fake.pods[next(iter(stage.fake.pods))]
    stage.fake.behave(row.release.fingerprint, "wrong_fingerprint")
    for _ in range(4):
        stage.fake.tick()
    keep(row.pk, stage.outside)
    assert stage.fake.serving(row.release.fingerprint) == 3


def test_it_makes_a_deleted_deployment_again_and_says_so(stage, row):
    del stage.fake.deployments[row.name]
    keep(row.pk, stage.outside)
    assert stage.fake.deployments[row.name]["spec"]["replicas"] == 4
    with fleet_scope():
        told = AuditEvent.objects.get(verb="deployment.restore").why
    assert "was deleted in the cluster" in told


def test_it_takes_away_what_a_stopped_worker_wrote_after_the_end(stage, row, monkeypatch):
    rung = []
    monkeypatch.setattr(drift, "nudge", lambda *call: rung.append(call))
    rollout = stage.propose(stage.release("b"))
    stage.approve(rollout)
    stage.run(rollout)

    def look():
        rung.clear()
        store_drift(stage.cluster, list(stage.fake.deployments.values()), stage.fake.now)
        return rung

    assert look() == []
    stage.fake.apply(placed(row.manifest, replicas=2, fence=1))
    assert look() == [(KEEP, row.pk)]
    keep(row.pk, stage.outside)
    assert [d["spec"]["replicas"] for d in stage.fake.deployments.values()] == [4]
    assert look() == []
    with fleet_scope():
        told = AuditEvent.objects.get(verb="deployment.remove").why
    assert "had 2 replicas" in told


def test_it_leaves_a_service_to_a_rollout_that_began(stage, row):
    rollout = stage.propose(stage.release("b"))
    stage.run(rollout, until={Phase.AWAITING_APPROVAL})
    del stage.fake.deployments[row.name]
    ObservedPod.objects.all().delete()
    assert due_deployments() == [row.pk]  # nobody may approve it for days
    keep(row.pk, stage.outside)
    assert stage.fake.deployments[row.name]["spec"]["replicas"] == 4
    stage.approve(rollout)
    stage.run(rollout, until={Phase.PREPARING})
    assert due_deployments() == []


def test_it_scales_to_the_number_that_was_changed_since_the_last_rollout(stage):
    rollout = stage.propose(stage.release("b"))
    stage.approve(rollout)
    stage.run(rollout)
    row = Deployment.objects.get(weight=100)
    observe(stage, row)
    assert due_deployments() == []
    # The rollout ended in the fake cluster's time, which runs ahead of the clock.
    Rollout.objects.update(ended_at=timezone.now())
    service = stage.service
    service.refresh_from_db()
    stage.act(services.change, service.pk, None, replicas=6)
    assert due_deployments() == [row.pk]
    keep(row.pk, stage.outside)
    assert stage.fake.deployments[row.name]["spec"]["replicas"] == 6
    with fleet_scope():
        assert AuditEvent.objects.filter(verb="service.scale").count() == 1
    stage.act(services.change, service.pk, None, replicas=2)
    keep(row.pk, stage.outside)
    assert stage.fake.deployments[row.name]["spec"]["replicas"] == 2


def test_it_waits_while_the_cluster_cannot_be_asked(stage, row):
    stage.fake.down = True
    keep(row.pk, stage.outside)
    assert stage.fake.calls[-1][0] != "apply"


def told(stage):
    with scope_of(stage.olga):
        (state,) = list_states(stage.olga, stage.cluster.observed_at)
    return state.sync, state.why


def test_an_evicted_replica_is_named_with_the_kubelets_words_until_another_answers(stage, row):
    pod = next(iter(stage.fake.pods.values()))
    gone = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory."}
    pod["status"] = gone | {"conditions": []}
    stage.observe()
    sync, (short, evicted) = told(stage)
    assert sync == "drifted"
    assert short.endswith("3 of 4 wanted replicas take traffic, 3 exist")
    name, node = pod["metadata"]["name"], pod["spec"]["nodeName"]
    assert evicted == f"{name} was evicted from {node}: The node was low on memory."
    ObservedPod.objects.create(
        cluster=stage.cluster, deployment=row, uid="new", name="new", created_at=stage.fake.now,
        release=row.release.fingerprint, ready=True, admitted=True, observed_at=stage.fake.now,
    )  # fmt: skip
    assert told(stage) == ("in_sync", ())
