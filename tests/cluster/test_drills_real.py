"""Drills on the real API server, with a real gateway under traffic: the way back, a lost pod."""

import time

import pytest
from django.utils import timezone

from fleet.actions.drills import propose_drill, write_report
from fleet.actions.pod_losses import propose_pod_loss
from fleet.actions.routing import publish_routing
from fleet.drive.keep import due_deployments, keep
from fleet.drive.pod_loss import drive
from fleet.models import Deployment, PodLoss, Rollout
from fleet.rules.drill import Limits, Moment
from fleet.rules.phases import Phase
from fleet.rules.situation import StepPlan
from tests.cluster.gateway_stage import gateway
from tests.cluster.rollout_stage import make_stage_serving
from tests.cluster.test_rollouts_unplugged import Traffic
from tests.fixtures.kubernetes import until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(600, func_only=True),  # the cluster's start is not counted
]
HELD = (StepPlan(50, 3600, 1_000_000),)  # nobody but the drill takes it from there
CLIENTS = range(3)  # of `Traffic`: so many requests are answered at a time
LIMITS = Limits(traffic_back_seconds=10, full_back_seconds=240, requests_lost=0)


@pytest.fixture
def stage(cluster, request):
    found = make_stage_serving(cluster, "chat", replicas=request.param)
    yield found
    found.clear()


@pytest.mark.parametrize("stage", [1], indirect=True)
def test_half_of_the_traffic_goes_back_and_no_request_is_lost(
    stage, live_server, settings, tmp_path
):
    good = stage.service.current_release.fingerprint
    release = stage.release("standin-0.32.1")
    stage.observe()
    drill = stage.act(
        propose_drill, stage.service.pk, release.pk, moment=Moment.STEP, step=1, limits=LIMITS,
        steps=HELD, soak_seconds=3, patience_seconds=60, reason="as every quarter",
    )  # fmt: skip
    rollout = Rollout.objects.get(pk=drill.rollout_id)
    stage.approve(rollout)
    ingest = f"{live_server.url}/api/v1/usage/events"
    with (
        gateway(stage, ingest, settings, tmp_path) as clients,
        Traffic(clients) as traffic,
    ):
        stage.run(rollout, seconds=400)
    assert rollout.phase == Phase.ROLLED_BACK, rollout.why
    broken = [seen for seen in traffic.seen if seen[1] != 200 or not seen[3]]
    assert not broken, broken[:5]
    assert traffic.last(release.fingerprint) > 0, "the release never had traffic"
    assert stage.fingerprints() == [good]
    assert Deployment.objects.get(release=release).weight == 0
    report = write_report(drill.pk, timezone.now())
    assert report.verdict == "passed", report.why
    assert report.report["taken_back_in"] == "analyzing"


@pytest.mark.parametrize("stage", [2], indirect=True)
def test_a_replica_is_killed_and_the_traffic_holds(stage, live_server, settings, tmp_path):
    limits = Limits(traffic_back_seconds=15, full_back_seconds=60, requests_lost=len(CLIENTS))
    drill = stage.act(
        propose_pod_loss, stage.service.pk, limits=limits, reason="a node may die"
    )  # fmt: skip
    loss = PodLoss.objects.get(drill=drill)
    stage.approve(loss)
    ingest = f"{live_server.url}/api/v1/usage/events"
    with (
        gateway(stage, ingest, settings, tmp_path) as clients,
        Traffic(clients) as traffic,
    ):
        time.sleep(1)
        until("another replica", lambda: over(stage, loss), 90)
        time.sleep(1)
    assert loss.phase == "ended", loss.why
    broken = [seen for seen in traffic.seen if seen[1] != 200 or not seen[3]]
    assert len(broken) <= len(CLIENTS), broken[:5]
    assert all(began <= loss.killed_at.timestamp() + 2 for began, *_ in broken)
    names = {pod["metadata"]["name"] for pod in stage.pods()}
    assert loss.pod not in names and loss.replaced_by in names
    assert len(stage.fingerprints()) == 2
    report = write_report(drill.pk, timezone.now())
    assert report.verdict == "passed", report.why
    assert report.report["replicas_least"] == 1


def over(stage, loss):
    """A round of everybody: the drill, the observer, the keeper, who tells gateways."""
    drive(loss.pk)
    stage.observe()
    for row in due_deployments():
        keep(row)
    stage.observe()
    publish_routing()
    loss.refresh_from_db()
    return loss.ended_at is not None
