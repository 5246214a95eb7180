"""What the stand-in does that a test can steer: knobs, queues, caches, ways to end."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx
import pytest

from sandbox.engines.standin.options import parse_args
from sandbox.engines.standin.server import StandIn

BODY = {"model": "tiny", "prompt": "hello world", "max_tokens": 4, "ignore_eos": True}
STREAM = BODY | {"stream": True, "stream_options": {"include_usage": True}}
PATH = "/v1/completions"


@asynccontextmanager
async def engine(*flags: str) -> AsyncIterator[tuple[StandIn, httpx.AsyncClient]]:
    """A stand-in on a free loopback port, and a client for it."""
    standin = StandIn(parse_args(["tiny", "--admin-port", "0", *flags]))
    port = await standin.server.start("127.0.0.1", 0)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
        yield standin, http
    standin.server.stop_listening()


async def metric(http: httpx.AsyncClient, name: str, labels: str = "") -> float:
    page = (await http.get("/metrics")).text
    found = re.search(rf"^vllm:{name}{{[^}}]*{labels}[^}}]*}} (\S+)$", page, re.MULTILINE)
    assert found, name
    return float(found[1])


def events(answer: httpx.Response) -> list[dict]:
    lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


async def test_it_counts_tokens_as_its_usage_says():
    async with engine() as (_, http):
        first = (await http.post(PATH, json=BODY)).json()["usage"]
        whole = events(await http.post(PATH, json=STREAM))
        assert first["completion_tokens"] == whole[-1]["usage"]["completion_tokens"] == 4
        assert await metric(http, "generation_tokens_total") == 8
        assert await metric(http, "prompt_tokens_total") == 2 * first["prompt_tokens"]


async def test_it_ends_by_itself_unless_told_to_ignore_the_end():
    async with engine("--output-tokens", "3") as (_, http):
        asked = BODY | {"max_tokens": 50}
        ignoring = (await http.post(PATH, json=asked)).json()
        natural = (await http.post(PATH, json=asked | {"ignore_eos": False})).json()
        assert [
            ignoring["choices"][0]["finish_reason"],
            ignoring["usage"]["completion_tokens"],
        ] == [
            "length",
            50,
        ]
        assert [natural["choices"][0]["finish_reason"], natural["usage"]["completion_tokens"]] == [
            "stop",
            3,
        ]


@pytest.mark.parametrize(
    ("flags", "want"),
    [
        (("--fingerprint-mode", "custom", "--fingerprint-value", "rel-1"), "rel-1"),
        (
            (
                *("--fingerprint-mode", "custom", "--fingerprint-value", "rel-1"),
                *("--force-fingerprint", "rel-2"),
            ),
            "rel-2",
        ),
        (("--engine-version", "0.31.0"), "vllm-0.31.0-tp1-stand-in"),
    ],
)
async def test_it_tells_the_fingerprint(flags: tuple[str, ...], want: str):
    async with engine(*flags) as (_, http):
        assert (await http.post(PATH, json=BODY)).json()["system_fingerprint"] == want
        assert events(await http.post(PATH, json=STREAM))[-1]["system_fingerprint"] == want


async def test_it_tells_the_version_of_its_image():
    async with engine("--engine-version", "0.31.0") as (_, http):
        assert (await http.get("/version")).json() == {"version": "0.31.0"}


async def test_it_answers_with_nothing_when_garbled():
    async with engine("--garble") as (_, http):
        whole = (await http.post(PATH, json=BODY)).json()
        assert whole["choices"][0]["text"] == ""
        assert whole["usage"]["completion_tokens"] == 0
        chunks = events(await http.post(PATH, json=STREAM))
        assert [c["finish_reason"] for e in chunks for c in e["choices"]] == ["stop"]


async def test_it_fails_the_share_of_requests_that_it_was_told():
    async with engine("--error-rate", "1") as (standin, http):
        assert (await http.post(PATH, json=BODY)).status_code == 500
        standin.knobs.error_rate = 0.0
        assert (await http.post(PATH, json=BODY)).status_code == 200


async def test_it_cuts_streams_half_way():
    async with engine("--break-rate", "1") as (_, http):
        with pytest.raises(httpx.RemoteProtocolError):
            await http.post(PATH, json=STREAM)


async def test_it_finds_a_prefix_again_only_under_the_same_salt():
    prompt = {"prompt": "word " * 200}
    async with engine("--enable-prompt-tokens-details") as (_, http):

        async def cached(salt: str) -> int:
            answer = await http.post(PATH, json=BODY | prompt | {"cache_salt": salt})
            return answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"]

        assert await cached("acme") == 0
        assert await cached("globex") == 0
        assert await cached("acme") > 200


async def test_it_refuses_what_exceeds_its_queue():
    async with engine("--max-num-queued-reqs", "2", "--ttft-ms", "500") as (_, http):
        answers = await asyncio.gather(*(http.post(PATH, json=BODY) for _ in range(4)))
        assert sorted(a.status_code for a in answers) == [200, 200, 503, 503]
        rejected = await metric(http, "admission_rejections_total", "max_num_queued_reqs")
        assert rejected == 2


async def test_it_drains_and_refuses_new_requests_meanwhile():
    async with engine("--shutdown-timeout", "5", "--itl-ms", "50") as (standin, http):
        running = asyncio.create_task(http.post(PATH, json=BODY | {"max_tokens": 10}))
        while not standin.engine.running:
            await asyncio.sleep(0.01)
        standin.on_sigterm()
        assert (await http.post(PATH, json=BODY)).status_code == 500
        assert (await http.get("/health")).status_code == 200
        assert (await running).json()["choices"][0]["finish_reason"] == "length"
        await asyncio.wait_for(standin.stopped.wait(), 2)


async def test_it_aborts_at_once_without_a_shutdown_timeout():
    async with engine("--itl-ms", "50") as (standin, http):
        running = asyncio.create_task(http.post(PATH, json=BODY | {"max_tokens": 1000}))
        while not standin.engine.running:
            await asyncio.sleep(0.01)
        standin.on_sigterm()
        assert (await running).json()["choices"][0]["finish_reason"] == "abort"


async def test_it_counts_a_client_that_left_in_no_per_request_metric():
    async with engine("--itl-ms", "20") as (standin, http):
        running = asyncio.create_task(http.post(PATH, json=BODY | {"max_tokens": 1000}))
        while not standin.engine.running:
            await asyncio.sleep(0.01)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        while standin.engine.running:
            await asyncio.sleep(0.01)
        assert await metric(http, "request_success_total", 'finished_reason="abort"') == 0
        assert await metric(http, "e2e_request_latency_seconds_count") == 0


async def test_it_dies_with_its_engine():
    async with engine() as (standin, http):
        standin.engine.die()
        assert (await http.post(PATH, json=BODY)).status_code == 500
        assert (await http.get("/health")).status_code == 503


async def test_it_hides_metrics_and_imitates_latency():
    async with engine("--ttft-ms", "100", "--itl-ms", "20") as (standin, http):
        await http.post(PATH, json=BODY)
        assert 0.1 <= await metric(http, "time_to_first_token_seconds_sum") < 0.4
        assert 0.06 <= await metric(http, "inter_token_latency_seconds_sum") < 0.4
        standin.knobs.hide_metrics = ["time_to_first_token_seconds"]
        assert "time_to_first_token" not in (await http.get("/metrics")).text


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"x"', b'{"prompt": "x", "n": "2"}', b'{"prompt": {"a": 1}}', b"\xff"],
)
async def test_it_refuses_a_malformed_body(body: bytes):
    async with engine() as (_, http):
        answer = await http.post(PATH, content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == 400


def test_it_ignores_flags_that_only_a_real_vllm_knows(capsys):
    args = parse_args(["/models/tiny", "--revision=abc", "--enforce-eager", "--port", "8001"])
    assert (args.model, args.port) == ("/models/tiny", 8001)
    assert "--enforce-eager" in capsys.readouterr().out


ADAPTERS = ("--enable-lora", "--lora-modules", "polite=/adapters/polite",
            '{"name":"formal","path":"/adapters/formal"}')  # fmt: skip


async def test_it_answers_for_its_adapters_under_their_names_and_refuses_others():
    async with engine(*ADAPTERS) as (_, http):
        models = (await http.get("/v1/models")).json()["data"]
        assert [(m["id"], m["root"], m["parent"], m["max_model_len"]) for m in models] == [
            ("tiny", "tiny", None, 32768),
            ("polite", "/adapters/polite", "tiny", None),
            ("formal", "/adapters/formal", "tiny", None),
        ]
        for name in ("tiny", "polite", "formal"):
            answer = await http.post(PATH, json=BODY | {"model": name})
            assert (answer.status_code, answer.json()["model"]) == (200, name)
        unknown = await http.post(PATH, json=BODY | {"model": "rude"})
        assert unknown.status_code == 404
        assert unknown.json()["error"]["message"].endswith("Valid aliases: tiny.")


async def test_it_finds_no_blocks_of_another_adapter():
    prompt = {"prompt": "word " * 200, "cache_salt": "s"}
    async with engine(*ADAPTERS, "--enable-prompt-tokens-details") as (_, http):
        cached = []
        for name in ("tiny", "polite", "polite"):
            usage = (await http.post(PATH, json=BODY | prompt | {"model": name})).json()["usage"]
            cached.append((usage["prompt_tokens_details"] or {}).get("cached_tokens", 0) > 0)
        assert cached == [False, False, True]


async def test_it_does_not_start_with_adapters_and_without_lora(capsys):
    args = parse_args(["tiny", "--admin-port", "0", *ADAPTERS[1:]])
    assert await StandIn(args).serve() == 1
    assert "LoRA is not enabled" in capsys.readouterr().err
