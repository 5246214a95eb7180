"""What people and slow machines do to a rollout on the way: evictions, drains, gates."""

import pytest

from fleet.drive.rollout import drive
from fleet.rules.phases import Cause, Phase
from sandbox.cluster.kube import STRATEGIC, ApiStatusError
from tenants.base.rows import CLAIM
from tests.cluster.rollout_stage import make_real_stage
from tests.fixtures.kubernetes import DEPLOYMENTS, PODS, until
from tests.fixtures.proxies import SlowProxy

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(300, func_only=True),
]


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
    """One of two replicas must answer: a drain gets the second only when the first is back."""
    good = stage.service.current_release.fingerprint
    evict(stage, good)
    second = stage.pods(good)[-1]["metadata"]["name"]
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
    name = next(m for m in rollout.manifests if m["kind"] == "Deployment")["metadata"]["name"]
    gated = {"spec": {"template": {"spec": {"schedulingGates": [{"name": "example.com/never"}]}}}}

    def prepared() -> bool:
        drive(rollout.pk)
        return code_of(stage.cluster.admin.get, f"{DEPLOYMENTS}/{name}") == 200

    until("the prepared Deployment", prepared, 30)
    stage.cluster.admin.patch(f"{DEPLOYMENTS}/{name}", gated, STRATEGIC)
    stage.run(rollout)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.UNSCHEDULABLE), rollout.why
    assert "SchedulingGated" in rollout.why
    assert stage.failed == []


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
