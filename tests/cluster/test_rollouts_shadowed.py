"""A shadow on real engines behind a real gateway: what is slow is seen before anybody meets it."""

import pytest

from billing.models import UsageEvent
from fleet.models import GateResult, ShadowSlot, TrafficSlot
from fleet.rules.phases import Cause, Phase
from fleet.rules.situation import StepPlan
from tenants.base.scope import fleet_scope
from tests.cluster.gateway_stage import clients
from tests.cluster.rollout_stage import ONE_STEP, make_stage_serving

__all__ = ["clients"]

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(300, func_only=True),  # the cluster's start is not counted
]
SHADOW = StepPlan(50, 5, 20, shadow=True)


@pytest.fixture
def stage(cluster):
    found = make_stage_serving(cluster, "chat")
    yield found
    found.clear()


def test_a_slow_release_is_seen_in_its_shadow_and_no_client_met_it(stage, clients):
    good = stage.service.current_release
    stage.pump = clients.pump
    rollout = stage.roll_out(stage.release("faulty-slow"), steps=(SHADOW, *ONE_STEP))
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.GATE_FAILED), rollout.why
    assert "as a shadow of 50 % failed" in rollout.why
    assert set(clients.answers) == {(200, good.fingerprint, True)}
    bad = rollout.to_release_id
    with fleet_scope():
        copies = list(ShadowSlot.objects.filter(release_id=bad, seconds=10))
        assert sum(c.requests for c in copies) >= 20
        assert sum(c.completion_tokens for c in copies) > 0
        assert not TrafficSlot.objects.filter(release_id=bad).exists()
        billed = set(UsageEvent.objects.values_list("release_id", flat=True))
    assert billed == {good.pk}
    gate = GateResult.objects.get(rollout=rollout)
    assert (gate.step, gate.verdict) == (0, "fail")
    assert any(
        c["metric"].startswith(("ttft", "itl")) and c["verdict"] == "fail" for c in gate.checks
    )
    assert stage.fingerprints() == [good.fingerprint] * 2
