"""The end of a whole exchange over HTTP, which a client's own timeouts do not set.

They are of one read or write each: a peer that takes or gives a byte now and then would hold its
worker for ever.
"""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

CONNECTED = frozenset({"connection.connect_tcp.complete", "connection.start_tls.complete"})


class Deadline:
    """Ends the connection when the time is over. Give `trace` to the request as an extension."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.is_over = False
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    def trace(self, event: str, told: Mapping[str, Any]) -> None:
        if event in CONNECTED:
            with self._lock:
                self._socket = told["return_value"].get_extra_info("socket")
                if self.is_over:
                    self._shut()

    def end(self) -> None:
        with self._lock:
            self.is_over = True
            self._shut()

    def _shut(self) -> None:
        """The thread that waits for it wakes up; closing it alone would not wake it."""
        if self._socket is not None:
            with suppress(OSError):  # nobody is there any more
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


@contextmanager
def deadline(seconds: float) -> Iterator[Deadline]:
    found = Deadline(seconds)
    timer = threading.Timer(seconds, found.end)
    timer.daemon = True
    timer.start()
    try:
        yield found
    finally:
        timer.cancel()
