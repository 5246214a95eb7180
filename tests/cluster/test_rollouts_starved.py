"""A gate that gets too few requests, and an observer whose watch etcd has forgotten."""

import re
from threading import Event

import pytest
from kubernetes.client.exceptions import ApiException

from fleet.actions import rollouts as actions
from fleet.clients import kube
from fleet.drive.watching import Bells, Watches
from fleet.models import RolloutEvent
from fleet.rules import advance
from fleet.rules.phases import FINAL, Phase
from fleet.rules.situation import StepPlan
from tests.cluster.test_rollouts_disturbed import begun, forget, picture
from tests.fixtures.kubernetes import until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(300, func_only=True),
]
SAMPLES = 120
MISSING = re.compile(r"([\d,]+) of [\d,]+ \D+ are missing, about \d+ (s|min)")


# -- few samples -----------------------------------------------------------------


def phases_of(rollout):
    return set(RolloutEvent.objects.filter(rollout=rollout).values_list("phase", flat=True))


def test_a_gate_without_samples_says_how_many_are_missing_and_goes_on_when_they_come(
    stage, monkeypatch
):
    """By itself while its step is extended; once it is paused, when a person says so."""
    rollout = begun(stage, steps=(StepPlan(50, 3, SAMPLES), StepPlan(75, 3, 10 * SAMPLES)))
    stage.run(rollout, until={Phase.ANALYZING})
    monkeypatch.setattr(stage, "load", 2)
    pump, missing = type(stage).pump, []

    def come_once_it_asks():
        if not missing and "is extended" in rollout.why:
            missing.append(MISSING.search(rollout.why))
            stage.load = 60
        pump(stage)

    monkeypatch.setattr(stage, "pump", come_once_it_asks)
    stage.run(rollout, until={Phase.SHIFTING, Phase.PAUSED, *FINAL})
    assert (rollout.phase, rollout.step) == (Phase.SHIFTING, 1), rollout.why
    (asked,) = missing
    assert asked and 0 < int(asked[1]) < SAMPLES, rollout.why
    assert Phase.PAUSED.value not in phases_of(rollout)

    monkeypatch.setattr(advance, "EXTENSION", advance.EXTENSION / 10)
    stage.run(rollout, until={Phase.ANALYZING, *FINAL})
    stage.load = 2
    stage.run(rollout, until={Phase.PAUSED, *FINAL})
    assert rollout.phase == Phase.PAUSED, rollout.why
    assert "Gate inconclusive" in rollout.why and MISSING.search(rollout.why), rollout.why
    stage.act(actions.skip_gate, rollout.pk, 1, why="the night is quiet, I watch it")
    stage.run(rollout)
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    assert stage.failed == []


# -- the watch -------------------------------------------------------------------


class Forgotten:
    """Pods of the API; between the list that a watch begins with and the watch, somebody acts."""

    def __init__(self, api):
        self.api, self.asked, self.over, self.answered = api, Event(), Event(), []

    def __getattr__(self, name):
        return getattr(self.api, name)

    def list_namespaced_pod(self, *args, **given):
        if not given.get("watch"):
            return self.api.list_namespaced_pod(*args, **given)
        self.asked.set()
        self.over.wait(60)
        try:
            return self.api.list_namespaced_pod(*args, **given)
        except ApiException as error:
            self.answered.append(error.status)
            raise


def test_a_watch_that_etcd_has_forgotten_begins_again_and_nothing_is_lost(stage):
    rollout = begun(stage)
    stage.run(rollout, until={Phase.ANALYZING})
    before, bells, made = picture(), Bells(), []

    def connector(access):
        found = kube.connect(access)
        if not made:
            found.core = Forgotten(found.core)
        made.append(found)
        return found

    watches = Watches(bells, connector)
    watches.keep()
    first = until("the first watch", lambda: made and made[0].core, 30)
    assert first.asked.wait(30)
    forget(stage.cluster, made[0])  # from here: what a thread starts ends with the thread
    first.over.set()
    watches.threads[stage.row.pk].join(60)
    assert not watches.threads[stage.row.pk].is_alive()
    assert first.answered in ([410], []), "another refusal than that it is too old"
    assert picture() == before
    watches.keep()
    until("the second watch", lambda: len(made) == 2, 30)
    stage.run(rollout)
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    assert "chat" in bells.take(stage.row.pk)
    assert stage.failed == []
