"""Engines over several pods on the real API server behind a real gateway: a group moves as one."""

import contextlib
import http.client

import pytest

from fleet.models import Drift, GpuInterval, ObservedPod
from fleet.rules.manifests import RELEASE, ROLE
from fleet.rules.members import OF_SETS
from fleet.rules.phases import Cause, Phase
from sandbox.cluster.kube import ApiStatusError
from tests.cluster.gateway_stage import clients
from tests.cluster.rollout_stage import PRODUCT, make_real_stage
from tests.fixtures.group_set_pods import EXAMPLES, RECORDED, example, facts_of
from tests.fixtures.group_sets import PATH, group_sets_of
from tests.fixtures.kubernetes import NAMESPACE, PODS, ask, until

__all__ = ["clients"]

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(420, func_only=True),  # the cluster's start is not counted
]
SETS = f"/apis/apps/v1/namespaces/{NAMESPACE}/statefulsets"
QUOTAS = f"/api/v1/namespaces/{NAMESPACE}/resourcequotas"
GROUP = {
    "arguments": ["--tensor-parallel-size=2"],
    "resources": {
        "gpu_product": PRODUCT, "gpus": 1, "group_size": 2, "cpu": "100m", "memory": "256Mi",
    },
}  # fmt: skip


@pytest.fixture
def stage(cluster):
    """One replica of two pods; the node of four GPUs has room for one more."""
    found = make_real_stage(cluster, "chat", replicas=1)
    yield found
    for path in (SETS, PATH):
        for item in made(found, path):
            cluster.console.delete(f"{path}/{item['metadata']['name']}")
    found.clear()


@pytest.fixture
def group_sets(cluster):
    """The cluster has LeaderWorkerSet, or rather a stand-in of it (`make test-controllers`)."""
    found = group_sets_of(cluster.sandbox)
    found.install()
    yield found
    found.remove()


def made(stage, path):
    """Of the console; a LeaderWorkerSet is made of StatefulSets of its own."""
    try:
        items = [s["metadata"] | s for s in stage.cluster.console.get(path)["items"]]
    except ApiStatusError:
        return []  # the cluster knows no such kind
    own = [s for s in items if f"{OF_SETS}/name" not in s.get("labels", {})]
    return [s for s in own if s["name"].startswith(f"{stage.service.name}-")]


def scales(stage, path=SETS):
    return {
        (s["metadata"]["labels"][RELEASE], s["metadata"]["labels"][ROLE]): s["spec"]["replicas"]
        for s in made(stage, path)
    }


def whole(release):
    return {(release.fingerprint, "serve"): 1, (release.fingerprint, "serve-w1"): 1}


def test_a_group_of_plain_objects_moves_and_returns_as_one_under_traffic(stage, clients):
    first = stage.roll_out(stage.release(**GROUP), steps=())
    assert first.phase == Phase.SUCCEEDED, first.why
    old = first.to_release
    stage.pump = lambda: clients.pump(12)
    stage.pump()
    rollout = stage.roll_out(stage.release(**GROUP))
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    new = rollout.to_release
    assert rollout.plan["plan"]["gpus_on_top"] == 2
    assert {status for status, _, _ in clients.answers} == {200}
    assert all(done for _, _, done in clients.answers)
    assert {release for _, release, _ in clients.answers} == {old.fingerprint, new.fingerprint}
    assert scales(stage) == whole(new)
    stage.observe()
    rows = {p.role: p for p in ObservedPod.objects.filter(release=new.fingerprint)}
    assert {r: (p.ready, p.admitted, p.gpus, bool(p.address)) for r, p in rows.items()} == {
        "serve": (True, True, 1, True), "serve-w1": (True, True, 1, False),
    }  # fmt: skip
    held = GpuInterval.objects.filter(ends_at=None, service=stage.service, state="serving")
    assert {h.holder for h in held} == {p.uid for p in rows.values()}

    clients.answers.clear()
    bad = stage.release("faulty-worker", **GROUP)
    rollout = stage.roll_out(bad)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.CRASH_LOOP), rollout.why
    assert f"chat-{bad.digest[:8]}-w1-0" in rollout.why
    assert {(status, release) for status, release, _ in clients.answers} == {(200, new.fingerprint)}
    assert scales(stage) == whole(new)

    stage.observe()
    pods = ObservedPod.objects.filter(release=new.fingerprint, restarts=0, ready=True)
    assert pods.count() == 2
    with contextlib.suppress(OSError, http.client.HTTPException):  # it ends before it answers
        worker = next(p for p in stage.pods(new.fingerprint) if "-w1-" in p["metadata"]["name"])
        ask(worker["status"]["podIP"], "/admin/exit", {"code": 1}, port=9900)
    again = ObservedPod.objects.filter(release=new.fingerprint, restarts__gte=1, ready=True)
    until("both begin anew", lambda: stage.observe() or again.count() == 2, 60)


def test_a_set_that_can_make_no_pods_is_named_by_what_the_cluster_says(stage):
    first = stage.roll_out(stage.release(**GROUP), steps=())
    assert first.phase == Phase.SUCCEEDED, first.why
    release = stage.release("standin-0.32.1", **GROUP)
    rollout = stage.propose(release)
    stage.approve(rollout)
    spent = {"metadata": {"name": "spent"}, "spec": {"hard": {"requests.nvidia.com/gpu": "3"}}}
    stage.cluster.admin.post(QUOTAS, spent)
    try:
        stage.run(rollout)
    finally:
        stage.cluster.admin.delete(f"{QUOTAS}/spent")
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.QUOTA), rollout.why
    assert f"1 of 1 pods of chat-{release.digest[:8]}" in rollout.why
    assert "is missing: pods" in rollout.why
    assert "exceeded quota: spent" in rollout.why
    assert scales(stage) == whole(first.to_release)


def test_a_leader_worker_set_moves_and_returns_as_one_under_traffic(group_sets, stage, clients):
    stage.row.refresh_from_db()
    assert stage.row.group_sets == "v1"
    first = stage.roll_out(stage.release(**GROUP), steps=())
    assert first.phase == Phase.SUCCEEDED, first.why
    old = first.to_release
    stage.pump = lambda: clients.pump(12)
    stage.pump()
    rollout = stage.roll_out(stage.release(**GROUP))
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    new = rollout.to_release
    assert {status for status, _, _ in clients.answers} == {200}
    assert all(done for _, _, done in clients.answers)
    assert {release for _, release, _ in clients.answers} == {old.fingerprint, new.fingerprint}
    assert scales(stage, PATH) == {(new.fingerprint, "serve"): 1}
    assert not scales(stage)
    names = {p["metadata"]["name"] for p in stage.pods(new.fingerprint)}
    assert names == {f"chat-{new.digest[:8]}-0", f"chat-{new.digest[:8]}-0-1"}

    clients.answers.clear()
    bad = stage.release("faulty-worker", **GROUP)
    rollout = stage.roll_out(bad)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.CRASH_LOOP), rollout.why
    assert f"chat-{bad.digest[:8]}-0-1" in rollout.why
    assert {(status, release) for status, release, _ in clients.answers} == {(200, new.fingerprint)}

    name = f"chat-{new.digest[:8]}"
    stage.cluster.console.apply(
        f"{PATH}/{name}",
        {"apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet",
         "metadata": {"name": name, "labels": {"quartermaster.dev/role": "other"}}},
        manager="somebody",
    )  # fmt: skip
    stage.observe()
    drift = Drift.objects.get(ended_at=None)
    assert (drift.path, drift.manager) == ("metadata.labels.quartermaster.dev/role", "somebody")


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_leader_worker_set_makes_the_recorded_pods(group_sets, cluster, kind):
    wanted = example(kind, PRODUCT, "registry.local/none@sha256:" + "0" * 64)
    name = wanted["metadata"]["name"]
    cluster.admin.post(PATH, wanted)
    size = wanted["spec"]["leaderWorkerTemplate"]["size"]

    def pods():
        return cluster.admin.get(PODS, labelSelector=f"{OF_SETS}/name={name}")["items"]

    try:
        until("all of the group", lambda: len(pods()) == size)
        assert sorted(map(facts_of, pods()), key=lambda p: p["name"]) == RECORDED[kind]
    finally:
        cluster.admin.delete(f"{PATH}/{name}")
        until("its end", lambda: not pods(), 90)


def test_a_leader_worker_set_is_alone_in_its_place(group_sets, stage):
    place = "kubernetes.io/hostname"  # one node has these GPUs
    group = GROUP | {"resources": GROUP["resources"] | {"topology": place}}
    first = stage.roll_out(stage.release(**group), steps=())
    assert first.phase == Phase.SUCCEEDED, first.why
    (node,) = {p["spec"]["nodeName"] for p in stage.pods(first.to_release.fingerprint)}
    rollout = stage.roll_out(stage.release(**group))
    assert rollout.phase == Phase.ROLLED_BACK, rollout.why
    assert "anti-affinity" in rollout.why
    assert scales(stage, PATH) == {(first.to_release.fingerprint, "serve"): 1}
    assert {p["spec"]["nodeName"] for p in stage.pods(first.to_release.fingerprint)} == {node}
