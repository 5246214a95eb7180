"""Requests that are open when a release's replicas go: the order of leaving is what saves them."""

import json
import threading
import time
from dataclasses import dataclass

import httpx
import pytest

from fleet.actions.routing import publish_routing
from fleet.drive import rollout as driving
from fleet.queries.rollout_harm import harm_of
from fleet.rules import advance
from fleet.rules.phases import Phase
from fleet.rules.settling import Settled
from tests.cluster.gateway_stage import gateway
from tests.cluster.rollout_stage import make_real_stage
from tests.cluster.told import through
from tests.fixtures.kubernetes import until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(600, func_only=True),  # the cluster's start is not counted
]
TOKENS = 1_200  # of one answer: 10 s, longer than the passes between weight and replicas
DRAINS = {"startup_seconds": 20, "drain_seconds": 30, "pre_stop_seconds": 2, "teardown_seconds": 2}
CUTS = DRAINS | {"drain_seconds": 1, "pre_stop_seconds": 0, "teardown_seconds": 1}


@dataclass(frozen=True)
class Answer:
    began: float
    ended: float
    status: int
    release: str
    tokens: int
    done: bool

    @property
    def whole(self):
        return (self.status, self.tokens, self.done) == (200, TOKENS, True)

    def is_open(self, moments):
        return any(self.began < at < self.ended for at in moments)


class Streams:
    """Clients that stream one long answer after another, while `with` lasts."""

    def __init__(self, clients, count=6):
        self.clients, self.over, self.answers = clients, threading.Event(), []
        self.threads = [threading.Thread(target=self._ask) for _ in range(count)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
            time.sleep(0.3)  # they do not end together
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self.threads), "a client waits for ever"

    def _ask(self):
        with httpx.Client(timeout=60, trust_env=False) as http:
            while not self.over.is_set():
                self.answers.append(self._one(http))

    def _one(self, http):
        body = {"model": "chat", "prompt": "hello there", "max_tokens": TOKENS}
        body |= {"stream": True, "ignore_eos": True}
        keyed = {"authorization": f"Bearer {self.clients.key}"}
        began, status, release, tokens, done = time.time(), 0, "", 0, False
        url = f"{self.clients.address}/v1/completions"
        try:
            with http.stream("POST", url, json=body, headers=keyed) as answer:
                status, release = answer.status_code, answer.headers.get("x-gw-release", "")
                for line in answer.iter_lines():
                    done = done or line == "data: [DONE]"
                    if line.startswith("data: {"):
                        choices = json.loads(line[6:]).get("choices") or []
                        tokens += sum(len(c["text"].split()) for c in choices)
        except httpx.HTTPError:
            done = False
        return Answer(began, time.time(), status, release, tokens, done)


class Leaving:
    """Notes when replicas of a release are taken away; `late`: gateways are told only then."""

    def __init__(self, deployment, replicas, *, late=False):
        self.deployment, self.replicas, self.late = deployment, replicas, late
        self.moments = []

    def tell(self, text):
        _, name, number = text.split(" ")
        if name == self.deployment and int(number) < self.replicas:
            self.replicas = int(number)
            self.moments.append(time.time())

    def deleted(self, name):
        if name == self.deployment:
            self.tell(f"Deployment {name} -1")

    def publish(self):
        if self.moments or not self.late:
            publish_routing()


def moves(stage, monkeypatch, clients, probes, *, late=False):
    """Roll out under open streams; the rollout, the answers, and what was open on the old ones
    when they were taken away."""
    old = stage.service.current_release.fingerprint
    leaving = Leaving(stage.placed().get(weight=100).name, stage.service.replicas, late=late)
    monkeypatch.setattr(driving, "publish_routing", leaving.publish)
    stage.outside, stage.pump = through(leaving.tell, leaving.deleted), leaving.publish
    rollout = stage.propose(
        stage.release("standin-0.32.1", probes=probes), steps=(), soak_seconds=1
    )
    stage.approve(rollout)
    with Streams(clients) as streams:
        until("answers", lambda: len(streams.answers) >= 4)
        stage.run(rollout, seconds=200)
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    stage.service.refresh_from_db()
    answers = [a for a in streams.answers if a.release or a.status != 200]
    met = [a for a in answers if a.release == old and a.is_open(leaving.moments)]
    assert met, "nothing was open on the old release when its replicas went"
    return rollout, answers, met


def test_open_streams_are_whole_in_order_and_cut_without_it(
    cluster, live_server, settings, tmp_path, monkeypatch
):
    """First as designed. Then replicas go before gateways know and without preStop and drain."""
    stage = make_real_stage(cluster, "chat")
    first = stage.roll_out(stage.release(probes=DRAINS), steps=())
    assert first.phase == Phase.SUCCEEDED, first.why
    stage.service.refresh_from_db()
    ingest = f"{live_server.url}/api/v1/usage/events"
    try:
        with gateway(stage, ingest, settings, tmp_path) as clients:
            rollout, answers, met = moves(stage, monkeypatch, clients, CUTS)
            assert [a for a in answers if not a.whole] == []
            assert stage.act(harm_of, rollout.pk).requests == 0
            print(f"in order: {len(answers)} whole, {len(met)} of them open when replicas went")

            monkeypatch.setattr(advance, "settled", lambda *_: Settled(True, ""))
            rollout, answers, met = moves(stage, monkeypatch, clients, DRAINS, late=True)
            cut = [a for a in answers if not a.whole]
            assert cut, "without the order nothing was lost: this test proves nothing"
            assert all(a.ended - a.began < 60 for a in cut)
            # What the drain cut off hung until the pod's end; the gateway counts each.
            until("their count", lambda: stage.act(harm_of, rollout.pk).requests > 0, 30)
            print(f"without: {len(cut)} of {len(answers)} cut, {len(met)} were open")
    finally:
        stage.clear()
