"""A release whose engine spans two pods on the real database: it moves and returns as one."""

import pytest

from fleet.drive.keep import due_deployments, keep
from fleet.models import Deployment, ObservedPod
from fleet.queries.routing import build_routing
from fleet.queries.service_states import list_states
from fleet.rules.manifests import RELEASE, ROLE
from fleet.rules.phases import FINAL, Cause, Phase
from tenants.base.scope import fleet_scope
from tenants.errors import Invalid
from tenants.models import AuditEvent
from tests.fleet.drive.stage import PRODUCT, make_stage

pytestmark = pytest.mark.django_db(transaction=True)

WIDE = {
    "arguments": ["--tensor-parallel-size=2"],
    "resources": {"gpu_product": PRODUCT, "gpus": 1, "group_size": 2},
}


@pytest.fixture
def stage():
    """Two groups of two pods serve; there is room for one more."""
    return make_stage(replicas=2, gpus=6, **WIDE)


def ranks(stage):
    """Wanted pods of each rank, by release."""
    found = {}
    for one in stage.fake.deployments.values():
        labels = one["metadata"]["labels"]
        found.setdefault(labels[RELEASE], {})[labels[ROLE]] = one["spec"]["replicas"]
    return found


def run(stage, rollout):
    """Pass after pass; ranks stand for the same groups, and the machine holds what it has."""
    while Phase(rollout.phase) not in FINAL:
        stage.step(rollout)
        for wanted in ranks(stage).values():
            assert len(set(wanted.values())) == 1, wanted
        assert stage.fake.used() <= 6


def test_groups_move_as_wholes_and_never_below_their_minimum(stage):
    rollout = stage.propose(stage.release("b", **WIDE))
    numbers = rollout.plan["numbers"]
    assert (numbers["gpus_new"], numbers["needs"][0]["pods"]) == (2, [1, 1])
    assert rollout.plan["plan"]["gpus_on_top"] == 2
    stage.approve(rollout)
    run(stage, rollout)
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    assert rollout.memory["least_serving"] == 2
    new = rollout.to_release
    assert ranks(stage) == {new.fingerprint: {"serve": 2, "serve-w1": 2}}
    stage.observe()
    (pool,) = build_routing(stage.fake.now).services["chat"].pools
    assert len(pool.endpoints) == 2
    assert not any("-w1-" in e.pod for e in pool.endpoints)
    (state,) = list_states(stage.olga, stage.fake.now)
    assert (state.serving, state.replicas) == (2, 2)


def test_a_worker_that_crashes_takes_the_group_back_and_is_named(stage):
    old = stage.service.current_release
    release = stage.release("b", **WIDE)
    stage.fake.behave(f"{release.fingerprint}/serve-w1", "crash")
    rollout = stage.propose(release)
    stage.approve(rollout)
    run(stage, rollout)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.CRASH_LOOP), rollout.why
    assert f"chat-{release.digest[:8]}-w1-0" in rollout.why
    assert ranks(stage) == {old.fingerprint: {"serve": 2, "serve-w1": 2}}


def test_a_set_that_can_make_no_pods_is_named_with_what_is_missing(stage):
    old = stage.service.current_release
    release = stage.release("b", **WIDE)
    stage.fake.behave(release.fingerprint, "quota")
    rollout = stage.propose(release)
    stage.approve(rollout)
    began = stage.fake.now
    run(stage, rollout)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.QUOTA), rollout.why
    assert f"1 of 1 pods of chat-{release.digest[:8]} is missing: pods" in rollout.why
    assert "requested: 1, used: 8, limited: 8" in rollout.why
    assert (stage.fake.now - began).total_seconds() < 60
    assert ranks(stage) == {old.fingerprint: {"serve": 2, "serve-w1": 2}}


def test_a_leader_that_goes_on_without_a_worker_ends_the_canary_by_that(stage):
    release = stage.release("b", **WIDE)
    stage.fake.dated = True
    stage.fake.behave(f"{release.fingerprint}/serve-w1", "returns")
    rollout = stage.propose(release)
    stage.approve(rollout)
    run(stage, rollout)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.LOST_REPLICAS), rollout.why
    worker = f"chat-{release.digest[:8]}-w1-0"
    assert f"{worker} started again after its leader was ready" in rollout.why
    assert f"{worker} ended once, last with exit code 1: RuntimeError: no" in rollout.why


def test_groups_that_break_in_the_soak_lead_back_as_lost_replicas_do(stage):
    release = stage.release("b", **WIDE)
    stage.fake.dated = True
    rollout = stage.propose(release, soak_seconds=600)
    stage.approve(rollout)
    stage.run(rollout, until={Phase.SOAKING})
    stage.fake.behave(f"{release.fingerprint}/serve-w1", "returns")
    began = stage.fake.now
    while rollout.phase == Phase.SOAKING:
        stage.step(rollout)
    assert 60 <= (stage.fake.now - began).total_seconds() <= 90
    run(stage, rollout)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.LOST_REPLICAS), rollout.why
    assert f"chat-{release.digest[:8]}-w1-0 started again" in rollout.why


def test_it_tells_what_is_missing(stage):
    with pytest.raises(Invalid, match="2 pods x 1 = 2: 2 missing"):
        stage.release("b", **WIDE | {"arguments": ["--tensor-parallel-size=4"]})


def test_a_group_that_lost_a_pod_begins_anew_between_rollouts(stage):
    stage.observe()
    assert not due_deployments()
    found = {p["metadata"]["name"]: p for p in stage.fake.pods.values()}
    worker = next(p for name, p in found.items() if name.endswith("-w1-0"))
    leader = found[worker["metadata"]["name"].replace("-w1-0", "-0")]
    for condition in leader["status"]["conditions"]:
        condition["lastTransitionTime"] = "2026-11-20T12:00:00Z"
    running = {"running": {"startedAt": "2026-11-20T12:00:05Z"}}
    worker["status"]["containerStatuses"] = [{"restartCount": 1, "state": running}]
    stage.observe()
    row = Deployment.objects.get()
    assert ObservedPod.objects.get(name=leader["metadata"]["name"]).reason == "IncompleteGroup"
    (pool,) = build_routing(stage.fake.now).services["chat"].pools
    assert len(pool.endpoints) == 1
    assert due_deployments() == [row.pk]
    keep(row.pk, stage.outside)
    with fleet_scope():
        assert AuditEvent.objects.filter(verb="deployment.anew").count() == 1
    for _ in range(9):
        stage.fake.tick()
        keep(row.pk, stage.outside)
    stage.observe()
    assert not due_deployments()
