"""Images on real nodes before anything moves, with the account's own rights."""

import pytest

from fleet.models import RolloutEvent, Service
from fleet.rules.phases import Cause, Phase
from fleet.rules.prefetch import LABEL
from tests.fixtures.kubernetes import PODS, until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(300, func_only=True),
]


def begun(stage):
    Service.objects.filter(pk=stage.service.pk).update(prefetch_seconds=60)
    rollout = stage.propose(stage.release("standin-0.32.1"))
    stage.approve(rollout)
    return rollout


def fetching(stage):
    return stage.cluster.console.get(PODS, labelSelector=LABEL)["items"]


def test_the_image_is_brought_and_the_pods_for_it_are_gone_afterwards(stage):
    rollout = begun(stage)
    stage.cluster.fault(op="slow_pull", seconds=3)
    try:
        stage.run(rollout, until={Phase.CANARY_STARTING})
    finally:
        stage.cluster.fault(op="slow_pull", seconds=0)
    assert "is on 1 of 1 nodes" in rollout.why
    stage.run(rollout)
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    assert stage.failed == []
    until("no such pod", lambda: not fetching(stage), 20)


def test_a_refused_pull_ends_it_with_the_registrys_words_and_leaves_nothing(stage):
    rollout = begun(stage)
    digest = rollout.to_release.image_digest
    stage.cluster.fault(op="deny", image=digest)
    try:
        stage.run(rollout)
    finally:
        stage.cluster.fault(op="allow", image=digest)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.IMAGE_PULL), rollout.why
    assert "not found" in rollout.why
    assert "is on 0 of 1 nodes" in rollout.why
    told = RolloutEvent.objects.filter(rollout=rollout)
    assert not told.filter(phase=Phase.CANARY_STARTING).exists()
    until("no such pod", lambda: not fetching(stage), 20)
