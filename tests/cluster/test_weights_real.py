"""Weights of a hub on real nodes before any engine: the release's image brings them itself."""

import threading
import time

import pytest

from fleet.actions import clusters
from fleet.drive.rollout import REAL, drive
from fleet.models import RolloutFetch, Service
from fleet.queries.prefetch import prefetch_of
from fleet.rules.phases import FINAL, Cause, Phase
from fleet.rules.prefetch import LABEL
from fleet.rules.state import NOW
from sandbox.cluster.inventory import GpuPool
from sandbox.registry.content import catalogue
from sandbox.registry.server import Server
from tests.cluster.rollout_stage import PACE, make_real_stage
from tests.fixtures.cluster import running
from tests.fixtures.kubernetes import NAMESPACE, PODS, until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(300, func_only=True),
]
MODEL = "sandbox/tiny"
NODES = ("l40s-1", "l40s-2")
CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "weights"},
    "spec": {
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "",
        "volumeName": "weights",
    },
}
VOLUME = {
    "apiVersion": "v1",
    "kind": "PersistentVolume",
    "metadata": {"name": "weights"},
    "spec": {
        "accessModes": ["ReadWriteMany"],
        "capacity": {"storage": "1Gi"},
        "hostPath": {"path": "/srv/shared"},
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": "",
    },
}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """Two L40S nodes with two GPUs each."""
    with running(tmp_path_factory.mktemp("weights"), (GpuPool(2, 2, "NVIDIA-L40S"),)) as found:
        yield found


@pytest.fixture
def hub(settings):
    server = Server(catalogue())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings.QM_MODEL_HUB = server.url
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def stage(nodes, hub):
    made = make_real_stage(nodes, "chat")
    Service.objects.filter(pk=made.service.pk).update(prefetch_seconds=60)
    yield made
    made.clear()


def declare(stage, cache):
    stage.act(clusters.change, stage.row.pk, None, weights_cache=cache)


def begun(stage, commit):
    release = stage.release(model={"name": MODEL, "commit": commit})
    rollout = stage.propose(release, steps=())
    stage.approve(rollout)
    return rollout


def commit_of(hub):
    return hub.content.revisions[MODEL, "main"]["sha"]


def snapshots(stage, place):
    folder = stage.cluster.sandbox.state / place / "models--sandbox--tiny" / "snapshots"
    return {path.name for path in folder.glob("*")}


def run_to_its_engines(stage, rollout, seconds=120):
    """Whether no engine's pod was there before the phase that makes them began."""
    ends = time.monotonic() + seconds
    rollout.refresh_from_db()
    while Phase(rollout.phase) not in FINAL | {Phase.CANARY_STARTING}:
        assert time.monotonic() < ends, f"still {rollout.phase}: {rollout.why}"
        assert not stage.pods()
        if drive(rollout.pk, REAL) != NOW:
            stage.observe()
            time.sleep(PACE)
        rollout.refresh_from_db()


def test_weights_come_to_each_node_before_any_engine_and_it_starts_from_them(stage, hub):
    declare(stage, "/srv/weights")
    commit = commit_of(hub)
    rollout = begun(stage, commit)
    run_to_its_engines(stage, rollout)
    assert rollout.phase == Phase.CANARY_STARTING, rollout.why
    assert "its weights are on 2" in rollout.why
    for node in NODES:
        assert snapshots(stage, f"nodes/{node}/srv/weights") == {commit}
    asked = len(hub.asked)
    stage.run(rollout)
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    assert len(hub.asked) == asked  # engines ask no hub
    kept = prefetch_of(rollout)
    assert {(r.node, r.weights) for r in kept.rows} == {(n, "done") for n in NODES}
    listing = stage.cluster.console.get
    until("no such pod", lambda: not listing(PODS, labelSelector=LABEL)["items"], 20)
    # The same weights once more, with the hub out of reach.
    hub.content.revisions.clear()
    release = stage.release("standin-0.32.1", model={"name": MODEL, "commit": commit})
    again = stage.propose(release, steps=())
    stage.approve(again)
    assert stage.run(again).phase == Phase.SUCCEEDED, again.why


def test_an_unknown_commit_is_the_cause_and_no_engine_was_made(stage, hub):
    declare(stage, "/srv/weights")
    rollout = begun(stage, "f" * 40)
    run_to_its_engines(stage, rollout)
    while Phase(rollout.phase) not in FINAL:
        drive(rollout.pk, REAL)
        assert not stage.pods()
        rollout.refresh_from_db()
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.WEIGHTS), rollout.why
    assert "the hub has no such commit" in rollout.why
    assert "commit" in {f.state for f in RolloutFetch.objects.filter(rollout=rollout)}


def test_a_claim_gets_them_once_for_all_nodes(stage, hub):
    declare(stage, "weights")
    commit = commit_of(hub)
    refused = begun(stage, commit)
    stage.run(refused)
    assert refused.phase == Phase.REJECTED
    assert "no PersistentVolumeClaim weights in models" in refused.why
    admin = stage.cluster.admin
    claims = f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims/weights"
    admin.apply("/api/v1/persistentvolumes/weights", VOLUME)
    admin.apply(claims, CLAIM)
    until("a bound claim", lambda: admin.get(claims)["status"].get("phase") == "Bound", 30)
    rollout = stage.propose(refused.to_release, steps=())
    stage.approve(rollout)
    run_to_its_engines(stage, rollout)
    assert rollout.phase == Phase.CANARY_STARTING, rollout.why
    assert "its weights are in claim weights" in rollout.why
    assert snapshots(stage, "claims/models/weights") == {commit}
    stage.run(rollout)
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    brought = [r.node for r in prefetch_of(rollout).rows if r.weights]
    assert brought == ["claim weights"]
