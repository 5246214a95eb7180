"""Bodies are bounded before anybody reads them: Django writes what comes to a file first, whoever
sends it and however long it is.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]


class TooLongError(Exception):
    """More came than is taken."""


class Bounded:
    """An ASGI application that answers 413 where more than `most` bytes are sent or announced."""

    def __init__(self, app: App, most: int) -> None:
        self.app, self.most = app, most

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        length = dict(scope.get("headers", ())).get(b"content-length", b"0")
        if length.isdigit() and int(length) > self.most:
            await self.refuse(scope, send)
            return
        left = self.most

        async def counted() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise TooLongError
            return message

        try:
            await self.app(scope, counted, send)
        except TooLongError:
            await self.refuse(scope, send)

    async def refuse(self, scope: Any, send: Send) -> None:
        """What is still on its way is not read: the connection ends with the answer."""
        detail = f"A request's body has at most {self.most:,} bytes here"
        kind, body = b"text/plain; charset=utf-8", detail.encode()
        if scope["path"].startswith("/api/"):
            problem = {
                "type": "urn:quartermaster:too_large",
                "title": "Too large",
                "status": 413,
                "code": "too_large",
                "detail": detail,
                "instance": scope["path"],
            }
            kind, body = b"application/problem+json", json.dumps(problem).encode()
        headers = [(b"content-type", kind), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": body})
