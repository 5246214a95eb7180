"""The client's side of one request: reading the body, answering, and noticing that it left.

Servers neither raise in `send` nor cancel the task when a client goes; only a concurrent
`receive` hears of it. So one task listens, and cancels the request's own task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Protocol

from gateway import errors
from gateway.contract.outcomes import Reason
from gateway.counters import Shared
from gateway.errors import Headers, Refusal

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BODY_SECONDS = 30.0
JSON_TYPE = (b"content-type", b"application/json")


class ClientLeftError(Exception):
    """The client closed the connection before its request was complete."""


class Receiver(Protocol):
    """Who gets an answer."""

    is_started: bool

    async def start(self, status: int, headers: Headers) -> None: ...
    async def write(self, data: bytes) -> None: ...
    async def finish(self, data: bytes = b"") -> None: ...
    async def answer(self, status: int, body: bytes, headers: Headers) -> None: ...


class Nobody:
    """Takes an answer that is compared only, and keeps nothing of it."""

    is_started = True

    async def start(self, status: int, headers: Headers) -> None:
        return

    async def write(self, data: bytes) -> None:
        return

    async def finish(self, data: bytes = b"") -> None:
        return

    async def answer(self, status: int, body: bytes, headers: Headers) -> None:
        return


NOBODY = Nobody()


@dataclass
class Room:
    """What one request holds of its worker's memory, from its first byte on: those that dawdle
    count too.
    """

    used: Shared
    most: int  # bytes of all requests of the worker
    tenant_id: int
    held: int = 0

    def take(self, size: int) -> None:
        self.used.take(self.tenant_id, size, self.most)
        self.held += size

    def give_back(self) -> None:
        self.used.give_back(self.tenant_id, self.held)
        self.held = 0


class Client:
    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._listener: asyncio.Task[None] | None = None
        self.has_left = False
        self.is_started = False
        self.is_finished = False

    async def read_body(self, limit: int, headers: dict[bytes, bytes], room: Room) -> bytes:
        """Read the whole body, at most `limit` bytes and not forever."""
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > limit:
            raise errors.too_large(limit)
        if headers.get(b"content-encoding", b"identity") != b"identity":
            raise errors.invalid("Compressed bodies are not taken.")
        try:
            async with asyncio.timeout(BODY_SECONDS):
                return await self._read(limit, room)
        except TimeoutError:
            message = f"The body did not arrive within {BODY_SECONDS:.0f} s."
            raise Refusal(408, "request_timeout", message, reason=Reason.INVALID) from None

    async def _read(self, limit: int, room: Room) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.has_left = True
                raise ClientLeftError
            part = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise errors.too_large(limit)
            room.take(len(part))
            parts.append(part)
            if not message.get("more_body"):
                return b"".join(parts)

    def watch(self) -> None:
        """Cancel the current task when the client leaves, until `unwatch`."""
        task = asyncio.current_task()
        if task is not None:
            self._listener = asyncio.ensure_future(self._listen(task))

    async def _listen(self, task: asyncio.Task[Any]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self.is_finished:
            self.has_left = True
            task.cancel()

    def unwatch(self) -> None:
        if self._listener is not None:
            self._listener.cancel()

    async def start(self, status: int, headers: Headers) -> None:
        self.is_started = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, data: bytes) -> None:
        if data:
            await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def finish(self, data: bytes = b"") -> None:
        self.is_finished = True
        await self._send({"type": "http.response.body", "body": data, "more_body": False})

    async def answer(self, status: int, body: bytes, headers: Headers) -> None:
        length = (b"content-length", b"%d" % len(body))
        await self.start(status, [*headers, length])
        await self.finish(body)

    async def refuse(self, refusal: Refusal, request_id: str) -> None:
        """Answer a refusal: a real status, or an event once a stream has begun."""
        if self.is_finished:
            return
        if self.is_started:
            await self.finish(b"data: " + refusal.body() + b"\n\n")
            return
        name = (b"x-request-id", request_id.encode())
        await self.answer(refusal.status, refusal.body(), [JSON_TYPE, name, *refusal.headers()])
