"""The kubelet's port, as far as `kubectl logs` needs it: one TLS listener per node.

The API server proves itself with a client certificate of the cluster's authority; without one
there is no answer. exec, attach and port-forward are not there.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit

PORT = 10250
POLL = 0.5  # seconds between two looks at a log that is followed
CHUNK = 64 * 1024
MAX_HEAD = 16 * 1024

# (namespace/name, container, previous) -> the log file and "does it still run?"
Find = Callable[[str, str, bool], tuple[Path, Callable[[], bool]] | None]


@dataclass(frozen=True)
class LogRequest:
    """GET /containerLogs/NAMESPACE/POD/CONTAINER?follow=true&tailLines=10&previous=true"""

    pod: str
    container: str
    follow: bool
    previous: bool
    tail: int | None

    @classmethod
    def parse(cls, line: str) -> Self | None:
        """None for anything that is no request for a log."""
        method, _, rest = line.partition(" ")
        url = urlsplit(rest.partition(" ")[0])
        parts = url.path.strip("/").split("/")
        if method != "GET" or len(parts) != 4 or parts[0] != "containerLogs":
            return None
        query = parse_qs(url.query)
        tail = query.get("tailLines", [""])[0]
        return cls(
            f"{parts[1]}/{parts[2]}",
            parts[3],
            query.get("follow") == ["true"],
            query.get("previous") == ["true"],
            int(tail) if tail.isdigit() else None,
        )


def tls_context(certificate: Path) -> ssl.SSLContext:
    """Server side; demands a client certificate of the same authority."""
    authority = certificate.with_name("ca.crt")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority))
    # Not with_suffix: the name has dots.
    context.load_cert_chain(certificate, certificate.with_name(certificate.name[:-3] + "key"))
    context.verify_mode = ssl.CERT_REQUIRED
    return context


class LogServer:
    def __init__(self, find: Find, certificate: Path) -> None:
        self._find, self._tls = find, tls_context(certificate)
        self._servers: list[asyncio.Server] = []

    async def listen(self, address: str) -> None:
        server = await asyncio.start_server(
            self._serve, address, PORT, ssl=self._tls, limit=MAX_HEAD
        )
        self._servers.append(server)

    def close(self) -> None:
        for server in self._servers:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            await self._answer(head.decode("latin-1").split("\r\n")[0], writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client left, or it was no client
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, line: str, writer: asyncio.StreamWriter) -> None:
        request = LogRequest.parse(line)
        found = request and self._find(request.pod, request.container, request.previous)
        if request is None or not found or not found[0].exists():
            writer.write(b"HTTP/1.1 404 Not Found\r\nconnection: close\r\n\r\nno such log\n")
            return
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n")
        path, runs = found
        with path.open("rb") as log:
            log.seek(tail_start(path, request.tail))
            while True:
                going = request.follow and runs()  # before reading: what comes last is not lost
                while block := log.read(CHUNK):
                    writer.write(block)
                    await writer.drain()
                if not going or writer.is_closing():
                    return
                await asyncio.sleep(POLL)


def tail_start(path: Path, lines: int | None) -> int:
    """The byte where the last `lines` lines begin; 0 for all of them."""
    if lines is None:
        return 0
    data = path.read_bytes()
    at = len(data) - data.endswith(b"\n")
    for _ in range(lines):
        at = data.rfind(b"\n", 0, at)
        if at < 0:
            return 0
    return min(at + 1, len(data)) if lines else len(data)
