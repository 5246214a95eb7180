"""One connection to Redis for all requests of a worker.

A request owns a future, never a connection: a cancelled request leaves its place in the queue of
replies, so the next reply cannot reach the wrong tenant. Commands of one tick leave in one write.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

import hiredis

from gateway.limits.scripts import ALL, Script

log = logging.getLogger("gateway.limits")

MAX_WAITING = 10_000
LOOK_SECONDS = 0.25
STALL_SECONDS = 1.0  # no reply for so long, though one is waited for: the connection is given up
BREAK_AFTER = 5  # timeouts in a row
BREAK_SECONDS = 1.0
RECONNECT_SECONDS = 0.25
LATE_SECONDS = 0.005  # a timer this late: the process was busy, not the store
MORE_SECONDS, MORE_TIMES = 0.01, 20


class UnavailableError(Exception):
    """The store did not answer in time; whether it did the work is unknown."""


class NotSentError(UnavailableError):
    """The store was not asked, so there is nothing to take back."""


class ReplyError(Exception):
    """The store answered that the command is wrong."""


@dataclass(frozen=True)
class Address:
    host: str | None
    port: int
    path: str | None
    database: int
    username: str | None
    password: str | None
    tls: bool

    @classmethod
    def parse(cls, url: str) -> Address:
        parts = urlsplit(url)
        is_socket = parts.scheme == "unix"
        database = parse_qs(parts.query).get("db", ["0"])[0]
        if not is_socket and parts.path.strip("/"):
            database = parts.path.strip("/")
        return cls(
            host=None if is_socket else (parts.hostname or "127.0.0.1"),
            port=parts.port or 6379,
            path=unquote(parts.path) if is_socket else None,
            database=int(database),
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            tls=parts.scheme == "rediss",
        )


class _Protocol(asyncio.Protocol):
    def __init__(self) -> None:
        self.reader = hiredis.Reader()
        self.waiting: deque[asyncio.Future[Any]] = deque()
        self.lost = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None
        self.replies = 0
        self._out: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def send(self, command: bytes) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self.waiting.append(future)
        if not self._out:
            loop.call_soon(self._flush)
        self._out.append(command)
        return future

    def _flush(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(b"".join(self._out))
        self._out.clear()

    def data_received(self, data: bytes) -> None:
        self.reader.feed(data)
        while (reply := self.reader.gets()) is not False:
            self.replies += 1
            future = self.waiting.popleft()
            if future.done():
                continue
            if isinstance(reply, hiredis.ReplyError):
                future.set_exception(ReplyError(str(reply)))
            else:
                future.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        for future in self.waiting:
            if not future.done():
                future.set_exception(UnavailableError("the connection broke"))
        self.waiting.clear()
        if not self.lost.done():
            self.lost.set_result(None)


class _Patience:
    """The timeout of one call.

    When this process itself was busy for longer than the timeout, the reply may lie unread in the
    socket: a timer that fires late waits a little more, so that the store is not blamed for it.
    """

    __slots__ = ("_future", "_give_up", "_left", "_timer", "_due")

    def __init__(
        self,
        future: asyncio.Future[Any],
        seconds: float,
        give_up: Callable[[asyncio.Future[Any]], None],
    ) -> None:
        self._future, self._give_up = future, give_up
        self._left = MORE_TIMES
        self._wait(seconds)

    def _wait(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._due = loop.time() + seconds
        self._timer = loop.call_later(seconds, self._expire)

    def _expire(self) -> None:
        if self._future.done():
            return
        late = asyncio.get_running_loop().time() - self._due
        if late > LATE_SECONDS and self._left:
            self._left -= 1
            self._wait(MORE_SECONDS)
        else:
            self._give_up(self._future)

    def end(self) -> None:
        self._timer.cancel()


class Wire:
    """Sends commands; every call ends within its timeout, with a reply or UnavailableError."""

    def __init__(self, url: str, *, timeout: float) -> None:
        self._address = Address.parse(url)
        self._timeout = timeout
        self._protocol: _Protocol | None = None
        self._failures = 0
        self._broken_until = float("-inf")
        self.is_connected = asyncio.Event()

    @property
    def is_open(self) -> bool:
        """Whether a call has a chance: connected, and the breaker is closed."""
        return self._protocol is not None and time.monotonic() >= self._broken_until

    async def keep_connected(self) -> None:
        while True:
            try:
                protocol = await self._connect()
            except (OSError, UnavailableError, ReplyError, TimeoutError) as error:
                log.warning("quota store is not reachable: %s", error)
                await asyncio.sleep(RECONNECT_SECONDS)
                continue
            self._protocol = protocol
            self.is_connected.set()
            await self._watch(protocol)
            self._protocol = None
            self.is_connected.clear()

    async def _watch(self, protocol: _Protocol) -> None:
        """Return when the connection is lost, or abort it when replies stop coming. A store that is
        only slow goes on answering: emergency limits in its stead would admit too many.

        Looks are counted, not time: a process that was busy looks later, and between two looks it
        sends what waits and reads what came.
        """
        quiet, heard = 0, protocol.replies
        try:
            while not protocol.lost.done():
                await asyncio.wait({protocol.lost}, timeout=LOOK_SECONDS)
                is_quiet = protocol.waiting and protocol.replies == heard
                quiet, heard = quiet + 1 if is_quiet else 0, protocol.replies
                if quiet * LOOK_SECONDS > STALL_SECONDS and protocol.transport is not None:
                    protocol.transport.abort()
        finally:
            if protocol.transport is not None:
                protocol.transport.abort()

    async def _connect(self) -> _Protocol:
        loop = asyncio.get_running_loop()
        at = self._address
        async with asyncio.timeout(2.0):
            if at.path is not None:
                _, protocol = await loop.create_unix_connection(_Protocol, at.path)
            else:
                ssl = True if at.tls else None
                _, protocol = await loop.create_connection(
                    _Protocol, at.host or "", at.port, ssl=ssl
                )
            if at.password is not None:
                user = (at.username,) if at.username else ()
                await protocol.send(hiredis.pack_command(("AUTH", *user, at.password)))
            if at.database:
                await protocol.send(hiredis.pack_command(("SELECT", at.database)))
            for script in ALL:
                await protocol.send(hiredis.pack_command(("SCRIPT", "LOAD", script.source)))
        return protocol

    async def call(self, *command: str | bytes | int, timeout: float | None = None) -> Any:  # noqa: ANN401 - Redis replies have no one type
        protocol = self._protocol
        if protocol is None or not self.is_open:
            raise NotSentError("the quota store is not reachable")
        if len(protocol.waiting) >= MAX_WAITING:
            raise NotSentError("too many commands wait for the quota store")
        future = protocol.send(hiredis.pack_command(command))
        patience = _Patience(future, timeout or self._timeout, self._give_up)
        try:
            reply = await future
        finally:
            patience.end()
        self._failures = 0
        return reply

    def _give_up(self, future: asyncio.Future[Any]) -> None:
        self._failures += 1
        if self._failures >= BREAK_AFTER:
            if self.is_open:
                log.warning("the quota store is too slow: emergency limits")
            self._broken_until = time.monotonic() + BREAK_SECONDS
        future.set_exception(UnavailableError("the quota store is too slow"))

    async def run(
        self,
        script: Script,
        names: list[str],
        values: list[str | bytes | int],
        *,
        timeout: float | None = None,
    ) -> Any:  # noqa: ANN401 - Redis replies have no one type
        try:
            return await self.call(
                "EVALSHA", script.digest, len(names), *names, *values, timeout=timeout
            )
        except ReplyError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
        # The store restarted or flushed its scripts: send the text once more.
        return await self.call("EVAL", script.source, len(names), *names, *values, timeout=timeout)
