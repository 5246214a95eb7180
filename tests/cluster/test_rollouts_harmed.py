"""A release that dies after it was ready, and a gate without the engines' figures."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.utils import timezone

from fleet.clients.signals import Engines
from fleet.drive.signals import scrape
from fleet.models import EngineSample, GateResult
from fleet.rules.phases import FINAL, Cause, Phase
from fleet.rules.situation import StepPlan
from fleet.rules.whole_measures import UNTOLD
from tests.fixtures.kubernetes import turn, until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(300, func_only=True),
]


def begun(stage, **changed):
    rollout = stage.propose(stage.release("standin-0.32.1"), **changed)
    stage.approve(rollout)
    return rollout


@pytest.fixture
def pumped(stage, monkeypatch):
    """`stage` with a hook beside its traffic; taken off at the end."""

    def beside(work):
        pump = type(stage).pump
        monkeypatch.setattr(stage, "pump", lambda: (work(), pump(stage)), raising=False)

    yield beside
    monkeypatch.undo()


# -- ready, then dead ----------------------------------------------------------------


@pytest.mark.parametrize("phase", [Phase.CANARY_VERIFYING, Phase.SOAKING])
def test_it_goes_back_from_a_release_that_was_ready_and_dies_again_and_again(stage, pumped, phase):
    rollout = begun(stage, steps=(), soak_seconds=120)
    stage.run(rollout, until={phase, *FINAL})
    assert rollout.phase == phase, rollout.why
    new = rollout.to_release.fingerprint

    def kill():
        for pod in stage.pods(new):
            stage.cluster.fault(op="kill", pod=f"models/{pod['metadata']['name']}", code=1)

    pumped(kill)
    stage.run(rollout)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.CRASH_LOOP), rollout.why
    assert "exit code 1" in rollout.why
    assert stage.fingerprints() == [rollout.from_release.fingerprint] * 2


# -- gates ---------------------------------------------------------------------------


def test_without_metrics_of_engines_gateways_figures_are_judged_and_the_gate_says_so(stage, pumped):
    rollout = begun(stage, steps=(StepPlan(50, 3, 20),))
    engines, pool = Engines(), ThreadPoolExecutor(4)

    def silence():
        for pod in stage.pods(rollout.to_release.fingerprint):
            if pod["status"].get("podIP"):
                until("its knobs", lambda p=pod: hide(p["status"]["podIP"]), 20)
        scrape(engines, pool, timezone.now())

    pumped(silence)
    stage.run(rollout)
    engines.close()
    pool.shutdown()
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    samples = EngineSample.objects.filter(release_id=rollout.to_release_id)
    assert not samples.exclude(preemptions=None).exists()
    gate = GateResult.objects.filter(rollout=rollout).latest("id")
    assert gate.verdict == "pass"
    assert UNTOLD in json.dumps(gate.evidence), gate.evidence
    finished = {c["metric"]: c for c in gate.checks if not c["group"]}
    # Its requests ignore the end of text, so that all of them end at their limit of tokens.
    ends = finished["length"]
    assert (ends["canary"], ends["stable"], ends["verdict"]) == (1.0, 1.0, "pass"), ends
    assert min(ends["samples"], ends["stable_samples"]) >= 20
    assert stage.failed == []


def hide(address):
    turn(address, hide_metrics=["num_preemptions_total", "num_preemptions"])
    return True
