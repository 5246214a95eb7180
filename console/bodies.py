"""Bodies are bounded before anybody reads them: Django writes what comes to a file first, whoever
sends it, however long it is and however long it takes.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]
SECONDS = 30.0  # for a body to come
BYTES_A_SECOND = 64 * 1024  # of what came: the longer it is, the more time it has


class RefusedError(Exception):
    """A body that is not taken."""

    def __init__(self, status: int, code: str, title: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.code, self.title, self.detail = status, code, title, detail


class Bounded:
    """An ASGI application that answers 413 where more than `most` bytes are sent or announced, and
    408 where they do not come.
    """

    def __init__(self, app: App, most: int) -> None:
        self.app, self.most = app, most

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        length = dict(scope.get("headers", ())).get(b"content-length", b"0")
        try:
            if length.isdigit() and int(length) > self.most:
                raise self.too_long()
            await self.app(scope, self.bounded(receive), send)
        except RefusedError as why:
            await refuse(scope, send, why)

    def bounded(self, receive: Receive) -> Receive:
        began, came, is_whole = time.monotonic(), 0, False

        async def receive_some() -> Message:
            nonlocal came, is_whole
            if is_whole:  # what comes now is that the client went away
                return await receive()
            left = began + SECONDS + came / BYTES_A_SECOND - time.monotonic()
            try:
                message = await asyncio.wait_for(receive(), max(left, 0.0))
            except TimeoutError:
                raise too_slow() from None
            is_whole = not message.get("more_body", False)
            came += len(message.get("body", b""))
            if came > self.most:
                raise self.too_long()
            return message

        return receive_some

    def too_long(self) -> RefusedError:
        detail = f"A request's body has at most {self.most:,} bytes here"
        return RefusedError(413, "too_large", "Too large", detail)


def too_slow() -> RefusedError:
    rate = BYTES_A_SECOND / 1024
    detail = f"A body has {SECONDS:g} s to come, and one more for each {rate:g} kB: send it again"
    return RefusedError(408, "timeout", "Request timeout", detail)


async def refuse(scope: Any, send: Send, why: RefusedError) -> None:
    """What is still on its way is not read: the connection ends with the answer."""
    kind, body = b"text/plain; charset=utf-8", why.detail.encode()
    if scope["path"].startswith("/api/"):
        problem = {
            "type": f"urn:quartermaster:{why.code}",
            "title": why.title,
            "status": why.status,
            "code": why.code,
            "detail": why.detail,
            "instance": scope["path"],
        }
        kind, body = b"application/problem+json", json.dumps(problem).encode()
    headers = [(b"content-type", kind), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": why.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
