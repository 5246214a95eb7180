"""What gateways read from Redis: snapshots of policy and routing, the bell for revoked keys."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import redis
from redis.exceptions import RedisError

from gateway.contract import keys
from tenants.errors import Unavailable

SECONDS = 2.0  # nobody waits longer than this for Redis

# The pointer never moves back: a slow publisher must not hide what a later one wrote.
MOVE_POINTER = """
local old = redis.call('GET', KEYS[1])
if old and tonumber(old) > tonumber(ARGV[1]) then return old end
redis.call('SET', KEYS[1], ARGV[1])
return old
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """What Redis has: the version that gateways are told, and whether its document is there."""

    version: int
    has_document: bool


@dataclass(frozen=True, slots=True)
class Names:
    """Where one kind of snapshot is in Redis."""

    current: str
    channel: str
    document: Callable[[int], str]


POLICY = Names(keys.POLICY_CURRENT, keys.POLICY_CHANNEL, keys.policy_doc)
ROUTING = Names(keys.ROUTING_CURRENT, keys.ROUTING_CHANNEL, keys.routing_doc)


class SnapshotStore:
    def __init__(self, url: str, names: Names) -> None:
        self.names = names
        self._redis = redis.Redis.from_url(
            url, socket_timeout=SECONDS, socket_connect_timeout=SECONDS
        )

    def look(self) -> Seen:
        with reachable():
            found = self._redis.get(self.names.current)
            version = int(found) if found else 0
            has = bool(version and self._redis.exists(self.names.document(version)))
        return Seen(version, has)

    def publish(self, version: int, document: bytes) -> None:
        """Document first, then the pointer, then the bell."""
        with reachable():
            self._redis.set(self.names.document(version), document)
            old = self._redis.eval(MOVE_POINTER, 1, self.names.current, str(version))
            if old and int(old) != version:
                late = min(int(old), version)  # the one that is not told any more
                self._redis.expire(self.names.document(late), keys.SNAPSHOT_SECONDS)
            self._redis.publish(self.names.channel, str(version))


class PolicyStore(SnapshotStore):
    def __init__(self, url: str) -> None:
        super().__init__(url, POLICY)

    def announce_revoked(self, digest: str) -> None:
        with reachable():
            self._redis.publish(keys.REVOKED_CHANNEL, digest)


@contextmanager
def reachable() -> Generator[None]:
    try:
        yield
    except RedisError as error:
        raise Unavailable(f"Redis does not answer: {error}") from error


@lru_cache(maxsize=4)
def policy_store(url: str) -> PolicyStore:
    """One pool of connections a process."""
    return PolicyStore(url)


@lru_cache(maxsize=4)
def routing_store(url: str) -> SnapshotStore:
    return SnapshotStore(url, ROUTING)
