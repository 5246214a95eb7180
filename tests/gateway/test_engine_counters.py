"""Usage events against the engine's own counters, on the engine that the sandbox runs."""

import asyncio
import re
import subprocess
import sys

import openai
import pytest

from sandbox.ports import free_port
from tests.gateway.fleet import (
    ACME_KEY,
    ROOT,
    make_pool,
    make_routing,
    make_service,
)

ARGUMENTS = ("--served-model-name", "tiny", "--enable-prompt-tokens-details", "--itl-ms", "2")


@pytest.fixture
async def standin(fleet):
    port = free_port()
    command = [sys.executable, "-m", "sandbox.engines.standin", "tiny", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", *ARGUMENTS], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    service = make_service(make_pool("a", f"127.0.0.1:{port}"), max_model_len=2048)
    fleet.publish(routing=make_routing(service))
    await fleet.start()
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.wait()


async def counters(fleet, url):
    async with fleet.session.get(url + "/metrics") as response:
        text = await response.text()
    return {
        name: sum(map(float, re.findall(rf"^vllm:{name}_total{{.*}} ([0-9.e+]+)$", text, re.M)))
        for name in ("prompt_tokens", "generation_tokens")
    }


async def is_up(fleet, url):
    try:
        async with fleet.session.get(url + "/health") as response:
            return response.status == 200
    except OSError:
        return False


async def ask(client, number):
    messages = [{"role": "user", "content": f"question {number} " * (1 + number % 7)}]
    stream = await client.chat.completions.create(
        model="tiny", messages=messages, stream=True, max_tokens=5 + number % 20
    )
    async for _ in stream:
        pass
    await client.chat.completions.create(model="tiny", messages=messages, max_tokens=9)
    await client.completions.create(model="tiny", prompt="once upon a time", max_tokens=7)


async def leave(client):
    stream = await client.chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": "a long story"}],
        stream=True,
        max_tokens=1000,
        extra_body={"ignore_eos": True},
    )
    count = 0
    async for _ in stream:
        count += 1
        if count == 20:
            await stream.close()
            return


async def test_it_bills_what_the_engine_counted(fleet, standin):
    async with asyncio.timeout(20):
        while not await is_up(fleet, standin):
            await asyncio.sleep(0.05)
    client = openai.AsyncOpenAI(base_url=fleet.url + "/v1", api_key=ACME_KEY, max_retries=0)
    async with client:
        await asyncio.gather(*(ask(client, number) for number in range(30)))
        events = await fleet.events(90)
        engine = await counters(fleet, standin)
        assert fleet.door.outcomes() == {"served": 90}
        assert engine["prompt_tokens"] == sum(event["prompt_tokens"] for event in events) > 0
        assert engine["generation_tokens"] == sum(e["completion_tokens"] for e in events) > 0
        await asyncio.gather(*(leave(client) for _ in range(10)))
    events = await fleet.events(100)
    gone = [event for event in events if event["outcome"] == "cancelled"]
    assert len(gone) == 10
    more = await counters(fleet, standin)
    made = more["generation_tokens"] - engine["generation_tokens"]
    billed = sum(event["completion_tokens"] for event in gone)
    # The engine may have made a few tokens more before it heard that nobody listens.
    assert 10 * 19 <= billed <= made <= billed + 10 * 20


async def test_it_reports_latency_of_both_phases(fleet, standin):
    async with asyncio.timeout(20):
        while not await is_up(fleet, standin):
            await asyncio.sleep(0.05)
    client = openai.AsyncOpenAI(base_url=fleet.url + "/v1", api_key=ACME_KEY, max_retries=0)
    async with client:
        await ask(client, 19)
    events = await fleet.events(3)
    (event,) = [event for event in events if event["stream"]]
    assert 0 < event["ttft_ms"] < 5000 and 1 < event["itl_ms"] < 100
    assert event["itl_p95_ms"] >= 1 and event["gpu_ms"] > 40
    assert event["engine_id"].startswith("chatcmpl-")
