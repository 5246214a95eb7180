"""A drill of the way back on the real API server, with a real gateway under traffic."""

import pytest
from django.utils import timezone

from fleet.actions.drills import propose_drill, write_report
from fleet.models import Deployment, Rollout
from fleet.rules.drill import Limits, Moment
from fleet.rules.phases import Phase
from fleet.rules.situation import StepPlan
from tests.cluster.gateway_stage import gateway
from tests.cluster.rollout_stage import make_stage_serving
from tests.cluster.test_rollouts_unplugged import Traffic

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(600, func_only=True),  # the cluster's start is not counted
]
HELD = (StepPlan(50, 3600, 1_000_000),)  # nobody but the drill takes it from there
LIMITS = Limits(traffic_back_seconds=10, full_back_seconds=240, requests_lost=0)


@pytest.fixture
def stage(cluster):
    found = make_stage_serving(cluster, "chat")
    yield found
    found.clear()


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
    assert stage.fingerprints() == [good] * 2
    assert Deployment.objects.get(release=release).weight == 0
    report = write_report(drill.pk, timezone.now())
    assert report.verdict == "passed", report.why
    assert report.report["taken_back_in"] == "analyzing"
    print(f"{len(traffic.seen)} requests. {report.why}")
