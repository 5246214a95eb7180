"""Others who write into a release while it moves: people with kubectl, and an autoscaler."""

import contextlib

import pytest

from fleet.actions import drift
from fleet.actions import rollouts as actions
from fleet.drive.keep import keep
from fleet.drive.rollout import drive
from fleet.models import RolloutEvent
from fleet.rules.phases import FINAL, Cause, Phase
from sandbox.cluster.kube import ApiStatusError
from tests.cluster.rollout_stage import ONE_STEP
from tests.cluster.shared_stage import owners_of
from tests.cluster.test_drift_real import kubectl, live
from tests.cluster.test_rollouts_sabotaged import code_of
from tests.fixtures.kubernetes import DEPLOYMENTS, NAMESPACE, image, until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(300, func_only=True),
]
AUTOSCALERS = f"/apis/autoscaling/v2/namespaces/{NAMESPACE}/horizontalpodautoscalers"


def begun(stage, **changed):
    rollout = stage.propose(stage.release("standin-0.32.1"), **changed)
    stage.approve(rollout)
    return rollout


def new_of(rollout):
    return next(m for m in rollout.manifests if m["kind"] == "Deployment")["metadata"]["name"]


# -- an autoscaler ---------------------------------------------------------------


@pytest.fixture
def autoscaled(stage):
    """A HorizontalPodAutoscaler of at least 3, which the cluster's own controller obeys.

    Without metrics it still keeps its bounds; so it writes `/scale` as it always does.
    """
    row = stage.placed().get(weight=100)
    body = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": row.name},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": row.name},
            "minReplicas": 3,
            "maxReplicas": 4,
        },
    }

    def begin():
        stage.cluster.admin.post(AUTOSCALERS, body)
        until("the autoscaler's number", lambda: number_of(stage, row) == 3, 60)

    yield row, begin
    with contextlib.suppress(ApiStatusError):
        stage.cluster.admin.delete(f"{AUTOSCALERS}/{row.name}")


def number_of(stage, row):
    return live(stage, row)["spec"]["replicas"]


def owner_of(stage, row):
    return owners_of(live(stage, row))


def test_an_autoscaler_that_takes_the_number_on_the_way_is_named_and_not_fought(stage, autoscaled):
    """Its third replica has the GPU that was for the canary; back, and its number stays."""
    row, begin = autoscaled
    rollout = begun(stage)
    stage.run(rollout, until={Phase.PREPARING})
    begin()
    stage.run(rollout)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.OWNERSHIP), rollout.why
    assert "kube-controller-manager" in rollout.why and ".spec.replicas" in rollout.why
    assert number_of(stage, row) == 3
    assert owner_of(stage, row) == {"kube-controller-manager"}
    told = RolloutEvent.objects.filter(rollout=rollout).values_list("phase", flat=True)
    assert Phase.ROLLBACK_BLOCKED.value not in told
    for _ in range(2):
        stage.observe()
        keep(row.pk)
    assert number_of(stage, row) == 3
    assert stage.failed == []
    second = stage.propose(stage.release("standin-0.32.1"))
    stage.run(second)
    assert (second.phase, second.started_at) == (Phase.REJECTED, None), second.why
    assert "kube-controller-manager" in second.why


# -- people ----------------------------------------------------------------------

EDITED_IN = (
    Phase.PREPARING,
    Phase.CANARY_STARTING,
    Phase.SHIFTING,
    Phase.PROMOTING,
    Phase.SOAKING,
)


@pytest.mark.parametrize("phase", EDITED_IN)
def test_another_image_that_somebody_puts_into_the_new_release_leads_back(stage, phase):
    """Nobody approved it: either its replicas are told apart, or the next write meets its owner."""
    good = stage.service.current_release.fingerprint
    steps = ONE_STEP if phase is Phase.SHIFTING else ()
    rollout = begun(stage, steps=steps, soak_seconds=60)
    name = new_of(rollout)
    stage.run(rollout, until={phase, *FINAL})
    assert rollout.phase == phase, rollout.why
    if phase is Phase.PREPARING:
        drive(rollout.pk)
    put_image(stage, name)
    stage.run(rollout)
    assert rollout.phase == Phase.ROLLED_BACK, rollout.why
    told = {Cause.OWNERSHIP: '"kubectl-set"', Cause.WRONG_ANSWER: "runs the image"}
    assert told[Cause(rollout.cause)] in rollout.why
    assert phase is not Phase.PREPARING or rollout.cause == Cause.OWNERSHIP
    assert code_of(stage.cluster.console.get, f"{DEPLOYMENTS}/{name}") == 404
    assert stage.fingerprints() == [good] * 2
    assert stage.failed == []


def put_image(stage, name):
    kubectl(stage, "set", "image", f"deployment/{name}", f"vllm={image('standin-0.31')}")


def test_what_people_scale_goes_on_where_it_suits_and_is_told_before_the_next_rollout(stage):
    """A canary with more replicas than asked for; then, on the way back, an old release with less,
    and another image in the new one. Nothing of it is written over until somebody says *repair*.
    """
    good, row = stage.service.current_release.fingerprint, stage.placed().get(weight=100)
    rollout = begun(stage)
    name = new_of(rollout)
    stage.run(rollout, until={Phase.CANARY_VERIFYING})
    kubectl(stage, "scale", "deployment", name, "--replicas=2")
    stage.run(rollout, until={Phase.ANALYZING, *FINAL})
    assert rollout.phase == Phase.ANALYZING, rollout.why

    stage.act(actions.abort_rollout, rollout.pk, why="drill")
    stage.run(rollout, until={Phase.ROLLING_BACK, *FINAL})
    assert rollout.phase == Phase.ROLLING_BACK, rollout.why
    kubectl(stage, "scale", "deployment", row.name, "--replicas=1")
    put_image(stage, name)
    stage.run(rollout, until={Phase.ROLLBACK_BLOCKED, *FINAL})
    assert rollout.phase == Phase.ROLLBACK_BLOCKED, rollout.why
    assert 'conflict with "kubectl"' in rollout.why and ".spec.replicas" in rollout.why
    kubectl(stage, "scale", "deployment", row.name, "--replicas=2")
    stage.run(rollout)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.OPERATOR), rollout.why
    assert stage.failed == []

    second = stage.run(stage.propose(stage.release()))
    assert (second.phase, second.started_at) == (Phase.REJECTED, None), second.why
    assert 'conflict with "kubectl"' in second.why
    kubectl(stage, "scale", "deployment", row.name, "--replicas=1")
    stage.observe()
    stage.act(drift.repair, row.pk, why="ours again")
    keep(row.pk)
    assert owner_of(stage, row) == {"quartermaster-rollout"}
    until("both replicas", lambda: kept(stage, row) == [good] * 2)
    third = stage.propose(stage.release())
    stage.run(third, until={Phase.AWAITING_APPROVAL, *FINAL})
    assert third.phase == Phase.AWAITING_APPROVAL, third.why
    stage.act(actions.abort_rollout, third.pk, why="enough")
    assert stage.run(third).phase == Phase.CANCELLED


def kept(stage, row):
    stage.observe()
    keep(row.pk)
    return stage.fingerprints()
