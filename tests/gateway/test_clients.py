"""The client's side of a request: memory that it holds, and faults that are the gateway's own."""

import asyncio
from types import SimpleNamespace

import msgspec
import pytest

from gateway.client import Client, Room
from gateway.contract.outcomes import Outcome, Reason
from gateway.counters import Counters
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


async def test_bodies_that_dawdle_count_before_they_are_whole():
    counters = Counters()
    rooms = [Room(counters, 1000) for _ in range(2)]
    slow = asyncio.ensure_future(uploads(b"x" * 600).read_body(5000, {}, rooms[0]))
    await asyncio.sleep(0)
    assert counters.in_flight_bytes == 600 and not slow.done()
    with pytest.raises(Refusal) as refused:
        await uploads(b"x" * 300, b"x" * 300).read_body(5000, {}, rooms[1])
    assert refused.value.reason is Reason.GATEWAY_FULL
    slow.cancel()
    for room in rooms:
        room.give_back()
        room.give_back()
    assert counters.in_flight_bytes == 0


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
