"""The client's side of a request: memory that it holds, and faults that are the gateway's own."""

import asyncio
from types import SimpleNamespace

import msgspec
import pytest

from gateway.client import Client, Room
from gateway.contract.outcomes import Outcome, Reason
from gateway.counters import Shared
from gateway.errors import Refusal
from gateway.pipeline import Pipeline


def uploads(*parts):
    """A client that sends these parts and then nothing more."""
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]

    async def receive():
        if messages:
            return messages.pop(0)
        return await asyncio.sleep(3600)

    return Client(receive, None)


def whole(body):
    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    return Client(receive, None)


async def test_bodies_that_dawdle_count_before_they_are_whole():
    used = Shared()
    rooms = [Room(used, 1000, tenant_id=1) for _ in range(2)]
    slow = asyncio.ensure_future(uploads(b"x" * 600).read_body(5000, {}, rooms[0]))
    await asyncio.sleep(0)
    assert used.used == 600 and not slow.done()
    with pytest.raises(Refusal) as refused:
        await uploads(b"x" * 300, b"x" * 300).read_body(5000, {}, rooms[1])
    assert refused.value.reason is Reason.GATEWAY_FULL
    slow.cancel()
    for room in rooms:
        room.give_back()
        room.give_back()
    assert used.used == 0


async def test_one_tenant_that_dawdles_leaves_room_for_others():
    used, part = Shared(), b"x" * 10
    for tenant_id, want in ((1, 500), (2, 250), (3, 130)):
        room = Room(used, 1000, tenant_id)
        with pytest.raises(Refusal):
            await uploads(*[part] * 100).read_body(5000, {}, room)
        assert room.held == want
    left = Room(used, 1000, tenant_id=4)
    assert await whole(part).read_body(5000, {}, left) == part


def test_requests_of_one_tenant_leave_places_for_others():
    used = Shared()
    for tenant_id, want in ((1, 4), (2, 2), (3, 1), (4, 1)):
        for _ in range(want):
            used.take(tenant_id, 1, 8)
        with pytest.raises(Refusal, match="left for others"):
            used.take(tenant_id, 1, 8)
    with pytest.raises(Refusal):
        used.take(5, 1, 8)
    used.give_back(1, 1)
    used.take(5, 1, 8)
    Shared().take(1, 1, 1)


async def test_a_fault_of_the_gateway_has_the_form_of_its_door(monkeypatch):
    async def broken(*_):
        raise KeyError("a bug")

    sent, ended = [], []

    async def send(message):
        sent.append(message)

    exchange = SimpleNamespace(id="one", end=lambda *how: ended.append(how))
    pipeline = Pipeline(**dict.fromkeys(Pipeline.__match_args__[:-1]))
    monkeypatch.setattr(pipeline, "_admit_and_send", broken)
    monkeypatch.setattr(pipeline, "_report", lambda _: None)
    await pipeline._guarded(exchange, Client(None, send), "/v1/completions", {}, None)
    assert ended == [(Outcome.FAILED, Reason.INTERNAL, 500)]
    start, body = sent
    assert start["status"] == 500 and (b"x-should-retry", b"false") in start["headers"]
    assert (b"x-request-id", b"one") in start["headers"]
    error = msgspec.json.decode(body["body"])["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["type"] == "server_error"
