"""Full disks: of nodes, before anything runs there, and of pods that kubelets take away."""

import pytest

from fleet.drive.outside import REAL
from fleet.drive.rollout import drive
from fleet.models import ObservedPod
from fleet.rules.phases import Cause, Phase
from tests.cluster.rollout_stage import PRODUCT
from tests.fixtures.kubernetes import until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(300, func_only=True),
]
LOW = "The node was low on resource: ephemeral-storage. Available: 12Ki."


def nodes_of(stage):
    found = stage.cluster.console.get("/api/v1/nodes")["items"]
    alike = [n for n in found if n["metadata"]["labels"]["nvidia.com/gpu.product"] == PRODUCT]
    return sorted(n["metadata"]["name"] for n in alike)


def begun(stage, image="standin-0.32.1"):
    rollout = stage.propose(stage.release(image))
    stage.approve(rollout)
    return rollout


def test_nodes_with_full_disks_are_named_and_it_goes_back(stage):
    rollout, nodes = begun(stage), nodes_of(stage)
    for node in nodes:
        stage.cluster.fault(op="disk_full", node=node)
    try:
        stage.run(rollout)
    finally:
        for node in nodes:
            stage.cluster.fault(op="disk_free", node=node)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.DISK_FULL), rollout.why
    assert f"DiskPressure on {', '.join(nodes)}" in rollout.why
    assert stage.failed == []


def test_pods_that_are_evicted_for_disk_are_named_and_it_goes_back(stage):
    rollout = begun(stage, "faulty-never-ready")
    stage.run(rollout, until={Phase.CANARY_STARTING})
    drive(rollout.pk, REAL)
    new, gone = rollout.to_release.fingerprint, set()
    while len(gone) < 2:
        name = until("a pod that runs", lambda: running(stage, new), 30)
        stage.cluster.fault(op="evict", pod=f"models/{name}", why=LOW)
        until("a word of it", lambda name=name: told(stage, name) == LOW, 20)
        gone.add(name)
    stage.run(rollout)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.DISK_FULL), rollout.why
    assert f"{name} from {PRODUCT.split('-')[1].lower()}-" in rollout.why
    assert LOW in rollout.why


def running(stage, fingerprint):
    pods = stage.pods(fingerprint)
    names = (p["metadata"]["name"] for p in pods if p["status"]["phase"] == "Running")
    return next(names, "")


def told(stage, name):
    """What pages say of the pod."""
    stage.observe()
    pod = ObservedPod.objects.filter(name=name).first()
    return pod.message if pod and pod.reason == "Evicted" else ""
