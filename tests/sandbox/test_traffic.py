"""The demo's clients, against a gateway of ten lines."""

import asyncio
import json
import random

import pytest
from aiohttp import web

from sandbox.traffic.__main__ import read_clients
from sandbox.traffic.clients import Client, Fleet
from sandbox.traffic.profile import HABITS, LONGEST_PROMPT, next_ask, rate_at

ACME = Client("acme", "qmk_acme", "interactive", ("chat-small", "chat-large"))
GLOBEX = Client("globex", "qmk_globex", "batch", ("chat-large",))


@pytest.fixture
async def gateway():
    """Serve one model; note who asked for what."""
    asked: list[tuple[str, str]] = []

    async def models(request):
        return web.json_response({"data": [{"id": "chat-small"}]})

    async def chat(request):
        body = await request.json()
        asked.append((request.headers["Authorization"].split()[1], body["model"]))
        return web.Response(text="data: {}\n\ndata: [DONE]\n\n")

    application = web.Application()
    application.add_routes([web.get("/v1/models", models), web.post("/v1/chat/completions", chat)])
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", asked
    await runner.cleanup()


async def test_it_asks_only_for_models_that_the_key_was_granted(gateway):
    url, asked = gateway
    fleet = Fleet(url, [ACME, GLOBEX], factor=100)
    await fleet.run(0.6)
    assert fleet.seen["200"] > 5
    assert set(asked) == {("qmk_acme", "chat-small")}


async def test_it_is_silent_while_the_file_is_there_and_speaks_when_it_is_gone(gateway, tmp_path):
    url, asked = gateway
    switch = tmp_path / "traffic.off"
    switch.touch()
    fleet = Fleet(url, [ACME], off_while=switch, factor=100)
    await fleet.run(0.4)
    assert asked == []
    switch.unlink()
    await fleet.run(0.4)
    assert asked


async def test_it_goes_on_when_the_gateway_is_away():
    fleet = Fleet("http://127.0.0.1:9", [ACME], factor=100)
    await asyncio.wait_for(fleet.run(0.3), 5)
    assert fleet.seen["200"] == 0


def test_it_asks_the_same_things_again_from_the_same_seed():
    habits = HABITS["interactive"]
    first = [next_ask(habits, "chat-small", random.Random(n)) for n in range(20)]
    assert first == [next_ask(habits, "chat-small", random.Random(n)) for n in range(20)]
    assert len({ask.body["messages"][1]["content"] for ask in first}) == 20


@pytest.mark.parametrize("kind", HABITS)
def test_it_keeps_prompts_within_what_the_small_model_reads(kind):
    dice = random.Random(7)
    for _ in range(300):
        ask = next_ask(HABITS[kind], "chat-small", dice)
        assert 3 <= len(ask.body["messages"][1]["content"].split()) <= LONGEST_PROMPT
        assert ask.leave_after is None or ask.body["stream"]


def test_it_bursts_within_its_cycle_only():
    habits = HABITS["interactive"]
    assert rate_at(habits, 1, 0) == habits.per_second * habits.burst_factor
    assert rate_at(habits, habits.burst_seconds + 1, 0) == habits.per_second


def test_it_refuses_a_traffic_class_that_it_has_no_habits_for(tmp_path):
    row = {"tenant": "acme", "key": "qmk_x", "traffic_class": "urgent", "models": ["chat-small"]}
    path = tmp_path / "demo.json"
    path.write_text(json.dumps({"clients": [row]}))
    with pytest.raises(ValueError, match="no habits for the traffic class urgent"):
        read_clients(path)
