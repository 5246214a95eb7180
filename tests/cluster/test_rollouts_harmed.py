"""A release that dies after it was ready, gates without figures, and other hands on its objects."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Thread

import pytest
from django.utils import timezone

from fleet.actions import rollouts as actions
from fleet.clients.signals import Engines
from fleet.drive.rollout import drive
from fleet.drive.signals import probe, scrape
from fleet.models import Deployment, EngineSample, GateResult, ObservedPod, RolloutEvent
from fleet.queries.drift import list_drift
from fleet.queries.routing import build_routing
from fleet.rules import advance
from fleet.rules.engine_metrics import read_metrics
from fleet.rules.measures import UNTOLD
from fleet.rules.phases import FINAL, Cause, Phase
from fleet.rules.probing import OUT_AFTER
from fleet.rules.situation import StepPlan
from sandbox.cluster.kube import MERGE
from sandbox.engines.images import CATALOGUE
from tenants.base.scope import scope_of
from tests.cluster.test_drift_real import kubectl
from tests.fixtures.kubernetes import DEPLOYMENTS, ask, turn, until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(300, func_only=True),
]


def begun(stage, **changed):
    rollout = stage.propose(stage.release("standin-0.32.1"), **changed)
    stage.approve(rollout)
    return rollout


def name_of(rollout):
    return next(m for m in rollout.manifests if m["kind"] == "Deployment")["metadata"]["name"]


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


# -- busy, and frozen ----------------------------------------------------------------


def test_an_engine_that_freezes_while_it_is_busy_leaves_routing_by_its_heartbeat(stage):
    """`/health` and `/metrics` go on answering; half a minute of looks is made in a moment."""
    stage.observe()
    frozen = stage.pods()[0]
    address, name = frozen["status"]["podIP"], frozen["metadata"]["name"]
    turn(address, hang=True)
    engines, pool, now = Engines(), ThreadPoolExecutor(4), timezone.now()
    body = {"model": stage.service.name, "prompt": "hello", "max_tokens": 4}
    waits = Thread(target=lambda: ask(address, "/v1/completions", body, timeout=20), daemon=True)
    waits.start()
    try:
        until("its work", lambda: read_metrics(engines.metrics(f"{address}:8000")).running, 10)
        for seconds in (0, 15, 30, 35):
            scrape(engines, pool, now + timedelta(seconds=seconds))
        row = ObservedPod.objects.get(name=name)
        assert row.probe_failures == OUT_AFTER
        assert "frozen: 1 requests run and no step was made for" in row.probe
        assert ask(address, "/health")[0] == 200
        assert name not in routed(stage)
    finally:
        turn(address, hang=False)
    probe(engines, pool, now + timedelta(seconds=90))
    assert name in routed(stage)
    engines.close()
    pool.shutdown()


def routed(stage):
    (found,) = build_routing(timezone.now()).services[stage.service.name].pools
    return [endpoint.pod for endpoint in found.endpoints]


# -- gates ---------------------------------------------------------------------------


def test_few_samples_pause_it_and_what_people_delete_then_or_on_the_way_back_is_no_harm(
    stage, monkeypatch
):
    """Deleted by hand: the new one while it is prepared and while it is paused, the old one when
    the abort begins, the new one again on the way back."""
    monkeypatch.setattr(advance, "EXTENSION", timedelta(seconds=1))
    rollout = begun(stage, steps=(StepPlan(50, 2, 100_000),))
    old, new = stage.placed().get(weight=100).name, name_of(rollout)
    until("the prepared Deployment", lambda: prepared(stage, rollout, new), 30)
    kubectl(stage, "delete", "deployment", new, "--wait=true")
    stage.run(rollout, until={Phase.PAUSED, *FINAL})
    assert rollout.phase == Phase.PAUSED, rollout.why
    assert "of 100,000 requests of the canary are missing" in rollout.why
    gate = GateResult.objects.filter(rollout=rollout).latest("id")
    assert gate.verdict == "inconclusive"

    kubectl(stage, "delete", "deployment", new, "--wait=true")
    stage.observe()
    until("the new one again", lambda: prepared(stage, rollout, new), 30)
    assert rollout.phase == Phase.PAUSED, rollout.why
    stage.act(actions.abort_rollout, rollout.pk, why="drill")
    drive(rollout.pk)
    rollout.refresh_from_db()
    assert rollout.phase == Phase.ABORTING, rollout.why
    kubectl(stage, "delete", "deployment", old, "--wait=true")
    stage.run(rollout, until={Phase.ROLLING_BACK, Phase.ROLLBACK_BLOCKED, *FINAL})
    kubectl(stage, "delete", "deployment", new, "--ignore-not-found", "--wait=true")
    stage.run(rollout)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.OPERATOR), rollout.why
    assert stage.fingerprints() == [rollout.from_release.fingerprint] * 2
    told = set(RolloutEvent.objects.filter(rollout=rollout).values_list("why", flat=True))
    assert f"Somebody deleted {rollout.to_release} in the cluster: it is made again" in told


def prepared(stage, rollout, name):
    drive(rollout.pk)
    rollout.refresh_from_db()
    found = stage.cluster.admin.get(DEPLOYMENTS)["items"]
    return name in [d["metadata"]["name"] for d in found]


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
    assert stage.failed == []


def hide(address):
    turn(address, hide_metrics=["num_preemptions_total", "num_preemptions"])
    return True


# -- other hands -----------------------------------------------------------------------


def test_an_edit_of_arguments_and_environment_is_shown_with_the_author_and_sends_it_back(stage):
    """Never written over and never lost: the next write of ours meets it, and the release goes
    with what was written into it."""
    rollout = begun(stage, steps=(StepPlan(50, 3, 20),))
    stage.run(rollout, until={Phase.CANARY_VERIFYING, Phase.SHIFTING})
    container = "/spec/template/spec/containers/0"
    edit = [
        {"op": "add", "path": f"{container}/args/-", "value": "--seed=1"},
        {"op": "add", "path": f"{container}/env/-", "value": {"name": "EDITED", "value": "yes"}},
    ]
    name = name_of(rollout)
    kubectl(stage, "patch", "deployment", name, "--type=json", "-p", json.dumps(edit))
    stage.observe()
    found = [d for d in list_of(stage) if d.deployment == name]
    assert {d.manager for d in found} == {"kubectl-patch"}, found
    assert any("args" in d.path for d in found) and any("env" in d.path for d in found), found
    stage.run(rollout)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.OWNERSHIP), rollout.why
    assert 'conflict with "kubectl-patch"' in rollout.why
    told = RolloutEvent.objects.filter(rollout=rollout).values_list("phase", flat=True)
    assert Phase.ROLLBACK_BLOCKED.value not in told
    assert stage.fingerprints() == [rollout.from_release.fingerprint] * 2


def test_an_edit_of_the_image_sends_it_back_and_names_what_runs(stage):
    rollout = begun(stage, steps=(StepPlan(50, 20, 40),))
    stage.run(rollout, until={Phase.ANALYZING})
    name, other = name_of(rollout), CATALOGUE["standin-0.31"].reference
    kubectl(stage, "set", "image", f"deployment/{name}", f"*={other}")
    stage.observe()
    drifts = {d.path: d for d in list_of(stage) if d.deployment == name}
    assert any("image" in path and d.manager for path, d in drifts.items()), drifts
    stage.run(rollout)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.WRONG_ANSWER), rollout.why
    assert other.partition("@")[2][:16] in rollout.why, rollout.why
    weights = dict(Deployment.objects.values_list("release_id", "weight"))
    assert weights[rollout.from_release_id] == 100
    assert stage.fingerprints() == [rollout.from_release.fingerprint] * 2


def list_of(stage):
    with scope_of(stage.olga):
        return list_drift(stage.olga)


def test_an_autoscaler_that_scales_the_old_release_meanwhile_keeps_its_number(stage, shared):
    """A second writer on `/scale`, as HPA is one. No pass writes its number back; what must take
    these replicas away is refused by the API server, and the rollout goes back and names it."""
    rollout = begun(stage, steps=(StepPlan(50, 3, 20),))
    stage.run(rollout, until={Phase.ANALYZING})
    path = f"{DEPLOYMENTS}/{stage.placed().get(release=rollout.from_release).name}"
    three = {"spec": {"replicas": 3}}
    try:
        stage.cluster.admin.patch(f"{path}/scale", three, MERGE, fieldManager="autoscaler")
        for _ in range(4):
            drive(rollout.pk)
        assert stage.cluster.admin.get(path)["spec"]["replicas"] == 3
        stage.run(rollout)
        assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.OWNERSHIP), rollout.why
        assert 'conflict with "autoscaler"' in rollout.why
        assert stage.cluster.admin.get(path)["spec"]["replicas"] == 3
        assert set(stage.fingerprints()) == {rollout.from_release.fingerprint}
        assert stage.failed == []
    finally:
        shared.clear()
