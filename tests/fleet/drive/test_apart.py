"""A rollout to a release with an adapter that is used from the first moment on, and is slow."""

import pytest

from fleet.actions.traffic import record
from fleet.models import GateResult
from fleet.rules.phases import Phase
from fleet.rules.traffic import TrafficSample
from tenants.base.scope import fleet_scope
from tests.fleet.drive.stage import make_stage

pytestmark = pytest.mark.django_db
POLITE = {"name": "polite", "path": "/adapters/polite", "digest": "sha256:" + "a" * 64}


def test_its_requests_bend_neither_share_nor_gate():
    stage = make_stage(replicas=4, gpus=8)
    stage.fake.adapters = ("polite",)
    release = stage.release("b", pins={"adapters": [POLITE]}, arguments=["--enable-lora"])
    rollout = stage.propose(release)
    stage.approve(rollout)
    for _ in range(200):
        if Phase(rollout.phase) in (Phase.PROMOTING, Phase.ROLLED_BACK, Phase.ABORTING):
            break
        stage.step(rollout)
        use(stage, release)
    assert rollout.phase == Phase.PROMOTING, rollout.why
    looks = list(GateResult.objects.filter(rollout=rollout))
    assert looks and all("Requests for polite are not compared" in look.why for look in looks)
    assert all(look.checks[0]["samples"] < 20 * 300 for look in looks)
    told = " ".join(rollout.timeline.values_list("why", flat=True))
    assert "unevenly" not in told


def use(stage, release):
    """All requests for it go there, whatever the weight."""
    if not stage.service.deployments.filter(release=release, weight__gt=0).exists():
        return
    now = stage.fake.now
    sample = TrafficSample(
        now, 1, stage.service.pk, release.pk, "interactive", "served",
        ttft_ms=4000, itl_ms=90, adapter="polite",
    )  # fmt: skip
    with fleet_scope():
        record([sample] * 200, now=now)
