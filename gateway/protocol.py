"""HTTP as uvicorn speaks it, and two bounds that it lacks: on the time and on the size of whatever
a client sends before anybody knows who it is.

Of a request that does not end its head uvicorn keeps each byte, for as long as it comes. The same
holds for the trailers after a body in chunks, also when the request has been refused long ago.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 15.0  # for a head, and for what somebody goes on sending after the answer
HEAD_BYTES = 64 * 1024
FRAMES = 8  # one byte in so many of a body may be what divides it into chunks


class Protocol(HttpToolsProtocol):
    """Closes on who does not come to the point. Idle connections are uvicorn's to close."""

    _deadline: asyncio.TimerHandle | None = None
    _framing = 0  # bytes of the message that are no body
    _body = 0  # bytes of the body that somebody waits for

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_unasked and self._deadline is None:
            self._wait()
        self._framing += len(data)
        super().data_received(data)
        if self._framing > HEAD_BYTES + self._body // FRAMES:
            self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._framing = self._body = 0

    def on_headers_complete(self) -> None:
        self._wait_no_more()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._framing -= len(body)
        if not self.cycle.response_complete:
            self._body += len(body)
        super().on_body(body)

    @property
    def _is_unasked(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _wait_no_more(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
