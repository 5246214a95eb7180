"""An engine's answer, bounded as a whole: in time, however slowly it comes, and in bytes."""

import time
from typing import Any

import httpx

CONNECT = 3.0  # seconds
LARGEST = 8 * 1024 * 1024  # bytes: metrics of an engine with many adapters


class TooLong(httpx.HTTPError):
    """More bytes than anybody reads."""

    def __init__(self, most: int) -> None:
        super().__init__(f"an answer of more than {most // 1024} KiB")


def ask_whole(
    http: httpx.Client,
    method: str,
    path: str,
    until: float,
    *,
    body: Any = None,
    most: int = LARGEST,
) -> httpx.Response:
    """`until`: by the monotonic clock. Raises what httpx raises, and TooLong."""
    found = bytearray()
    left = max(until - time.monotonic(), 0.1)
    timeout = httpx.Timeout(left, connect=min(CONNECT, left))
    with http.stream(method, path, json=body, timeout=timeout) as answer:
        for part in answer.iter_bytes():
            found += part
            if len(found) > most:
                raise TooLong(most)
            if time.monotonic() > until:
                raise httpx.ReadTimeout("it never ends", request=answer.request)
    return httpx.Response(answer.status_code, content=bytes(found), request=answer.request)
