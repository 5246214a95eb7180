"""Rollouts on a real API server and scheduler, with engines that answer."""

import time

import pytest

from fleet.actions import contracts
from fleet.actions import rollouts as actions
from fleet.drive.rollout import drive
from fleet.models import ContractResult, Deployment, GateResult, RolloutLog
from fleet.rules.phases import Cause, Phase
from fleet.rules.situation import StepPlan
from sandbox.engines.images import UNKNOWN_REFERENCE
from tests.cluster.rollout_stage import ONE_STEP, PRODUCT, make_real_stage, make_stage_serving
from tests.fixtures.kubernetes import apply, deployment

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(300, func_only=True),  # the cluster's start is not counted
]


def test_it_ends_on_the_new_fingerprint_without_a_failed_request(stage):
    old = stage.service.current_release
    rollout = stage.roll_out(stage.release("standin-0.32.1"))
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    assert stage.fingerprints() == [rollout.to_release.fingerprint] * 2
    assert stage.asked > 100
    assert stage.failed == []
    back = stage.act(actions.roll_back, rollout.pk, why="the old one was better")
    stage.run(back)
    assert back.phase == Phase.SUCCEEDED, back.why
    assert stage.fingerprints() == [old.fingerprint] * 2
    assert stage.failed == []


FAULTS = {
    "faulty-crash": Cause.CRASH_LOOP,
    "faulty-oom": Cause.OUT_OF_MEMORY,
    "faulty-never-ready": Cause.NEVER_READY,
    "faulty-wrong-answer": Cause.WRONG_ANSWER,
    "faulty-wrong-fingerprint": Cause.WRONG_ANSWER,
    "faulty-wrong-cache": Cause.WRONG_ANSWER,
    "faulty-slow": Cause.GATE_FAILED,
    "faulty-truncated": Cause.GATE_FAILED,
    "unknown": Cause.IMAGE_PULL,
}


@pytest.mark.parametrize("image", FAULTS)
def test_it_goes_back_from_a_bad_release_and_names_the_cause(stage, image):
    good = stage.service.current_release.fingerprint
    reference = UNKNOWN_REFERENCE if image == "unknown" else ""
    release = stage.release(image, reference, arguments=["--enable-prefix-caching"])
    rollout = stage.roll_out(release)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, FAULTS[image]), rollout.why
    assert stage.fingerprints() == [good] * 2
    if image == "faulty-slow":
        checks = GateResult.objects.filter(rollout=rollout).latest("id").checks
        cost = next(c for c in checks if (c["metric"], c["group"]) == ("gpu_p50", ""))
        assert cost["canary"] < cost["limit"] < cost["stable"], cost
    weights = dict(Deployment.objects.values_list("release_id", "weight"))
    assert weights[rollout.from_release_id] == 100
    if image in ("faulty-crash", "faulty-never-ready"):
        logs = RolloutLog.objects.filter(rollout=rollout, release=release.fingerprint)
        assert [log.trouble for log in logs if log.trouble] == []
        assert any(log.text for log in logs)


def test_one_failure_in_twenty_is_found_once_there_are_samples(stage, monkeypatch):
    monkeypatch.setattr(stage, "load", 40)
    rollout = stage.propose(
        stage.release("faulty-errors"), steps=(StepPlan(50, 3, 250),), patience_seconds=240
    )
    stage.approve(rollout)
    stage.run(rollout, seconds=280)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.GATE_FAILED), rollout.why
    assert "error ratio" in rollout.why or "failed" in rollout.why


CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CONTRACT = [
    {"name": "talks", "kind": "text", "prompt": "hello", "contains": ["tok0"]},
    {"name": "as JSON", "kind": "json", "prompt": "Capital of France?", "schema": CITY},
    {"name": "stops", "kind": "stop", "prompt": "Count to ten", "stop": [" tok7"]},
    {
        "name": "calls",
        "kind": "tool_call",
        "prompt": "Weather in Paris?",
        "tool": {"name": "weather", "parameters": CITY},
    },
    {"name": "too long", "kind": "too_long"},
]


@pytest.fixture
def own_stage(bare):
    """For what lasts on the service, as an output contract does."""
    found = make_stage_serving(bare, "chat")
    yield found
    found.clear()


def test_it_goes_back_from_a_release_that_breaks_the_output_contract(own_stage):
    stage = own_stage
    good = stage.service.current_release.fingerprint
    tried = contracts.try_contract(stage.olga, stage.service.pk, CONTRACT)
    assert tried.kept, tried.answers
    stage.act(contracts.keep_contract, stage.service.pk, 0, prompts=CONTRACT, why="clients rely")
    rollout = stage.roll_out(stage.release("faulty-breaks-contract"))
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.OUTPUT_CONTRACT), rollout.why
    kept = ContractResult.objects.get(rollout=rollout)
    verdicts = {a["name"]: a["verdict"] for a in kept.answers}
    assert verdicts == dict.fromkeys(("as JSON", "stops", "calls", "too long"), "fail") | {
        "talks": "pass"
    }
    assert stage.fingerprints() == [good] * 2
    assert stage.failed == []
    rollout = stage.roll_out(stage.release("standin-0.32.1"))
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    assert ContractResult.objects.get(rollout=rollout).verdict == "pass"


ABORTED_IN = (Phase.CANARY_STARTING, Phase.ANALYZING, Phase.PROMOTING, Phase.SOAKING)


@pytest.mark.parametrize("phase", ABORTED_IN)
def test_it_goes_back_from_an_abort_and_loses_no_request(stage, phase):
    good = stage.service.current_release.fingerprint
    steps = ONE_STEP if phase is Phase.ANALYZING else ()
    rollout = stage.propose(stage.release("standin-0.32.1"), steps=steps, soak_seconds=60)
    stage.approve(rollout)
    stage.run(rollout, until={phase})
    asked = time.monotonic()
    stage.act(actions.abort_rollout, rollout.pk, why=f"drill in {phase}")
    drive(rollout.pk)
    if phase in (Phase.CANARY_STARTING, Phase.ANALYZING):
        weights = dict(Deployment.objects.values_list("release_id", "weight"))
        assert weights[rollout.from_release_id] == 100
        assert time.monotonic() - asked < 5
    stage.run(rollout)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.OPERATOR), rollout.why
    assert stage.fingerprints() == [good] * 2
    assert stage.failed == []


def test_it_goes_back_when_the_scheduler_finds_no_place(stage):
    greedy = {"gpu_product": PRODUCT, "gpus": 2, "cpu": "100m", "memory": "256Mi"}
    release = stage.release(resources=greedy, arguments=["--tensor-parallel-size=2"])
    rollout = stage.propose(release)
    # Somebody else takes the last GPU between the plan and the start.
    other = make_thief(stage)
    try:
        stage.approve(rollout)
        stage.run(rollout)
    finally:
        stage.cluster.remove(other)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.UNSCHEDULABLE)
    assert "Insufficient nvidia.com/gpu" in rollout.why


def make_thief(stage):
    apply(stage.cluster.console, deployment("thief", gpus=1, product=PRODUCT))
    stage.cluster.ready("thief", 1)
    return "thief"


def test_it_replaces_in_place_on_a_full_node(bare):
    stage = make_real_stage(bare, "code", replicas=4)
    try:
        assert stage.roll_out(stage.release(), steps=()).phase == Phase.SUCCEEDED
        rollout = stage.propose(stage.release("standin-0.32.1"), steps=())
        assert rollout.plan_kind == "replace"
        stage.approve(rollout)
        stage.run(rollout, seconds=180)
        assert rollout.phase == Phase.SUCCEEDED, rollout.why
        assert stage.fingerprints() == [rollout.to_release.fingerprint] * 4
        assert stage.failed == []
    finally:
        stage.clear()
