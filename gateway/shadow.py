"""Copies of requests for a release that no client meets yet: its answers are compared and dropped.

A copy leaves when its original has a seat, and its times count from the original's start, so the
two answers are measured alike. It takes no seat, no quota and nobody's budget, and what it used
is reported apart from usage. There are few at a time: where one is too many, none is made.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace

import uuid_utils

from gateway.attempts import AttemptError
from gateway.client import NOBODY
from gateway.contract.outcomes import Outcome, Reason
from gateway.contract.routing import Endpoint, Pool, Service
from gateway.counters import Counters
from gateway.errors import Refusal
from gateway.exchange import Exchange
from gateway.metering import Meter
from gateway.normalise import Asked
from gateway.pools import Pools, Seat, Wish, both
from gateway.proxy import Proxy
from gateway.settings import Settings
from gateway.snapshots import Snapshots
from gateway.sticky import place, takes_part

MAX_BYTES = 16 * 1024 * 1024  # of bodies that are kept for copies only


@dataclass(eq=False)
class Shadows:
    settings: Settings
    snapshots: Snapshots
    pools: Pools
    proxy: Proxy
    meter: Meter
    counters: Counters
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _bytes: int = 0
    _in_flight: Counter[str] = field(default_factory=Counter)  # by address

    def mirror(self, exchange: Exchange, asked: Asked, wish: Wish) -> None:
        """Send a copy in the background where the newest snapshot asks for one of this request."""
        found = self._wanted(exchange, wish)
        if found is None:
            return
        service, pool = found
        if not self._has_room(asked, pool):
            self.counters.copied("held_back")
            return
        copy = _copy_of(exchange, asked, service)
        self._bytes += asked.body_bytes
        task = asyncio.create_task(self._run(copy, asked, replace(wish, service=service), pool))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _wanted(self, exchange: Exchange, wish: Wish) -> tuple[Service, Pool] | None:
        """Only who takes part, by the hash that will choose them later; only pools that may see
        the tenant's data.
        """
        routing = self.snapshots.routing
        service = routing.document.services.get(wish.service.name) if routing else None
        canary = service.canary if service else None
        if not routing or not service or not canary or not canary.shadow_percent:
            return None
        # What belongs to no conversation is chosen one by one.
        who = wish if wish.conversation else replace(wish, conversation=exchange.id.encode())
        if not takes_part(canary, who) or place(canary, who) >= canary.shadow_percent / 100:
            return None
        for pool in routing.candidates(service, wish.data_policy, wish.adapter):
            if pool.release_id == canary.release_id and pool.endpoints:
                return service, pool
        return None

    def _has_room(self, asked: Asked, pool: Pool) -> bool:
        most = min(self.settings.max_copies, self.pools.limit(pool))
        fits = self._bytes + asked.body_bytes <= MAX_BYTES
        return len(self._tasks) < most and fits and not self.meter.is_full

    async def _run(self, copy: Exchange, asked: Asked, wish: Wish, pool: Pool) -> None:
        try:
            await self._ask(copy, asked, wish, pool)
        except AttemptError as error:
            copy.end(error.refusal.outcome, error.refusal.reason, error.refusal.status)
        except Refusal as refusal:
            copy.end(refusal.outcome, refusal.reason, refusal.status)
        except asyncio.CancelledError:
            copy.guess_usage()
            copy.end(Outcome.CANCELLED, Reason.CLIENT_LEFT, 499)
            raise
        finally:
            self._bytes -= asked.body_bytes
            self.meter.finish_copy(copy, asyncio.get_running_loop().time())
            self.counters.copied(copy.outcome or Outcome.FAILED)

    async def _ask(self, copy: Exchange, asked: Asked, wish: Wish, pool: Pool) -> None:
        """As often as a client's request is tried: a pod that goes is no fault of its release."""
        first = self._least_loaded(pool.endpoints)
        try:
            await self._attempt(copy, asked, wish, pool, first)
        except AttemptError as error:
            others = [e for e in pool.endpoints if e.address != first.address]
            if not others and not error.is_stale:
                raise
        else:
            return
        await self._attempt(copy, asked, wish, pool, self._least_loaded(others or [first]))

    async def _attempt(
        self, copy: Exchange, asked: Asked, wish: Wish, pool: Pool, endpoint: Endpoint
    ) -> None:
        prefill = self._least_loaded(pool.prefill) if pool.prefill else None
        kind, name = wish.traffic_class, wish.service.name
        seat = Seat(pool, endpoint, wish.seats, kind, name, prefill)
        copy.seated(seat, asyncio.get_running_loop().time())
        busy = [one.address for one in both(endpoint, prefill)]
        self._in_flight.update(busy)
        try:
            await self.proxy.attempt(copy, NOBODY, asked, wish.service, seat)
        finally:
            self._in_flight.subtract(busy)
            self._in_flight += Counter()  # forgets addresses with none

    def _least_loaded(self, endpoints: tuple[Endpoint, ...] | list[Endpoint]) -> Endpoint:
        return min(endpoints, key=lambda e: self._in_flight[e.address])

    async def stop(self) -> None:
        """Drop what runs: nobody waits for it."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _copy_of(exchange: Exchange, asked: Asked, service: Service) -> Exchange:
    """The same request under an id of its own, with nothing reserved for it."""
    return Exchange(
        id=str(uuid_utils.uuid7()),
        context=exchange.context,
        traffic_class=exchange.traffic_class,
        started_us=exchange.started_us,
        started=exchange.started,
        routing_version=exchange.routing_version,
        model=exchange.model,
        adapter=exchange.adapter,
        service=service,
        asked=asked,
        estimate=exchange.estimate,
        reserved_at=exchange.reserved_at,
    )
