"""What happens to a rollout whose API server, node or answer is lost meanwhile."""

import time

import pytest

from fleet.actions import rollouts as actions
from fleet.drive.outside import REAL
from fleet.drive.rollout import drive
from fleet.models import Deployment
from fleet.rules.phases import FINAL, Cause, Phase
from tests.cluster.rollout_stage import PRODUCT, make_real_stage
from tests.fixtures.kubernetes import DEPLOYMENTS, PODS, until
from tests.fixtures.proxies import CuttingProxy

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(300, func_only=True),
]
QUOTAS = "/api/v1/namespaces/models/resourcequotas"


@pytest.fixture
def analyzing(stage):
    """Half of the traffic goes to the new release."""
    rollout = stage.propose(stage.release("standin-0.32.1"))
    stage.approve(rollout)
    return stage.run(rollout, until={Phase.ANALYZING})


def passes(rollout, seconds: float) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        drive(rollout.pk, REAL)
    rollout.refresh_from_db()


def weights(rollout) -> tuple[int, int]:
    """Of the old and the new release."""
    found = dict(Deployment.objects.values_list("release_id", "weight"))
    return found[rollout.from_release_id], found[rollout.to_release_id]


def test_it_keeps_its_phase_while_the_api_server_is_away_and_goes_on(stage, analyzing):
    before = weights(analyzing)
    with stage.cluster.api_server_away():
        passes(analyzing, 5)
        assert (analyzing.phase, analyzing.cause) == (Phase.ANALYZING, "")
        assert "Waits for the cluster, nothing is changed meanwhile" in analyzing.why
        assert weights(analyzing) == before == (50, 50)
    stage.run(analyzing)
    assert analyzing.phase == Phase.SUCCEEDED, analyzing.why
    assert stage.failed == []


def test_traffic_goes_back_without_an_api_server_and_the_rest_with_it(stage, analyzing):
    with stage.cluster.api_server_away():
        stage.act(actions.abort_rollout, analyzing.pk, why="drill in the dark")
        passes(analyzing, 3)
        assert weights(analyzing) == (100, 0)
        assert Phase(analyzing.phase) not in FINAL
    stage.run(analyzing)
    assert (analyzing.phase, analyzing.cause) == (Phase.ROLLED_BACK, Cause.OPERATOR)
    assert stage.fingerprints() == [analyzing.from_release.fingerprint] * 2
    assert stage.failed == []


def test_a_lost_node_holds_a_way_back_up_and_it_heals(stage, analyzing):
    node = stage.cluster.console.get(PODS)["items"][0]["spec"]["nodeName"]
    assert PRODUCT.removeprefix("NVIDIA-").lower() in node
    stage.act(actions.abort_rollout, analyzing.pk, why="drill")
    stage.cluster.fault(op="node_down", node=node)
    try:
        until("pods that are not ready", lambda: not stage.addresses({}), 60)
        passes(analyzing, 5)
        assert Phase(analyzing.phase) not in FINAL
        assert f"is out of sight with its node {node}" in analyzing.why
    finally:
        stage.cluster.fault(op="node_up", node=node)
    until("ready pods", lambda: stage.addresses({}), 60)
    stage.run(analyzing)
    assert (analyzing.phase, analyzing.cause) == (Phase.ROLLED_BACK, Cause.OPERATOR)
    assert stage.fingerprints() == [analyzing.from_release.fingerprint] * 2


def test_a_quota_that_is_filled_meanwhile_is_named(stage):
    rollout = stage.propose(stage.release("standin-0.32.1"))
    stage.approve(rollout)
    spent = {"metadata": {"name": "spent"}, "spec": {"hard": {"requests.nvidia.com/gpu": "2"}}}
    stage.cluster.admin.post(QUOTAS, spent)
    try:
        stage.run(rollout)
    finally:
        stage.cluster.admin.delete(f"{QUOTAS}/spent")
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.QUOTA), rollout.why
    assert "exceeded quota: spent" in rollout.why
    assert stage.failed == []


def test_a_write_whose_answer_was_lost_is_done_once(bare):
    server = bare.sandbox.cluster.ports["apiserver"]
    with CuttingProxy(server, cuts=4) as proxy:
        kubeconfig = bare.kubeconfig.read_text().replace(f":{server}", f":{proxy.port}")
        stage = make_real_stage(bare, "code", kubeconfig=kubeconfig)
        try:
            assert stage.roll_out(stage.release(), steps=()).phase == Phase.SUCCEEDED
            stage.service.refresh_from_db()
            rollout = stage.roll_out(stage.release("standin-0.32.1"))
            assert rollout.phase == Phase.SUCCEEDED, rollout.why
            assert proxy.cut == 4
            assert stage.fingerprints() == [rollout.to_release.fingerprint] * 2
            ours = [d for d in bare.console.get(DEPLOYMENTS)["items"] if is_of(d, stage)]
            assert [d["spec"]["replicas"] for d in ours] == [2]  # the old one is gone
            assert stage.failed == []
        finally:
            stage.clear()


def is_of(deployment, stage) -> bool:
    return deployment["metadata"]["name"].startswith(f"{stage.service.name}-")
