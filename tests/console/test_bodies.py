"""The longest body: refused before it fills a disk, whoever sends it."""

import json

import pytest
from django.core.asgi import get_asgi_application

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
