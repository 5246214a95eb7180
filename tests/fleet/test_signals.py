"""Engines' metrics and probes: what they say, and who leaves routing for it."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from fleet.actions import signals as actions
from fleet.clients.errors import Permanent, Temporary
from fleet.clients.signals import Engines, OneToken
from fleet.drive.signals import ask, probe, scrape
from fleet.models import EngineProbe, EngineSample, ObservedPod
from fleet.rules.engine_metrics import EngineMetrics, read_metrics
from fleet.rules.probing import Beats, frozen
from tests.fleet.makers import (
    NOW,
    make_cluster,
    make_deployment,
    make_pod_row,
    make_release,
    make_service,
)

METRICS = """
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="chat"} 3.0
vllm:num_requests_running{engine="1",model_name="chat"} 4.0
vllm:num_requests_waiting{engine="0",model_name="a} b"} 2.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 99.0
vllm:kv_cache_usage_perc{engine="0"} 0.25
vllm:kv_cache_usage_perc{engine="1"} 0.75
vllm:prompt_tokens_total{engine="0"} 1.2e+03
vllm:prompt_tokens_created{engine="0"} 1.7e+09
vllm:generation_tokens_total{engine="0"} NaN
vllm:iteration_tokens_total_count{engine="0"} 17
vllm:broken
http_requests_total{status="2xx"} 5
"""


def test_it_sums_ranks_and_leaves_absent_series_unknown():
    assert read_metrics(METRICS) == EngineMetrics(
        running=7.0, waiting=2.0, kv_usage=0.75, prompt_tokens=1200, steps=17
    )


def test_it_reads_nothing_out_of_nonsense():
    assert read_metrics("<html>") == EngineMetrics()


class FakeEngines:
    def __init__(self, fingerprint="rel-aaaaaaaaaaaa", finish="length", error=None):
        self.fingerprint, self.finish, self.error = fingerprint, finish, error
        self.asked = []

    def metrics(self, address):
        self.asked.append(address)
        if self.error:
            raise self.error
        return METRICS

    def one_token(self, address, model):
        self.asked.append((address, model))
        if self.error:
            raise self.error
        return OneToken(self.fingerprint, 5, 1, self.finish, 12.0)


@pytest.fixture
def placed(db):
    cluster = make_cluster()
    service = make_service(cluster=cluster)
    return make_deployment(service, make_release(service), cluster)


@pytest.fixture
def pool(db):
    with ThreadPoolExecutor(2) as executor:
        yield executor


def test_it_keeps_a_sample_of_every_engine_that_runs(placed, pool):
    make_pod_row(placed)
    make_pod_row(placed, "loading", ready=False)
    make_pod_row(placed, "going", terminating=True)
    make_pod_row(placed, "homeless", address="")
    assert scrape(FakeEngines(), pool, NOW) == 1
    sample = EngineSample.objects.get()
    assert (sample.running, sample.kv_usage, sample.preemptions) == (7.0, 0.75, None)
    assert (sample.service_id, sample.release_id) == (placed.service_id, placed.release_id)


def test_it_keeps_no_sample_of_an_engine_that_says_nothing(placed, pool):
    make_pod_row(placed)
    assert scrape(FakeEngines(error=Temporary("no")), pool, NOW) == 0
    assert not EngineSample.objects.exists()


BEATS = Beats(NOW, NOW + timedelta(seconds=30), running=2.0, steps_first=17, steps_last=17)
MOVES = {
    "makes steps": replace(BEATS, steps_last=18),
    "is idle": replace(BEATS, running=0.0),
    "stands still for a moment": replace(BEATS, until=NOW + timedelta(seconds=29)),
}


def test_it_tells_an_engine_that_is_busy_and_makes_no_step():
    assert frozen(BEATS) == "frozen: 2 requests run and no step was made for 30 s"


@pytest.mark.parametrize("beats", MOVES.values(), ids=MOVES)
def test_it_leaves_an_engine_alone_that(beats):
    assert frozen(beats) == ""


def test_it_takes_an_engine_out_that_stands_still_while_requests_run(placed, pool):
    """7 requests run and its 17 steps never become more; `/metrics` goes on answering."""
    make_pod_row(placed)
    make_pod_row(placed, "canary", admitted=False)
    for seconds in range(0, 50, 5):
        scrape(FakeEngines(), pool, NOW + timedelta(seconds=seconds))
        failures = ObservedPod.objects.get(name="chat-1").probe_failures
        assert failures == (seconds >= 30) + (seconds >= 35) + (seconds >= 40) + (seconds >= 45)
    pod = ObservedPod.objects.get(name="chat-1")
    assert pod.probe.startswith("frozen: 7 requests run and no step was made for")
    assert ObservedPod.objects.get(name="canary").probe_failures == 0
    probe(FakeEngines(), pool, NOW + timedelta(seconds=80))
    assert ObservedPod.objects.get(name="chat-1").probe_failures == 0


def test_it_asks_each_admitted_engine_every_half_minute(placed, pool):
    make_pod_row(placed)
    make_pod_row(placed, "canary", admitted=False)
    engines = FakeEngines()
    assert probe(engines, pool, NOW) == 1
    assert probe(engines, pool, NOW + timedelta(seconds=29)) == 0
    assert probe(engines, pool, NOW + timedelta(seconds=30)) == 1
    assert engines.asked == [("10.0.0.1:8000", "chat")] * 2
    pod = ObservedPod.objects.get(name="chat-1")
    assert (pod.probe_passes, pod.probe_failures) == (2, 0)
    assert pod.probe == "answered as rel-aaaaaaaaaaaa in 12 ms"
    assert sum(p.prompt_tokens for p in EngineProbe.objects.all()) == 10


def test_it_asks_once_when_two_observers_run(placed, pool):
    pod = make_pod_row(placed)
    assert actions.take_probe(pod, NOW)
    assert not actions.take_probe(pod, NOW)


WRONG = {
    "another release": (FakeEngines(fingerprint="rel-bbbbbbbbbbbb"), "answered as rel-bbbb"),
    "no fingerprint": (FakeEngines(fingerprint=""), "answered as nobody"),
    "an aborted answer": (FakeEngines(finish="abort"), "ended its answer with 'abort'"),
    "silence": (FakeEngines(error=Temporary("no answer in time")), "no answer in time"),
    "nonsense": (FakeEngines(error=Permanent("no completion")), "no completion"),
}


@pytest.mark.parametrize(("engines", "want"), WRONG.values(), ids=WRONG)
def test_it_fails_a_probe_for(placed, engines, want):
    result = ask(engines, make_pod_row(placed))
    assert not result.passed
    assert result.told.startswith(want)


def test_it_rings_the_publisher_when_a_replica_leaves_and_returns(placed, pool, monkeypatch):
    rung = []
    monkeypatch.setattr(actions, "nudge", lambda *a: rung.append(a))
    make_pod_row(placed)
    steps = [(False, 0), (False, 1), (False, 1), (True, 2), (True, 2)]
    for number, (passes, want) in enumerate(steps):
        engines = FakeEngines() if passes else FakeEngines(error=Temporary("no answer"))
        probe(engines, pool, NOW + timedelta(minutes=number))
        assert len(rung) == want


# --- the client, against an engine that answers as told --------------------------


def engines(handler):
    return Engines(httpx.MockTransport(handler))


COMPLETION = {
    "system_fingerprint": "rel-aaaaaaaaaaaa",
    "usage": {"prompt_tokens": 4, "completion_tokens": 1},
    "choices": [{"finish_reason": "length"}],
}


def test_it_reads_an_answer():
    found = engines(lambda _: httpx.Response(200, json=COMPLETION)).one_token("a:1", "chat")
    assert (found.fingerprint, found.prompt_tokens, found.finish_reason) == (
        "rel-aaaaaaaaaaaa",
        4,
        "length",
    )


def hang(request):
    raise httpx.ReadTimeout("slow", request=request)


def refuse(request):
    raise httpx.ConnectError("Connection refused", request=request)


ANSWERS = {
    "a hang": (hang, Temporary),
    "a closed port": (refuse, Temporary),
    "a server error": (lambda _: httpx.Response(500), Temporary),
    "no JSON": (lambda _: httpx.Response(200, text="ok"), Permanent),
    "a list": (lambda _: httpx.Response(200, json=[]), Permanent),
    "no choices": (lambda _: httpx.Response(200, json=COMPLETION | {"choices": []}), Permanent),
}


@pytest.mark.parametrize(("handler", "want"), ANSWERS.values(), ids=ANSWERS)
def test_it_tells_apart(handler, want):
    with pytest.raises(want):
        engines(handler).one_token("a:1", "chat")


@pytest.mark.parametrize("handler", [hang, refuse, lambda _: httpx.Response(404)])
def test_it_says_that_there_are_no_metrics(handler):
    with pytest.raises(Temporary, match="No metrics from a:1"):
        engines(handler).metrics("a:1")
