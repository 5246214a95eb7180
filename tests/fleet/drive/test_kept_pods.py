"""What a rollout keeps of its pods when they are gone: who they were, and why one failed."""

import pytest

from fleet.models import RolloutLog, RolloutPod
from fleet.rules.manifests import ROLE
from fleet.rules.phases import Cause, Phase
from tests.fleet.drive.stage import make_stage

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def stage():
    return make_stage()


def begin(stage, behaviour="good"):
    release = stage.release("b")
    stage.fake.behaviours[release.fingerprint] = behaviour
    rollout = stage.propose(release)
    stage.approve(rollout)
    return rollout, release


def test_pods_stay_known_with_their_start_and_what_they_answered(stage):
    rollout, release = begin(stage)
    stage.run(rollout)
    assert rollout.phase == Phase.SUCCEEDED
    new = RolloutPod.objects.filter(rollout=rollout, release=release.fingerprint)
    assert new.count() == 4
    for pod in new:
        assert pod.start_seconds > 0
        assert pod.answered == release.fingerprint
        assert pod.gone_at is None
    old = RolloutPod.objects.filter(rollout=rollout).exclude(release=release.fingerprint)
    assert old.count() == 4


def test_a_pod_with_a_label_that_somebody_made_long_is_kept(stage):
    """No pass could be recorded any more, an abort neither."""
    rollout, _ = begin(stage)
    pod = next(iter(stage.fake.pods.values()))
    pod["metadata"]["labels"][ROLE] = "a-role-of-somebody-else"
    stage.run(rollout, until={Phase.CANARY_STARTING})
    assert RolloutPod.objects.filter(rollout=rollout, role="a-role-of-somebo").exists()


def test_a_container_that_failed_leaves_both_logs_after_the_way_back(stage):
    rollout, release = begin(stage, "crash")
    stage.run(rollout)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.CRASH_LOOP)
    pod = RolloutPod.objects.get(rollout=rollout, release=release.fingerprint)
    assert pod.gone_at is not None
    assert "CrashLoopBackOff" in pod.trouble
    logs = {row.previous: row for row in RolloutLog.objects.filter(rollout=rollout)}
    assert logs.keys() == {True, False}
    assert logs[True].text == "INFO loading\nHF_TOKEN=[masked]\nRuntimeError: before"
    assert (logs[True].pod, logs[True].release) == (pod.name, release.fingerprint)


def test_a_container_that_runs_and_never_gets_ready_has_one_too(stage):
    rollout, _ = begin(stage, "never_ready")
    stage.run(rollout)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.NEVER_READY)
    log = RolloutLog.objects.get(rollout=rollout)
    assert not log.previous
    assert "RuntimeError: now" in log.text


def test_one_that_begins_again_between_the_look_and_its_log_has_that_of_the_run_before(stage):
    rollout, _ = begin(stage, "never_ready")
    stage.fake.says_nothing = True
    stage.run(rollout)
    log = RolloutLog.objects.get(rollout=rollout)
    assert log.previous
    assert "RuntimeError: before" in log.text


def test_one_that_failed_and_has_just_begun_again_has_both_of_its_runs(stage):
    rollout, _ = begin(stage, "crash")
    stage.fake.says_nothing = True
    stage.run(rollout)
    assert rollout.phase == Phase.ROLLED_BACK
    logs = {row.previous: row.text for row in RolloutLog.objects.filter(rollout=rollout)}
    assert logs[False] == ""
    assert "RuntimeError: before" in logs[True]


def test_a_log_is_read_once_for_each_run_of_the_container(stage):
    rollout, _ = begin(stage)
    stage.run(rollout)
    assert not RolloutLog.objects.exists()
    assert not [call for call in stage.fake.calls if call[0] == "log"]


def test_a_log_that_may_not_be_read_stops_nothing_and_says_so(stage):
    rollout, _ = begin(stage, "crash")
    stage.fake.refuses_logs = "The cluster's API answered 403: pods/log is forbidden"
    stage.run(rollout)
    assert rollout.phase == Phase.ROLLED_BACK
    log = RolloutLog.objects.filter(rollout=rollout, previous=True).get()
    assert "forbidden" in log.trouble
    assert "RuntimeError: no" in log.text
