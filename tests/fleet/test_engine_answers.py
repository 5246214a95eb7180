"""What an engine may answer to who asks whether it is itself: nothing of it stops a pass."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from fleet.clients import contract, signals
from fleet.clients import engine as client
from fleet.clients.engine import ask, ask_pair
from fleet.clients.errors import Permanent, Temporary
from fleet.clients.signals import Engines, read_answer
from fleet.rules.contract.prompts import read_contract
from fleet.rules.engine_metrics import read_metrics
from fleet.rules.verify import PASSES, Expected, judge
from tests.fleet.rules.test_cause_rules import POD

GOOD = {
    "/version": {"version": "0.32.0"},
    "/v1/models": {"data": [{"id": "chat", "max_model_len": 4096}]},
    "/v1/completions": {
        "system_fingerprint": "rel-1", "choices": [{"finish_reason": "length"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 8},
        "kv_transfer_params": {"remote": 1},
    },
}  # fmt: skip
COMPLETION = GOOD["/v1/completions"]
STRANGE = {
    "a list": ("/v1/completions", []),
    "a number": ("/v1/completions", 7),
    "choices that are words": ("/v1/completions", COMPLETION | {"choices": ["x"]}),
    "usage that is a word": ("/v1/completions", COMPLETION | {"usage": "none"}),
    "tokens that are a word": (
        "/v1/completions", COMPLETION | {"usage": {"completion_tokens": "many"}},
    ),
    "more tokens than a column takes": (
        "/v1/completions", COMPLETION | {"usage": {"prompt_tokens": 10**12}},
    ),
    "models that are words": ("/v1/models", {"data": ["chat"]}),
    "a length that is a word": ("/v1/models", {"data": [{"id": "chat", "max_model_len": "4k"}]}),
    "no version": ("/version", ["0.32.0"]),
    "depth": ("/v1/models", "DEEP"),
}  # fmt: skip


@pytest.fixture
def engine():
    """Answers by path; what a test puts in counts."""
    answers = dict(GOOD)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps(answers.get(self.path, {})).encode()
            body = b"[" * 100_000 if body == b'"DEEP"' else body
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200 if self.path in answers else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield answers, f"127.0.0.1:{server.server_port}"
    server.shutdown()


def test_it_reads_who_an_engine_is(engine):
    _, address = engine
    found = ask(address, "chat")
    assert (found.trouble, found.version, found.models) == ("", "0.32.0", ("chat",))
    assert found.fingerprints == ("rel-1",) * PASSES
    assert (found.tokens[0], found.reasons[0], found.max_model_len) == (8, "length", 4096)
    assert ask_pair(address, address, "chat").trouble == ""


@pytest.mark.parametrize("case", STRANGE)
def test_a_strange_answer_is_trouble_and_no_crash(engine, case):
    """It raised in the look, before an abort was heard: nothing could take the release back."""
    answers, address = engine
    path, answers[path] = STRANGE[case]
    found = ask(address, "chat")
    assert "none of vLLM's" in found.trouble
    judged = judge(POD, found, Expected("rel-1", "chat", 4096, "vllm@sha256:1"))
    assert (judged.ok, judged.wrong) == (False, False)


def test_no_nul_comes_into_a_sentence(engine):
    """No table takes it, and who has to write it down would try for ever."""
    answers, address = engine
    answers["/version"] = {"version": "0\0"}
    answers["/v1/completions"] = COMPLETION | {"system_fingerprint": "re\0l \\u0000"}
    found = ask(address, "chat")
    assert found.version == "0\ufffd"
    assert set(found.fingerprints) == {"re\ufffdl \\u0000"}


@pytest.mark.parametrize("case", [c for c in STRANGE if STRANGE[c][0] == "/v1/completions"])
def test_a_probe_takes_it_for_no_completion(case):
    with pytest.raises(Permanent, match="no completion"):
        read_answer(Answer(STRANGE[case][1]), 1.0)


class Answer(httpx.Response):
    def __init__(self, document):
        request = httpx.Request("POST", "http://engine")
        super().__init__(200, json=document, request=request)


def test_a_probe_reads_a_completion(engine):
    _, address = engine
    engines = Engines()
    found = engines.one_token(address, "chat")
    engines.close()
    assert (found.fingerprint, found.completion_tokens, found.finish_reason) == (
        "rel-1", 8, "length",
    )  # fmt: skip


@pytest.fixture
def endless():
    """An engine whose answers never end: slowly, or as fast as they are read."""
    pause = [0.02]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.end_headers()
            while True:
                try:
                    self.wfile.write(b" " * (1 if pause[0] else 65536))
                except OSError:
                    return
                time.sleep(pause[0])

        do_POST = do_GET

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield pause, f"127.0.0.1:{server.server_port}"
    server.shutdown()


def asked_of(address):
    """What each question to an engine comes to; the time, too."""
    engines, begun = Engines(), time.monotonic()
    with pytest.raises(Temporary) as metrics:
        engines.metrics(address)
    with pytest.raises(Temporary) as token:
        engines.one_token(address, "chat")
    engines.close()
    found = ask(address, "chat").trouble, metrics.value.message, token.value.message
    return found, time.monotonic() - begun


def test_an_answer_that_never_ends_is_waited_for_as_long_as_one_that_never_comes(
    endless, monkeypatch
):
    """Each byte came in time: a pass of its rollout stood still, and so did the round of others."""
    for module, name in (
        (client, "SECONDS"),
        (signals, "METRICS_SECONDS"),
        (signals, "PROBE_SECONDS"),
    ):
        monkeypatch.setattr(module, name, 0.3)
    found, seconds = asked_of(endless[1])
    assert all("no answer" in text for text in found), found
    assert seconds < 3


def test_of_an_answer_that_never_ends_so_much_is_read(endless, monkeypatch):
    """Memory of the worker would have been its only bound."""
    monkeypatch.setattr(signals, "LONGEST_METRICS", 1024 * 1024)
    endless[0][0] = 0.0
    found, _ = asked_of(endless[1])
    assert all("an answer of more than" in text for text in found), found


def test_a_length_that_is_no_number_keeps_no_prompt_from_an_end(engine):
    answers, address = engine
    answers["/v1/models"] = {"data": [{"id": "chat", "max_model_len": "4k"}]}
    (prompt,) = read_contract([{"name": "long", "kind": "too_long"}])
    assert "no answer" in contract.put(address, "chat", prompt).trouble


def test_numbers_that_no_engine_counts_are_left_out():
    page = "vllm:prompt_tokens_total 1e300\nvllm:generation_tokens_total 12\n"
    found = read_metrics(page)
    assert (found.prompt_tokens, found.generation_tokens) == (None, 12)
