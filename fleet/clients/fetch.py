"""GET from addresses that the settings name, and from no others: bounded in time and in size."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import httpx

from fleet.clients.errors import Permanent, Temporary
from fleet.rules.reference import origin_of

CONNECT_SECONDS = 3.0
READ_SECONDS = 5.0
ALL_SECONDS = 15.0
REDIRECTS = 3


@dataclass(frozen=True, slots=True)
class Got:
    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes


class Fetch:
    """Follows redirects only to allowed addresses, and never takes a secret to another one."""

    def __init__(self, allowed: Iterable[str], setting: str) -> None:
        self.allowed = {origin_of(url) for url in allowed}
        self.setting = setting
        timeout = httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
        self.http = httpx.Client(timeout=timeout, trust_env=False, follow_redirects=False)
        self.deadline = time.monotonic() + ALL_SECONDS

    def close(self) -> None:
        self.http.close()

    def get(self, url: str, headers: Mapping[str, str], most: int) -> Got:
        """At most `most` bytes; raises Temporary or Permanent."""
        sent = dict(headers)
        for _ in range(REDIRECTS + 1):
            self.check(url)
            got = self._once(url, sent, most)
            target = got.headers.get("location", "")
            if got.status not in (301, 302, 303, 307, 308) or not target:
                return got
            following = str(httpx.URL(url).join(target))
            if origin_of(following) != origin_of(url):
                sent.pop("Authorization", None)
            url = following
        raise Permanent(f"{host_of(url)} redirects more than {REDIRECTS} times")

    def check(self, url: str) -> None:
        try:
            known = origin_of(url) in self.allowed
        except ValueError:
            known = False
        if not known:
            raise Permanent(
                f"{host_of(url)} is none of the addresses that this console may ask: an operator"
                f" adds it to {self.setting}"
            )

    def _once(self, url: str, headers: Mapping[str, str], most: int) -> Got:
        try:
            with self.http.stream("GET", url, headers=dict(headers)) as answer:
                body = self._read(answer, most)
                return Got(url, answer.status_code, answer.headers, body)
        except httpx.TimeoutException as error:
            raise Temporary(f"{host_of(url)} does not answer in time") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Temporary(f"{host_of(url)}: {error or type(error).__name__}") from error

    def _read(self, answer: httpx.Response, most: int) -> bytes:
        body = bytearray()
        for piece in answer.iter_bytes():
            body += piece
            if len(body) > most:
                raise Permanent(f"{host_of(str(answer.url))} sends more than {most:,} bytes")
            if time.monotonic() > self.deadline:
                raise Temporary(f"{host_of(str(answer.url))} takes more than {ALL_SECONDS:.0f} s")
        return bytes(body)


def host_of(url: str) -> str:
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        return "That"
    return f"{parts.host}:{parts.port}" if parts.port else parts.host
