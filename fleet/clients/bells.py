"""Gateways ring when a request waits for a service that sleeps. A bell may be lost: the sweep reads
the same from their reports.
"""

import structlog
from redis import Redis
from redis.client import PubSub
from redis.exceptions import RedisError

from gateway.contract import keys

log = structlog.get_logger(__name__)


class GatewayBells:
    def __init__(self, url: str) -> None:
        self._redis = Redis.from_url(url, socket_connect_timeout=2.0)
        self._ears: PubSub | None = None
        self._deaf = False

    def heard(self, seconds: float) -> set[int]:
        """Services that were rung for; waits at most so long for the first."""
        try:
            if self._ears is None:
                self._ears = PubSub(self._redis.connection_pool, ignore_subscribe_messages=True)
                self._ears.subscribe(keys.WAKE_CHANNEL)
                self._ears.get_message(timeout=seconds)  # the store confirms it
            found = self._take(self._ears, seconds)
        except RedisError as error:
            self._lose(error)
            return set()
        self._deaf = False
        return found

    def _take(self, ears: PubSub, seconds: float) -> set[int]:
        found: set[int] = set()
        message = ears.get_message(timeout=seconds)
        while message is not None:
            if message["data"].isdigit():
                found.add(int(message["data"]))
            message = ears.get_message()
        return found

    def _lose(self, error: RedisError) -> None:
        if not self._deaf:
            log.warning("bells of gateways are not heard, their reports are read", why=str(error))
        self._deaf = True
        self.close()

    def close(self) -> None:
        if self._ears is not None:
            self._ears.close()
        self._ears = None
