"""A small HTTP/1.1 server on asyncio.Protocol, for the stand-in engine only.

Why not an ASGI server: the stand-in must start in tens of milliseconds, run
dozens of times on one small machine and answer thousands of requests a second
on one core, with no dependency beyond the standard library (uvloop is used
when it can be imported).  It is a test double on loopback, not a hardened
server: limits exist only to keep a mistake from eating the machine's memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import cast

MAX_HEAD = 64 * 1024
MAX_BODY = 32 * 1024 * 1024
_REASON = {s.value: s.phrase for s in HTTPStatus}


@dataclass(slots=True)
class Request:
    """One parsed request; header names are lower case."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


Handler = Callable[[Request, "Connection"], Awaitable[None]]


class BadRequest(Exception):
    """The bytes on the wire are not a request that this server can read."""


class Connection(asyncio.Protocol):
    """One client connection: requests are answered one after another."""

    def __init__(self, handler: Handler, live: set[Connection]) -> None:
        self._handler = handler
        self._live = live
        self._buf = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._request: Request | None = None
        self.transport: asyncio.Transport | None = None
        self.closing = False  # answer "Connection: close" from now on
        self.status = 0  # of the last response, for metrics
        self.sent = 0  # body bytes of the last response, for metrics

    # -- asyncio.Protocol ---------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not subclasses of asyncio.Transport: no isinstance here.
        self.transport = cast(asyncio.Transport, transport)
        self._live.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._live.discard(self)
        self.transport = None
        if self._writable and not self._writable.done():
            self._writable.set_result(None)
        if self._task:  # the client went away: the engine aborts its request
            self._task.cancel()

    def pause_writing(self) -> None:
        if self._writable is None or self._writable.done():
            self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self._writable and not self._writable.done():
            self._writable.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._buf += data
        if self._task is None:
            self._next()

    # -- requests -----------------------------------------------------------
    def _next(self) -> None:
        """Start the handler of the next whole request in the buffer."""
        try:
            request = self._parse()
        except BadRequest as exc:
            self.closing = True
            self.respond(400, b'{"detail":"%s"}' % str(exc).encode())
            return
        if request is not None:
            self._request = request
            self._task = asyncio.get_running_loop().create_task(self._run(request))

    async def _run(self, request: Request) -> None:
        try:
            await self._handler(request, self)
        except asyncio.CancelledError:
            if self.transport is not None:
                self.transport.abort()
            raise
        finally:
            self._task = None
        if self.closing or request.headers.get("connection", "").lower() == "close":
            if self.transport is not None:
                self.transport.close()
        elif self._buf and self.transport is not None:
            self._next()

    def _parse(self) -> Request | None:
        """Take one request off the buffer; None when more bytes are needed."""
        buf = self._buf
        end = buf.find(b"\r\n\r\n")
        if end < 0:
            if len(buf) > MAX_HEAD:
                raise BadRequest("request head too large")
            return None
        request, length = _parse_head(buf[:end].decode("latin-1"))
        if request.headers.get("transfer-encoding", "").lower() == "chunked":
            whole = _unchunk(buf, end + 4)
        else:
            whole = self._sized(request, end + 4, length)
        if whole is None:
            return None
        request.body, stop = whole
        del buf[:stop]
        return request

    def _sized(self, request: Request, start: int, length: int) -> tuple[bytes, int] | None:
        """The body of known length: (body, end), or None if incomplete."""
        buf, stop = self._buf, start + length
        if len(buf) >= stop:
            return bytes(buf[start:stop]), stop
        if request.headers.get("expect", "").lower() == "100-continue" and len(buf) == start:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return None

    # -- responses ----------------------------------------------------------
    def write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)

    async def drain(self) -> None:
        """Wait until the client has read enough of what was written."""
        if self._writable is not None and not self._writable.done():
            await self._writable

    def _head(self, status: int, ctype: str, extra: str) -> bytes:
        kind = f"content-type: {ctype}\r\n" if ctype else ""
        close = "connection: close\r\n" if self.closing else ""
        return (
            f"HTTP/1.1 {status} {_REASON.get(status, '')}\r\ndate: {formatdate(usegmt=True)}\r\n"
            f"server: uvicorn\r\n{extra}{kind}vary: Origin\r\n{close}\r\n"
        ).encode()

    def respond(
        self, status: int, body: bytes = b"", ctype: str = "application/json", extra: str = ""
    ) -> None:
        self.status, self.sent = status, len(body)
        length = f"content-length: {len(body)}\r\n{extra}"
        self.write(self._head(status, ctype if body else "", length) + body)

    def start_stream(self) -> None:
        self.status, self.sent = 200, 0
        self.write(
            self._head(200, "text/event-stream; charset=utf-8", "transfer-encoding: chunked\r\n")
        )

    def chunk(self, data: bytes) -> None:
        self.sent += len(data)
        self.write(b"%x\r\n%b\r\n" % (len(data), data))

    def end_stream(self) -> None:
        self.write(b"0\r\n\r\n")

    def cut(self) -> None:
        """Drop the connection without ending the response (fault injection)."""
        if self.transport is not None:
            self.transport.abort()


def _parse_head(text: str) -> tuple[Request, int]:
    """Request without body, and the length of the body in bytes."""
    lines = text.split("\r\n")
    try:
        method, target, _ = lines[0].split(" ", 2)
        headers = {k.lower(): v.strip() for k, v in (ln.split(":", 1) for ln in lines[1:])}
        length = int(headers.get("content-length", "0"))
    except ValueError:
        raise BadRequest("malformed request head") from None
    if length > MAX_BODY:
        raise BadRequest("request body too large")
    return Request(method, target.split("?", 1)[0], headers), length


def _unchunk(buf: bytearray, pos: int) -> tuple[bytes, int] | None:
    """Decode a chunked body from pos: (body, end), or None if incomplete."""
    out = bytearray()
    while True:
        eol = buf.find(b"\r\n", pos)
        if eol < 0:
            return None
        try:
            size = int(bytes(buf[pos:eol]).split(b";", 1)[0], 16)
        except ValueError:
            raise BadRequest("malformed chunk size") from None
        pos = eol + 2
        if len(buf) < pos + size + 2:
            return None
        if size == 0:  # trailers are not supported: the next line must be empty
            return bytes(out), pos + 2
        out += buf[pos : pos + size]
        if len(out) > MAX_BODY:
            raise BadRequest("request body too large")
        pos += size + 2


class Server:
    """Listens with a handler and knows its open connections."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.connections: set[Connection] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port, which the system chooses when 0 was asked for."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self.handler, self.connections), host, port, backlog=1024
        )
        return int(self._server.sockets[0].getsockname()[1])

    def stop_listening(self) -> None:
        """Refuse new connections; open ones live on."""
        if self._server is not None:
            self._server.close()

    def close_idle(self) -> None:
        """Close the connections that are not answering a request."""
        for conn in list(self.connections):
            if conn._task is None and conn.transport is not None:
                conn.transport.close()
            conn.closing = True
