"""Engines that are paused, lists that expire, workers that stop, people who edit meanwhile."""

import os
import signal
import time
from collections import Counter
from datetime import timedelta

import httpx
import pytest
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone

from fleet.actions import rollouts as actions
from fleet.clients import engine, kube, signals
from fleet.clients.errors import ClientError
from fleet.clients.signals import Engines
from fleet.drive.observation import Observer
from fleet.drive.rollout import drive
from fleet.drive.signals import ask
from fleet.models import Cluster, Node, ObservedPod, Rollout, RolloutEvent
from fleet.rules import advance
from fleet.rules.phases import FINAL, Cause, Phase
from fleet.rules.situation import StepPlan
from tests.cluster.rollout_stage import make_real_stage
from tests.cluster.test_drift_real import kubectl
from tests.cluster.told import through
from tests.fixtures.kubernetes import DEPLOYMENTS, turn, until
from tests.fixtures.proxies import HangingProxy

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(300, func_only=True),
]


def begun(stage, **changed):
    rollout = stage.propose(stage.release("standin-0.32.1"), **changed)
    stage.approve(rollout)
    return rollout


# -- an engine that was paused: it answers everything but requests ---------------


def pause(stage, fingerprint):
    """As `/pause` of the development mode does to one replica; its name."""
    pod = stage.pods(fingerprint)[0]
    turn(pod["status"]["podIP"], hang=True)
    return pod["metadata"]["name"]


def test_an_engine_that_was_paused_before_it_is_verified_takes_no_traffic(stage, monkeypatch):
    stage.patience = 1.0
    monkeypatch.setattr(engine, "SECONDS", 0.5)
    monkeypatch.setattr(advance, "VERIFY", timedelta(seconds=2))
    rollout = begun(stage)
    stage.run(rollout, until={Phase.CANARY_STARTING})
    new = rollout.to_release.fingerprint

    def is_up():
        if not stage.pods(new):
            drive(rollout.pk)
        return stage.pods(new) and stage.pods(new)[0]["status"].get("podIP")

    until("the canary", is_up, 30)
    name = until("its knobs", lambda: pause(stage, new), 30)
    stage.run(rollout)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.NEVER_READY), rollout.why
    assert f"{name}: no answer within" in rollout.why
    assert stage.fingerprints() == [rollout.from_release.fingerprint] * 2
    assert stage.failed == []


def test_an_engine_that_is_paused_under_traffic_fails_its_gate_and_the_probe(stage, monkeypatch):
    stage.patience = 1.0
    monkeypatch.setattr(signals, "PROBE_SECONDS", 1.0)
    rollout = begun(stage, steps=(StepPlan(50, 20, 40),))  # long enough to see it
    stage.run(rollout, until={Phase.ANALYZING})
    name = pause(stage, rollout.to_release.fingerprint)
    pod = ObservedPod.objects.select_related("deployment__service", "deployment__release").get(
        name=name
    )
    engines = Engines()
    probed = ask(engines, pod)
    engines.close()
    assert not probed.passed and "no answer" in probed.told
    stage.run(rollout)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.GATE_FAILED), rollout.why
    assert "failed" in rollout.why
    assert stage.fingerprints() == [rollout.from_release.fingerprint] * 2


# -- etcd ------------------------------------------------------------------------


class Between:
    """A group of the API; before the second page of a list something happens, once."""

    def __init__(self, api, happens):
        self.api, self.happens = api, [happens]

    def __getattr__(self, name):
        call = getattr(self.api, name)

        def asked(*args, **given):
            if "_continue" in given and self.happens:
                self.happens.pop()()
            return call(*args, **given)

        return asked


def picture():
    return (
        list(Node.objects.order_by("name").values_list("name", "ready")),
        list(ObservedPod.objects.order_by("uid").values_list("uid", "admitted")),
        Cluster.objects.get().observed_at,
    )


def test_nothing_known_is_dropped_when_etcd_forgets_a_page_that_is_asked_for(stage, monkeypatch):
    rollout = begun(stage)
    stage.run(rollout, until={Phase.ANALYZING})
    before = picture()
    made = []

    def connector(access):
        found = kube.connect(access)
        found.core = Between(found.core, lambda: forget(stage.cluster, found))
        made.append(found)
        return found

    monkeypatch.setattr(kube, "PAGE", 1)
    observer = Observer(connector)
    assert not observer.observe(stage.row.pk, timezone.now())
    assert "answered 410" in Cluster.objects.get().trouble
    assert picture() == before
    monkeypatch.undo()
    stage.run(rollout)
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    assert Cluster.objects.get().trouble == ""
    assert stage.failed == []


def forget(cluster, connection_of_the_look):
    """Etcd is compacted to its newest revision while the API server, whose caches help, is away."""
    etcd = f"http://127.0.0.1:{cluster.sandbox.cluster.ports['etcd']}/v3/kv"
    with cluster.api_server_away(), httpx.Client(trust_env=False) as http:
        for _ in range(2):
            written = http.post(f"{etcd}/put", json={"key": "eA==", "value": "eA=="})
        newest = written.raise_for_status().json()["header"]["revision"]
        http.post(f"{etcd}/compaction", json={"revision": newest}).raise_for_status()

    def answers():
        try:
            return connection_of_the_look.server_version()
        except ClientError:
            return None

    until("the API server, asked by the observer", answers, 30)


# -- workers ---------------------------------------------------------------------


def forked(work):
    """A process of its own; connections do not survive a fork."""
    connection.close()
    connection.close_pool()
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def test_two_workers_on_one_row_do_each_thing_once(stage):
    rollout = begun(stage)
    listening, words = os.pipe()
    outside = through(lambda text: os.write(words, f"{text}\n".encode()))

    def work():
        while Phase(Rollout.objects.get(pk=rollout.pk).phase) not in FINAL:
            drive(rollout.pk, outside)
            time.sleep(0.02)

    workers = [forked(work) for _ in range(2)]
    os.close(words)

    def ended():
        stage.observe()
        stage.pump()
        rollout.refresh_from_db()
        return Phase(rollout.phase) in FINAL

    until("the end", ended, 120)
    for pid in workers:
        os.waitpid(pid, 0)
    with os.fdopen(listening) as heard:
        writes = Counter(heard.read().splitlines())
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    assert len(writes) >= 4 and set(writes.values()) == {1}, writes
    ends = RolloutEvent.objects.filter(rollout=rollout, phase=Phase.SUCCEEDED.value)
    assert ends.count() == 1
    assert stage.fingerprints() == [rollout.to_release.fingerprint] * 2
    assert stage.failed == []


def test_a_worker_that_is_stopped_in_a_write_and_continued_later_changes_nothing(stage):
    """Stopped after it made sure that the row is its own, so that no claim can hold it back."""
    rollout = begun(stage)
    stage.run(rollout, until={Phase.CANARY_STARTING})
    stop = through(lambda _: os.kill(os.getpid(), signal.SIGSTOP))
    pid = forked(lambda: drive(rollout.pk, stop))
    _, status = os.waitpid(pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    Rollout.objects.filter(pk=rollout.pk).update(claim_until=Now())  # as after a minute
    stage.act(actions.abort_rollout, rollout.pk, why="the worker hangs")
    stage.run(rollout)
    ended = (rollout.phase, rollout.why)
    os.kill(pid, signal.SIGCONT)
    os.waitpid(pid, 0)
    rollout.refresh_from_db()
    assert (rollout.phase, rollout.why) == ended
    assert rollout.phase == Phase.ROLLED_BACK, rollout.why
    names = [d["metadata"]["name"] for d in stage.cluster.console.get(DEPLOYMENTS)["items"]]
    ours = [name for name in names if name.startswith("chat-")]
    assert ours == [stage.placed().get(weight=100).name]
    assert stage.failed == []


# -- people ----------------------------------------------------------------------


def name_of(rollout):
    return next(m for m in rollout.manifests if m["kind"] == "Deployment")["metadata"]["name"]


STATES = (
    Phase.CANARY_STARTING,
    Phase.CANARY_VERIFYING,
    Phase.SHIFTING,
    Phase.ANALYZING,
    Phase.PROMOTING,
    Phase.SOAKING,
)


def test_what_people_delete_in_every_state_comes_back_and_it_goes_on(stage):
    """Nobody owns a number that `kubectl scale` made 0, so that is taken back as well."""
    rollout = begun(stage, soak_seconds=10)
    old, new = stage.placed().get(weight=100).name, name_of(rollout)
    by_hand = dict.fromkeys(STATES, ("delete", "deployment", new, "--wait=true"))
    by_hand[Phase.SHIFTING] = ("delete", "deployment", old, "--wait=true")
    by_hand[Phase.ANALYZING] = ("scale", "deployment", new, "--replicas=0")
    for phase, words in by_hand.items():
        stage.run(rollout, until={phase, *FINAL})
        assert rollout.phase == phase, rollout.why
        kubectl(stage, *words)
    stage.run(rollout)
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    assert stage.fingerprints() == [rollout.to_release.fingerprint] * 2
    told = set(RolloutEvent.objects.filter(rollout=rollout).values_list("why", flat=True))
    assert {
        f"Somebody deleted {rollout.from_release} in the cluster: it is made again",
        f"Somebody deleted {rollout.to_release} in the cluster: it is made again",
        f"Somebody scaled {rollout.to_release} to 0: 1 are declared",
    } <= told


def test_what_another_manager_takes_over_sends_it_back_and_names_it(stage):
    """As `kubectl apply --server-side --field-manager=other --force-conflicts` does."""
    rollout = begun(stage)
    stage.run(rollout, until={Phase.CANARY_VERIFYING})
    path = f"{DEPLOYMENTS}/{name_of(rollout)}"
    theirs = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 0}}
    stage.cluster.admin.apply(path, theirs, manager="other")
    stage.run(rollout)
    assert (rollout.phase, rollout.cause) == (Phase.ROLLED_BACK, Cause.OWNERSHIP), rollout.why
    assert '.spec.replicas: conflict with "other"' in rollout.why
    assert stage.fingerprints() == [rollout.from_release.fingerprint] * 2
    assert stage.failed == []


# -- the connection ---------------------------------------------------------------


def test_connections_that_hang_cost_a_pass_and_nothing_else(bare, monkeypatch):
    monkeypatch.setitem(kube.RAW, "_request_timeout", (3, 3))
    server = bare.sandbox.cluster.ports["apiserver"]
    with HangingProxy(server) as proxy:
        kubeconfig = bare.kubeconfig.read_text().replace(f":{server}", f":{proxy.port}")
        stage = make_real_stage(bare, "code", kubeconfig=kubeconfig)
        try:
            rollout = stage.propose(stage.release(), steps=())
            stage.approve(rollout)
            stage.run(rollout, until={Phase.CANARY_STARTING})
            before = picture()
            proxy.open.clear()
            drive(rollout.pk)
            assert not stage.observer.observe(stage.row.pk, timezone.now())
            rollout.refresh_from_db()
            assert (rollout.phase, rollout.cause) == (Phase.CANARY_STARTING, ""), rollout.why
            assert "Waits for the cluster, nothing is changed meanwhile" in rollout.why
            assert picture() == before
            proxy.open.set()
            stage.run(rollout)
            assert rollout.phase == Phase.SUCCEEDED, rollout.why
        finally:
            proxy.open.set()
            stage.clear()
