"""What the control plane decided: policy and routing, whole documents, swapped by reference.

A worker validates a document completely before it takes it, keeps the last good one when the
next is broken, and says how long ago it last heard from the store. A request keeps the version
it was admitted with.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import msgspec
import redis.asyncio as aioredis
from redis.exceptions import RedisError

from gateway.contract import keys, policy, routing
from gateway.contract.policy import DataPolicy, Limit, PolicySnapshot
from gateway.contract.routing import Canary, Pool, RoutingSnapshot, Service, WaitingRoom

log = logging.getLogger("gateway.snapshots")

POLL_SECONDS = 2.0
ANSWER_SECONDS = 2.0  # a store that is silent for longer is gone for now
STALE_SECONDS = 10.0  # without a word for this long: say so


class BrokenSnapshotError(Exception):
    """A document that must not be taken; the text says what is wrong with it."""


@dataclass
class Policy:
    """A policy snapshot with the lookups that every request needs."""

    document: PolicySnapshot
    revoked: set[str] = field(default_factory=set)  # heard of since the snapshot was taken
    _matches: dict[tuple[int, int, str], tuple[Limit, ...]] = field(default_factory=dict)
    _by_tenant: dict[int, list[Limit]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for limit in self.document.limits:
            self._by_tenant.setdefault(limit.tenant_id, []).append(limit)

    def limits(self, tenant_id: int, application_id: int, model: str) -> tuple[Limit, ...]:
        """All limits that this request must pass."""
        key = (tenant_id, application_id, model)
        found = self._matches.get(key)
        if found is None:
            found = tuple(
                limit
                for limit in self._by_tenant.get(tenant_id, ())
                if limit.application_id in (None, application_id) and limit.model in (None, model)
            )
            self._matches[key] = found
        return found


@dataclass
class Routing:
    """A routing snapshot, what clients may ask it for, and which pools each data policy leaves."""

    document: RoutingSnapshot
    adapters: dict[str, Service] = field(init=False)  # what has it, by the name of an adapter
    _allowed: dict[tuple[str, DataPolicy, str], tuple[Pool, ...]] = field(default_factory=dict)
    _media: dict[str, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.adapters = _adapters(self.document)

    def find(self, model: str) -> tuple[Service, str] | None:
        """The service that answers to a name, and the adapter where the name is that of one."""
        if service := self.document.services.get(model):
            return service, ""
        owner = self.adapters.get(model)
        return (owner, model) if owner else None

    def candidates(
        self, service: Service, data_policy: DataPolicy, adapter: str = ""
    ) -> tuple[Pool, ...]:
        """Pools that have the adapter, if one is asked for, and may see this tenant's data.
        Failover happens inside this set only.
        """
        key = (service.name, data_policy, adapter)
        found = self._allowed.get(key)
        if found is None:
            having = (p for p in service.pools if not adapter or adapter in p.adapters)
            found = tuple(pool for pool in having if _is_allowed(pool, data_policy))
            self._allowed[key] = found
        return found

    def media_hosts(self, service: Service) -> frozenset[str]:
        """From where every engine that may answer for a service fetches media. None, where one
        has no list: it would fetch from anywhere.
        """
        found = self._media.get(service.name)
        if found is None:
            known = self.document.services
            others = (known[n] for n in (*service.placements, *service.fallbacks) if n in known)
            pools = (pool for one in (service, *others) for pool in one.pools if pool.weight > 0)
            lists = [frozenset(pool.media_hosts) for pool in pools]
            found = frozenset.intersection(*lists) if lists else frozenset()
            self._media[service.name] = found
        return found


def _adapters(document: RoutingSnapshot) -> dict[str, Service]:
    """Of releases that take traffic; in placements, under the service whose name clients call."""
    services = document.services
    away = {name for service in services.values() for name in service.placements}
    found: dict[str, Service] = {}
    for service in services.values():
        if service.name in away:
            continue
        others = (services[name] for name in service.placements if name in services)
        pools = (pool for one in (service, *others) for pool in one.pools if pool.weight > 0)
        for name in (name for pool in pools for name in pool.adapters):
            found.setdefault(name, service)
    return found


def _is_allowed(pool: Pool, data_policy: DataPolicy) -> bool:
    if data_policy.residency and pool.region not in data_policy.residency:
        return False
    if data_policy.confidential_only and not pool.confidential:
        return False
    return data_policy.hosted_fallback or not pool.hosted


def decode_policy(raw: bytes) -> Policy:
    try:
        document = msgspec.json.decode(raw, type=PolicySnapshot)
    except msgspec.MsgspecError as error:
        raise BrokenSnapshotError(str(error)) from error
    if document.schema != policy.SCHEMA:
        raise BrokenSnapshotError(f"schema {document.schema}, this worker reads {policy.SCHEMA}")
    for key in document.keys.values():
        if key.tenant_id not in document.tenants:
            raise BrokenSnapshotError(f"key {key.id} belongs to no tenant of the snapshot")
    for limit in document.limits:
        if limit.tenant_id not in document.tenants:
            raise BrokenSnapshotError(f"limit {limit.id} belongs to no tenant of the snapshot")
    return Policy(document)


def decode_routing(raw: bytes) -> Routing:
    try:
        document = msgspec.json.decode(raw, type=RoutingSnapshot)
    except msgspec.MsgspecError as error:
        raise BrokenSnapshotError(str(error)) from error
    if document.schema not in routing.READS:
        reads = " and ".join(map(str, sorted(routing.READS)))
        raise BrokenSnapshotError(f"schema {document.schema}, this worker reads {reads}")
    for name, service in document.services.items():
        if name != service.name:
            raise BrokenSnapshotError(f"service {service.name!r} is filed under {name!r}")
        for pool in service.pools:
            _check_pool(pool)
        if service.canary is not None:
            _check_canary(name, service.canary)
        if service.waiting_room is not None:
            _check_room(name, service.waiting_room)
    return Routing(document)


def _check_canary(name: str, canary: Canary) -> None:
    both = sorted(set(canary.only_tenants) & set(canary.never_tenants))
    if both:
        raise BrokenSnapshotError(f"service {name!r}: tenant {both[0]} goes first and never")
    if not 0 <= canary.shadow_percent <= 100:
        raise BrokenSnapshotError(f"service {name!r}: a shadow of {canary.shadow_percent} %")


def _check_room(name: str, room: WaitingRoom) -> None:
    if room.most < 1 or room.wait_seconds <= 0 or room.start_seconds <= 0:
        raise BrokenSnapshotError(f"service {name!r}: a waiting room without places or time")


def _check_pool(pool: Pool) -> None:
    if pool.weight < 0 or pool.max_num_seqs < 1:
        raise BrokenSnapshotError(f"pool {pool.id}: weight or max_num_seqs is out of range")
    for endpoint in (*pool.endpoints, *pool.prefill):
        host, _, port = endpoint.address.rpartition(":")
        if not host or not port.isdigit():
            raise BrokenSnapshotError(f"pool {pool.id}: {endpoint.address!r} is not host:port")


def _bytes(value: bytes | str | None) -> bytes | None:
    """This client never decodes; its types allow that it might."""
    return value.encode() if isinstance(value, str) else value


class Snapshots:
    """The documents in force. `policy` and `routing` are None until the first ones came."""

    def __init__(self, redis_url: str, *, max_age: float) -> None:
        self.policy: Policy | None = None
        self.routing: Routing | None = None
        self.on_policy: Callable[[Policy], None] = lambda policy: None
        self.on_routing: Callable[[Routing], None] = lambda routing: None
        self.elsewhere: Callable[[int], Awaitable[bytes | None]] | None = None
        self.flags: set[str] = set()
        self._max_age = max_age
        self._heard_at = float("-inf")  # monotonic
        self._bell = asyncio.Event()
        self._seen: dict[str, bytes] = {}  # pointer -> version last looked at, broken ones too
        self._revoked: set[str] = set()
        self._redis = aioredis.Redis.from_url(
            redis_url, socket_timeout=5.0, socket_connect_timeout=2.0
        )
        # Listening blocks for as long as nothing happens, so it needs its own patience.
        self._ears = aioredis.Redis.from_url(redis_url, socket_connect_timeout=2.0)

    @property
    def age(self) -> float:
        """Seconds since the store last confirmed what is in force."""
        return time.monotonic() - self._heard_at

    @property
    def is_usable(self) -> bool:
        return self.policy is not None and self.routing is not None and self.age < self._max_age

    def current_flags(self) -> tuple[str, ...]:
        stale = {"degraded:policy"} if self.age > STALE_SECONDS else set()
        return tuple(sorted(self.flags | stale))

    async def follow(self) -> None:
        """Look at the pointers when the bell rings, and at the latest every two seconds."""
        while True:
            try:
                await self.refresh()
            except (RedisError, OSError) as error:
                log.warning("snapshot store does not answer: %r", error)
                while await self._took_from_elsewhere():
                    continue  # by asking for more it says what it applies
            try:
                await asyncio.wait_for(self._bell.wait(), POLL_SECONDS)
            except TimeoutError:
                continue
            finally:
                self._bell.clear()

    async def listen(self) -> None:
        """Turn messages into looks, and revocations into refusals at once."""
        while True:
            try:
                await self._listen_once()
            except (RedisError, OSError) as error:
                log.warning("snapshot channel broke: %s", error)
            await asyncio.sleep(1.0)

    async def _listen_once(self) -> None:
        channels = (keys.POLICY_CHANNEL, keys.ROUTING_CHANNEL, keys.REVOKED_CHANNEL)
        async with self._ears.pubsub() as pubsub:
            await pubsub.subscribe(*channels)
            self._bell.set()  # what was said before the subscription is found by looking
            async for message in pubsub.listen():
                if message["type"] != "message":
                    continue
                if message["channel"] == keys.REVOKED_CHANNEL.encode():
                    self._revoke(message["data"].decode())
                self._bell.set()

    def _revoke(self, digest: str) -> None:
        self._revoked.add(digest)
        if self.policy is not None:
            self.policy.revoked.add(digest)
            self.on_policy(self.policy)

    async def refresh(self) -> None:
        names = (keys.POLICY_CURRENT, keys.ROUTING_CURRENT)
        async with asyncio.timeout(ANSWER_SECONDS):
            found = await self._redis.mget(*names)
        pointers = [_bytes(value) for value in found]
        await self._take(keys.POLICY_CURRENT, pointers[0], keys.policy_doc, self._take_policy)
        await self._take(keys.ROUTING_CURRENT, pointers[1], keys.routing_doc, self._take_routing)
        if pointers[0] is not None and pointers[1] is not None:
            self._heard_at = time.monotonic()

    async def _take(
        self,
        pointer: str,
        version: bytes | None,
        name: Callable[[int], str],
        take: Callable[[bytes], None],
    ) -> None:
        if version is None or self._seen.get(pointer) == version:
            return
        raw = _bytes(await self._redis.get(name(int(version))))
        if raw is None:
            return  # the pointer moved again, or the store lost the document: keep what we have
        flag = "broken:" + pointer.split(":")[1]
        self._seen[pointer] = version
        try:
            take(raw)
        except BrokenSnapshotError as error:
            self.flags.add(flag)
            log.error("snapshot %s %s refused: %s", pointer, version.decode(), error)
        else:
            self.flags.discard(flag)
            log.info("snapshot %s is now %s", pointer, version.decode())

    async def _took_from_elsewhere(self) -> bool:
        """Without the store, routing may still come: weights must reach every gateway."""
        if self.elsewhere is None:
            return False
        raw = await self.elsewhere(self.routing.document.version if self.routing else 0)
        if raw is None:
            return False
        try:
            self._take_routing(raw)
        except BrokenSnapshotError as error:
            self.flags.add("broken:routing")
            log.error("routing from the console refused: %s", error)
            return False
        assert self.routing is not None
        log.info("routing is now %d, from the console", self.routing.document.version)
        return True

    def _take_policy(self, raw: bytes) -> None:
        taken = decode_policy(raw)
        # A revoked key that the new snapshot still holds stays revoked: the message was newer.
        self._revoked &= taken.document.keys.keys()
        taken.revoked = set(self._revoked)
        self.policy = taken
        self.on_policy(taken)

    def _take_routing(self, raw: bytes) -> None:
        self.routing = decode_routing(raw)
        self.on_routing(self.routing)

    async def close(self) -> None:
        await self._redis.aclose()
        await self._ears.aclose()
