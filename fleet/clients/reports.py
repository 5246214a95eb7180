"""What gateway workers wrote about themselves in the last seconds."""

from dataclasses import dataclass
from functools import lru_cache

import msgspec
import redis
from redis.exceptions import RedisError

from gateway.contract import keys
from gateway.contract.usage import WorkerReport

SECONDS = 1.0  # a page waits no longer for Redis


@dataclass(frozen=True, slots=True)
class Reports:
    reports: tuple[WorkerReport, ...]
    trouble: str = ""


def read_reports(url: str) -> Reports:
    """Reports end by themselves, so a worker that died is gone; unreadable ones are left out."""
    client = connection(url)
    try:
        names = sorted(client.scan_iter(match=keys.REPORTS, count=500))
        found = client.mget(names) if names else []
    except RedisError as error:
        return Reports((), f"Redis does not answer: {error}")
    read = (decode(document) for document in found if document is not None)
    return Reports(tuple(report for report in read if report is not None))


def decode(document: bytes | str) -> WorkerReport | None:
    try:
        return msgspec.json.decode(document, type=WorkerReport)
    except msgspec.MsgspecError:
        return None


@lru_cache(maxsize=4)
def connection(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=SECONDS, socket_connect_timeout=SECONDS)
