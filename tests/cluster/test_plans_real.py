"""Blue-green and recreate on a real API server and scheduler, each forwards and back."""

import time

import pytest

from fleet.actions import rollouts as actions
from fleet.drive.rollout import drive
from fleet.models import Deployment, StartSample
from fleet.queries.plans import plan_rollout
from fleet.queries.rollout_outcome import outcome_of
from fleet.rules.answers import Answer
from fleet.rules.phases import Cause, Phase, PlanKind
from tenants.errors import Conflict
from tests.cluster.rollout_stage import ONE_STEP, make_stage_serving
from tests.fixtures.kubernetes import DEPLOYMENTS, PODS, until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(600, func_only=True),
]
QUOTAS = "/api/v1/namespaces/models/resourcequotas"


@pytest.fixture(scope="module", autouse=True)
def empty_namespace(cluster):
    """Quotas count every pod, also those that other modules left."""
    for left in cluster.console.get(DEPLOYMENTS)["items"]:
        cluster.console.delete(f"{DEPLOYMENTS}/{left['metadata']['name']}")
    until("an empty namespace", lambda: not cluster.console.get(PODS)["items"], 60)


def plan(stage, release, kind):
    stage.observe()
    proposal = stage.act(plan_rollout, stage.service.pk, release.pk, steps=())
    return next(p for p in proposal.plans if p.kind is kind)


def verdicts(stage, rollout):
    found = stage.act(outcome_of, rollout.pk)
    return {c.name: (c.planned, c.actual, c.verdict) for c in found.compared}


def test_blue_green_keeps_the_old_replicas_warm_and_goes_back_in_seconds(cluster):
    stage = make_stage_serving(cluster, "chat", replicas=2)
    good = stage.service.current_release.fingerprint
    try:
        release = stage.release("standin-0.32.1")
        asked = {"kind": PlanKind.BLUE_GREEN, "soak_seconds": 60, "steps": ONE_STEP}
        rollout = stage.propose(release, **asked)
        stage.approve(rollout)
        stage.run(rollout, until={Phase.SOAKING})
        assert stage.fingerprints().count(good) == 2  # warm, without traffic
        began = time.monotonic()
        stage.act(actions.abort_rollout, rollout.pk, why="drill in the window")
        drive(rollout.pk)
        weights = dict(Deployment.objects.values_list("release_id", "weight"))
        assert weights[rollout.from_release_id] == 100
        assert time.monotonic() - began < 5
        stage.run(rollout)
        assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.OPERATOR), rollout.why
        assert stage.fingerprints() == [good] * 2
        figures = verdicts(stage, rollout)
        assert figures["Minimum capacity"] == (2, 2, "kept")
        assert figures["GPUs at the peak"] == (4, 4, "kept")
        kept = StartSample.objects.filter(release=release).values_list("node", "cache")
        assert all(node and cache in ("warm", "cold") for node, cache in kept), list(kept)
        asked |= {"soak_seconds": 3, "steps": ()}
        rollout = stage.roll_out(stage.release("standin-0.32.1"), **asked)
        assert rollout.phase == Phase.SUCCEEDED, rollout.why
        assert stage.fingerprints() == [rollout.to_release.fingerprint] * 2
        assert stage.failed == []
    finally:
        stage.clear()


def test_recreate_needs_consent_and_goes_back_to_what_it_took_away(cluster):
    stage = make_stage_serving(cluster, "code", replicas=4)
    good = stage.service.current_release.fingerprint
    try:
        release = stage.release("standin-0.32.1")
        assert plan(stage, release, PlanKind.BLUE_GREEN).answer is Answer.NEVER
        with pytest.raises(Conflict, match="needs your consent"):
            stage.propose(release, kind=PlanKind.RECREATE)
        rollout = stage.propose(release, kind=PlanKind.RECREATE, consent=True, soak_seconds=60)
        stage.approve(rollout)
        stage.run(rollout, until={Phase.SOAKING})
        assert stage.fingerprints() == [release.fingerprint] * 4
        stage.act(actions.abort_rollout, rollout.pk, why="drill")
        stage.run(rollout, seconds=180)
        assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.OPERATOR), rollout.why
        assert stage.fingerprints() == [good] * 4
        assert verdicts(stage, rollout)["Minimum capacity"] == (0, 0, "kept")
        assert verdicts(stage, rollout)["GPUs at the peak"] == (4, 4, "kept")
        rollout = stage.roll_out(
            stage.release("standin-0.32.1"), kind=PlanKind.RECREATE, consent=True
        )
        assert rollout.phase == Phase.SUCCEEDED, rollout.why
    finally:
        stage.clear()


def test_a_plan_knows_quota_and_disruption_budget_of_the_cluster(cluster):
    stage = make_stage_serving(cluster, "embed", replicas=2)
    quota = {"metadata": {"name": "gpus"}, "spec": {"hard": {"requests.nvidia.com/gpu": "3"}}}
    cluster.admin.post(QUOTAS, quota)
    try:
        release = stage.release("standin-0.32.1")
        ends = time.monotonic() + 30
        while (found := plan(stage, release, PlanKind.SURGE_CANARY)).quota_free != 1:
            assert time.monotonic() < ends, found
            time.sleep(0.2)
        assert (found.answer, found.floor) == (Answer.POSSIBLE, 1)
        refused = plan(stage, release, PlanKind.BLUE_GREEN)
        assert refused.answer is Answer.NEVER
        assert "allows 3 GPUs in all, 4 needed at once" in refused.why
    finally:
        cluster.admin.delete(f"{QUOTAS}/gpus")
        stage.clear()
