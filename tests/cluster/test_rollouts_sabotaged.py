"""What people and slow machines do on the way: evictions, drains, gates, labels, queues."""

import contextlib

import pytest

from fleet.drive.rollout import drive
from fleet.queries.node_drift import list_node_drift
from fleet.queries.situations import quotas_of
from fleet.rules.answers import Quota
from fleet.rules.phases import Cause, Phase
from sandbox.cluster.kube import STRATEGIC, ApiStatusError
from tenants.base.rows import CLAIM
from tenants.base.scope import scope_of
from tests.cluster.rollout_stage import PRODUCT, make_real_stage
from tests.cluster.test_drift_real import kubectl
from tests.fixtures.kubernetes import DEPLOYMENTS, PODS, until
from tests.fixtures.proxies import SlowProxy
from tests.fixtures.queue_objects import (
    GPU,
    VERSION,
    cluster_queue,
    flavor,
    local_queue,
    path_of,
)

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(300, func_only=True),
]
LABEL = "nvidia.com/gpu.product"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
KUEUE = "kueue.x-k8s.io"
KINDS = {"LocalQueue": "Namespaced", "ClusterQueue": "Cluster", "ResourceFlavor": "Cluster"}


def begun(stage, **changed):
    rollout = stage.propose(stage.release("standin-0.32.1"), **changed)
    stage.approve(rollout)
    return rollout


def evict(stage, fingerprint: str) -> str:
    """Ask as `kubectl drain` does, until the disruption budget allows it; the pod's name."""
    name = stage.pods(fingerprint)[0]["metadata"]["name"]
    wish = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}

    def allowed() -> bool:
        return code_of(stage.cluster.admin.post, f"{PODS}/{name}/eviction", wish) != 429

    until("the eviction", allowed, 60)
    return name


def code_of(call, *args) -> int:
    """Of the answer: 200 when it was done."""
    try:
        call(*args)
    except ApiStatusError as error:
        return error.code
    return 200


@pytest.mark.parametrize("phase", [Phase.ANALYZING, Phase.SOAKING])
def test_an_evicted_replica_comes_back_and_the_rollout_goes_on(stage, phase):
    rollout = begun(stage, soak_seconds=8)
    stage.run(rollout, until={phase})
    side = rollout.from_release if phase is Phase.ANALYZING else rollout.to_release
    evicted = evict(stage, side.fingerprint)
    stage.run(rollout)
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    assert stage.fingerprints() == [rollout.to_release.fingerprint] * 2
    assert evicted not in [p["metadata"]["name"] for p in stage.pods(side.fingerprint)]


def test_an_eviction_waits_while_the_budget_forbids_it(stage):
    """One of two replicas must answer: a drain gets the second only when the first is back.

    The second is one that answered before: what replaces the first may go while it is pending.
    """
    good = stage.service.current_release.fingerprint
    second = stage.pods(good)[-1]["metadata"]["name"]
    evict(stage, good)
    wish = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": second}}
    assert code_of(stage.cluster.admin.post, f"{PODS}/{second}/eviction", wish) == 429


def test_a_cordoned_node_is_named_and_the_rollout_goes_back(stage):
    node = stage.cluster.console.get(PODS)["items"][0]["spec"]["nodeName"]
    rollout = begun(stage)
    cordon(stage, node, on=True)
    try:
        stage.run(rollout)
    finally:
        cordon(stage, node, on=False)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.UNSCHEDULABLE), rollout.why
    assert "unschedulable" in rollout.why
    assert stage.fingerprints() == [rollout.from_release.fingerprint] * 2
    assert stage.failed == []


def cordon(stage, node: str, *, on: bool) -> None:
    stage.cluster.admin.patch(f"/api/v1/nodes/{node}", {"spec": {"unschedulable": on}}, STRATEGIC)


def test_pods_behind_a_scheduling_gate_are_named_and_it_goes_back(stage):
    """A quota system that never lets them go: the gate is put on the prepared Deployment."""
    rollout = begun(stage)
    gate = {"spec": {"schedulingGates": [{"name": "example.com/never"}]}}
    change_prepared(stage, rollout, gate)
    stage.run(rollout)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.UNSCHEDULABLE), rollout.why
    assert "SchedulingGated" in rollout.why
    assert stage.failed == []


def change_prepared(stage, rollout, template) -> None:
    """Between its making and its first replica, as a webhook does."""
    name = next(m for m in rollout.manifests if m["kind"] == "Deployment")["metadata"]["name"]

    def prepared() -> bool:
        drive(rollout.pk)
        return code_of(stage.cluster.admin.get, f"{DEPLOYMENTS}/{name}") == 200

    until("the prepared Deployment", prepared, 30)
    change = {"spec": {"template": template}}
    stage.cluster.admin.patch(f"{DEPLOYMENTS}/{name}", change, STRATEGIC)


def test_a_node_that_somebody_relabels_is_seen_with_the_author(stage):
    node = stage.pods()[0]["spec"]["nodeName"]
    kubectl(stage, "label", "node", node, f"{LABEL}=NVIDIA-L40", "--overwrite")
    try:
        kubectl(stage, "taint", "node", node, "team=research:NoSchedule")
        found = {d.kind: d for d in changed(stage)}
        label, taint = found["label"], found["taint"]
        assert (label.node, label.expected, label.live) == (node, PRODUCT, "NVIDIA-L40")
        assert (label.manager, taint.manager) == ("kubectl-label", "kubectl-taint")
        assert "2 replicas of ours run on it" in label.meaning
        for line in (label.line_back, taint.line_back):
            kubectl(stage, *line.split()[1:])  # as an administrator follows it
    finally:
        kubectl(stage, "label", "node", node, f"{LABEL}={PRODUCT}", "--overwrite")
    assert changed(stage) == ()


def changed(stage):
    stage.observe()
    with scope_of(stage.olga):
        return list_node_drift(stage.olga)


@pytest.fixture
def kueue(stage):
    """Its kinds, without its controllers: a ClusterQueue of 4 GPUs, of which 2 are taken."""
    cluster = stage.cluster
    for kind, scope in KINDS.items():
        cluster.admin.post(CRDS, definition(kind, scope))
    behind = cluster_queue("serving", "l40s", 4)
    taken = {"name": GPU, "total": "2", "borrowed": "0"}
    behind["status"] = {"flavorsReservation": [{"name": "l40s", "resources": [taken]}]}
    ours = local_queue("default", "models", "serving")
    for body in (flavor("l40s", PRODUCT), behind, ours):
        until(f"the kind {body['kind']}", lambda b=body: made(cluster, path_of(b), b), 30)
    yield
    for kind in KINDS:
        with contextlib.suppress(ApiStatusError):
            cluster.admin.delete(f"{CRDS}/{kind.lower()}s.{KUEUE}")
    stage.observer.asked.clear()


def definition(kind, scope):
    plural = f"{kind.lower()}s"
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": VERSION, "served": True, "storage": True, "schema": {"openAPIV3Schema": anything},
    }  # fmt: skip
    names = {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"}
    # The group belongs to a community of Kubernetes: its API asks whether it was reviewed.
    reviewed = {"api-approved.kubernetes.io": "unapproved, for a test"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{KUEUE}", "annotations": reviewed},
        "spec": {"group": KUEUE, "scope": scope, "names": names, "versions": [version]},
    }


def made(cluster, path, body):
    try:
        cluster.admin.post(path, body)
    except ApiStatusError as error:
        return error.code == 409
    return True


def test_a_rollout_waits_for_the_queue_of_kueue_and_goes_on(stage, kueue):
    stage.observer.asked.clear()  # as ten minutes later
    stage.observe()
    stage.row.refresh_from_db()
    assert quotas_of(stage.row, "chat", [PRODUCT]) == [
        Quota("of the queue default (serving)", 4, 2)
    ]
    rollout = stage.propose(stage.release("standin-0.32.1"), steps=())
    assert rollout.plan["plan"]["quota"] == "of the queue default (serving)"
    stage.approve(rollout)
    template = {
        "metadata": {"labels": {f"{KUEUE}/queue-name": "default"}},
        "spec": {"schedulingGates": [{"name": f"{KUEUE}/{g}"} for g in ("admission", "topology")]},
    }  # as Kueue's webhook writes it
    change_prepared(stage, rollout, template)

    def waits():
        drive(rollout.pk)
        rollout.refresh_from_db()
        return "waits for its turn in the queue default of Kueue" in rollout.why

    until("its place in the queue", waits, 30)
    assert rollout.phase == Phase.CANARY_STARTING
    until("its turn", lambda: let_in(stage, rollout) == 2, 30)
    stage.run(rollout)
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    assert stage.failed == []


def let_in(stage, rollout):
    """Take the gates away, as Kueue does; how many pods there were."""
    drive(rollout.pk)
    pods = stage.pods(rollout.to_release.fingerprint)
    for pod in pods:
        free = {"spec": {"schedulingGates": None}}
        stage.cluster.admin.patch(f"{PODS}/{pod['metadata']['name']}", free, STRATEGIC)
    return len(pods)


def test_a_slow_api_server_costs_time_and_no_claim(bare):
    server = bare.sandbox.cluster.ports["apiserver"]
    with SlowProxy(server, seconds=0.1) as proxy:
        kubeconfig = bare.kubeconfig.read_text().replace(f":{server}", f":{proxy.port}")
        stage = make_real_stage(bare, "code", kubeconfig=kubeconfig)
        try:
            rollout = stage.roll_out(stage.release())
            assert rollout.phase == Phase.SUCCEEDED, rollout.why
            assert proxy.passed > 50
            assert 0.1 < stage.longest < CLAIM.total_seconds() / 2
            assert stage.failed == []
        finally:
            stage.clear()
