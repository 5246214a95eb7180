"""Counts of requests in Valkey, shared by all processes of the web."""

from datetime import timedelta
from functools import lru_cache

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tenants.clients.redis import reachable

SECONDS = 0.2  # a request does not wait longer to be counted
PREFIX = "qm:rate"


class RateCounter:
    def __init__(self, url: str) -> None:
        self._redis = redis.Redis.from_url(
            url,
            socket_timeout=SECONDS,
            socket_connect_timeout=SECONDS,
            retry=Retry(NoBackoff(), 0),
        )

    def count(self, name: str, window: timedelta) -> tuple[int, int]:
        """One more, which may begin a window. Answers how many, and the seconds that are left."""
        key = f"{PREFIX}:{name}"
        with reachable(), self._redis.pipeline(transaction=True) as pipe:
            pipe.set(key, 0, ex=window, nx=True)
            pipe.incr(key)
            pipe.pttl(key)
            _, used, left = pipe.execute()
        return int(used), -(-int(left) // 1_000)


@lru_cache(maxsize=4)
def rate_counter(url: str) -> RateCounter:
    """One pool of connections a process."""
    return RateCounter(url)
