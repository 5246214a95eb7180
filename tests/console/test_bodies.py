"""The longest body and the slowest: refused before it fills a disk, whoever sends it."""

import asyncio
import json

import pytest
from django.core.asgi import get_asgi_application

from console import bodies
from console.bodies import Bounded

MOST = 1_000


class Sender:
    """Sends a body in pieces of 400 bytes, and keeps what is answered."""

    def __init__(self, size, headers=()):
        self.left, self.answered, self.pieces = size, [], 0
        self.headers = [(b"host", b"localhost"), *headers]

    async def receive(self):
        body = b"a" * min(400, self.left)
        self.left -= len(body)
        self.pieces += 1
        return {"type": "http.request", "body": body, "more_body": self.left > 0}

    async def send(self, message):
        self.answered.append(message)

    async def ask(self, app, path):
        scope = {"type": "http", "method": "POST", "path": path, "headers": self.headers}
        await app(scope, self.receive, self.send)
        return self.answered[0]["status"]


async def counting(scope, receive, send):
    """An application that reads all of it."""
    while (await receive())["more_body"]:
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})


@pytest.mark.parametrize(("size", "want"), [(0, 200), (MOST, 200), (MOST + 1, 413), (10**9, 413)])
@pytest.mark.parametrize("is_announced", [True, False])
async def test_it_takes_no_longer_body(size, want, is_announced):
    headers = [(b"content-length", str(size).encode())] if is_announced else []
    sender = Sender(size, headers)
    assert await sender.ask(Bounded(counting, MOST), "/account/login/") == want
    assert sender.pieces <= 3
    if want == 413:
        assert (b"connection", b"close") in sender.answered[0]["headers"]


async def test_django_keeps_nothing_of_a_body_that_is_too_long():
    sender = Sender(10**9)
    assert await sender.ask(Bounded(get_asgi_application(), MOST), "/account/login/") == 413
    assert sender.pieces == 3 and b"at most 1,000 bytes" in sender.answered[1]["body"]


async def test_the_api_refuses_by_a_problem():
    sender = Sender(MOST * 2)
    await sender.ask(Bounded(counting, MOST), "/api/v1/usage/events")
    start, body = sender.answered
    assert (b"content-type", b"application/problem+json") in start["headers"]
    problem = json.loads(body["body"])
    assert (problem["code"], problem["instance"]) == ("too_large", "/api/v1/usage/events")


class Slow(Sender):
    """Sends a piece each 100 ms."""

    async def receive(self):
        await asyncio.sleep(0.1)
        return await super().receive()


async def test_it_does_not_wait_for_a_body_that_does_not_come(monkeypatch):
    monkeypatch.setattr(bodies, "SECONDS", 0.5)
    monkeypatch.setattr(bodies, "BYTES_A_SECOND", 1e9)
    sender = Slow(10**9)
    assert await sender.ask(Bounded(get_asgi_application(), 10**9), "/api/v1/usage/events") == 408
    start, body = sender.answered
    assert (b"connection", b"close") in start["headers"]
    assert json.loads(body["body"])["code"] == "timeout"


async def test_what_is_longer_has_more_time(monkeypatch):
    monkeypatch.setattr(bodies, "SECONDS", 1.0)  # half of what all of it takes
    monkeypatch.setattr(bodies, "BYTES_A_SECOND", 2_000)  # a piece more brings 200 ms more
    assert await Slow(8_000).ask(Bounded(counting, 10**6), "/") == 200


async def test_it_waits_as_long_as_it_takes_for_a_client_to_go_away(monkeypatch):
    """An answer may go on for hours, and who answers listens all the while."""
    monkeypatch.setattr(bodies, "SECONDS", 0.3)

    async def listening(scope, receive, send):
        await receive()
        await receive()
        await counting(scope, receive, send)

    class Patient(Sender):
        async def receive(self):
            if self.pieces:
                await asyncio.sleep(0.6)
            return await super().receive()

    assert await Patient(10).ask(Bounded(listening, MOST), "/") == 200
