"""What is read of the real Kueue, and rollouts whose pods its webhook puts into a queue."""

import pytest

from fleet.actions import rollouts as actions
from fleet.drive.rollout import drive
from fleet.models import Drift, Service
from fleet.queries.plans import plan_rollout
from fleet.queries.situations import quotas_of
from fleet.rules.answers import Answer, Quota
from fleet.rules.phases import Cause, Phase, PlanKind
from sandbox.engines.images import CATALOGUE
from tests.cluster.rollout_stage import PRODUCT, make_real_stage
from tests.fixtures.kubernetes import PODS, until
from tests.fixtures.queue_objects import (
    BASE,
    RECORDED,
    cluster_queue,
    facts_of,
    flavor,
    local_queue,
    path_of,
    pod_in_queue,
)

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(420, func_only=True),  # neither the build nor the start is counted
]
OTHERS = "/api/v1/namespaces/default/pods"  # of a namespace that we do not look into
IMAGE = CATALOGUE["standin-0.32.1"].reference


@pytest.fixture
def empty(cluster, queues):
    """No queue and no pod of this test is left afterwards."""
    yield cluster
    for path in (OTHERS, PODS):
        for pod in cluster.admin.get(path)["items"]:
            cluster.admin.delete(f"{path}/{pod['metadata']['name']}")
        until("the end of the pods", lambda p=path: not cluster.admin.get(p)["items"], 60)
    queues.clear()


def make(cluster, *bodies):
    for body in bodies:
        cluster.admin.post(path_of(body), body)


def take(cluster, name, gpus, path=OTHERS, queue="research"):
    """Somebody's pod; returns when Kueue knows it."""
    cluster.admin.post(path, pod_in_queue(name, queue, IMAGE, gpus))
    until(f"the workload of {name}", lambda: workload(cluster, name))


def workload(cluster, pod):
    found = cluster.admin.get(f"{BASE}/workloads")["items"]
    own = (w for w in found if w["metadata"]["ownerReferences"][0]["name"] == pod)
    return next((w for w in own if w.get("status", {}).get("conditions")), None)


def seen_of(cluster):
    kinds = ("resourceflavors", "clusterqueues", "localqueues", "workloads")
    found = {kind: cluster.admin.get(f"{BASE}/{kind}")["items"] for kind in kinds}
    found["pods"] = [p for path in (OTHERS, PODS) for p in cluster.admin.get(path)["items"]]
    return {
        kind: sorted(map(facts_of, items), key=lambda o: o["metadata"]["name"])
        for kind, items in found.items()
    }


def test_it_says_what_was_recorded(empty):
    """Of two queues in a cohort: research borrows a GPU, and so one of ours is not enough."""
    make(
        empty,
        flavor("l40s", PRODUCT),
        cluster_queue("serving", "l40s", 2, cohort="gpus"),
        cluster_queue("research", "l40s", 2, cohort="gpus"),
        local_queue("default", "models", "serving"),
        local_queue("research", "default", "research"),
    )
    take(empty, "research-1", 3)
    until("its place", lambda: "nodeName" in empty.admin.get(OTHERS)["items"][0]["spec"])
    take(empty, "ours-1", 2, PODS, "default")
    until("what it says of both", lambda: seen_of(empty) == RECORDED, 20)


def test_a_queue_whose_flavor_is_missing_lets_nobody_in(empty):
    make(empty, cluster_queue("serving", "l40s", 3), local_queue("default", "models", "serving"))
    found = make_real_stage(empty, "chat", replicas=1)
    until("what it says", lambda: quota_of(found).free == 0, 20)
    make(empty, flavor("l40s", PRODUCT))
    until("what it says then", lambda: quota_of(found) == counted(0), 20)


@pytest.fixture
def stage(empty):
    """One queue of three GPUs on a node of four, of which others have one and chat one."""
    make(
        empty,
        flavor("l40s", PRODUCT),
        cluster_queue("serving", "l40s", 3),
        local_queue("default", "models", "serving"),
        local_queue("research", "default", "serving"),
    )
    take(empty, "research-1", 1)
    found = make_real_stage(empty, "chat", replicas=1)
    found.row.refresh_from_db()
    until("what others have", lambda: quota_of(found) == counted(1), 20)
    first = found.roll_out(found.release(), steps=())
    assert first.phase == Phase.SUCCEEDED, first.why
    yield found
    found.clear()


def quota_of(stage):
    stage.observe()
    stage.row.refresh_from_db()
    (quota,) = quotas_of(stage.row, "chat", [PRODUCT])
    return quota


def counted(used):
    return Quota("of the queue default (serving)", 3, used)


def waiting(stage, **changed):
    """A rollout that was approved while there was room, and others were faster."""
    rollout = stage.propose(stage.release("standin-0.32.1"), steps=(), **changed)
    assert rollout.plan["plan"]["quota_free"] == 1
    stage.approve(rollout)
    take(stage.cluster, "research-2", 1)

    def waits():
        drive(rollout.pk)
        rollout.refresh_from_db()
        return "waits for its turn in the queue default of Kueue" in rollout.why

    until("its place in the queue", waits, 60)
    assert rollout.phase == Phase.CANARY_STARTING
    return rollout


def test_a_rollout_waits_for_its_turn_and_goes_on_when_others_leave(stage):
    Service.objects.filter(pk=stage.service.pk).update(prefetch_seconds=60)
    rollout = waiting(stage)
    until("who is in it", lambda: quota_of(stage) == counted(3) and pending(stage) == 1, 20)
    assert stage.row.kueue["of"] == {"chat": "default"}
    stage.cluster.admin.delete(f"{OTHERS}/research-2")
    stage.run(rollout)
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    assert stage.fingerprints() == [rollout.to_release.fingerprint]
    until("what it gave back", lambda: quota_of(stage) == counted(2), 20)
    assert not Drift.objects.exists()  # what Kueue writes to our Deployments is no drift
    assert stage.failed == []


def test_a_plan_says_how_many_gpus_the_queue_lacks(stage):
    take(stage.cluster, "research-2", 1)
    until("what others have", lambda: quota_of(stage) == counted(3), 20)
    release = stage.release("standin-0.32.1")
    proposal = stage.act(plan_rollout, stage.service.pk, release.pk, steps=())
    plan = next(p for p in proposal.plans if p.kind is PlanKind.SURGE_CANARY)
    assert (plan.answer, plan.gpus_free) == (Answer.NOT_NOW, 1)  # the node has one
    assert plan.why.startswith(
        "The quota of the queue default (serving) leaves 0 of 3 GPUs, 1 needed: 1 missing"
    )


def test_an_abort_takes_it_out_of_the_queue(stage):
    rollout = waiting(stage)
    stage.act(actions.abort_rollout, rollout.pk, why="no patience")
    stage.run(rollout)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.OPERATOR), rollout.why
    assert stage.fingerprints() == [rollout.from_release.fingerprint]
    until("an empty queue", lambda: quota_of(stage) == counted(3) and pending(stage) == 0, 20)


def pending(stage):
    return stage.row.kueue["queues"][0]["pending"]
