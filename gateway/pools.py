"""Where a request goes: a pool by release weight, in it the endpoint with least in flight.

The gateway trusts its own count of what is in flight. A seat is held from dispatch to the end of
the answer; when none is free the request waits in the bounded line of its service.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from gateway import errors
from gateway.contract.outcomes import Reason, TrafficClass
from gateway.contract.policy import DataPolicy
from gateway.contract.routing import Endpoint, Objective, Pool, Service, WaitingRoom
from gateway.contract.usage import PoolReport
from gateway.fairness import CEILING, ORDER, Line, Waiter
from gateway.snapshots import Routing
from gateway.sticky import turns

BUFFER = 1.1  # of max_num_seqs: a full engine needs a little waiting work
BATCH_FLOOR = 0.05
REST_SECONDS = (1.0, 10.0)  # first and longest rest of an endpoint that could not be reached
NO_ENDPOINT_SECONDS = 2.0
DEFAULT_OBJECTIVE = Objective(ttft_ms=5_000, itl_ms=200, queue_ms=10_000)


@dataclass(eq=False)
class EndpointState:
    in_flight: int = 0
    failures: int = 0
    rests_until: float = 0.0
    last_used: int = 0  # number of the dispatch; equals take turns


@dataclass(eq=False)
class PoolState:
    """What this worker knows of one pool; outlives the snapshots that describe it."""

    in_flight: int = 0
    batch_in_flight: int = 0
    current: float = 0.0  # of the smooth weighted choice
    endpoints: dict[str, EndpointState] = field(default_factory=dict)

    def endpoint(self, address: str) -> EndpointState:
        found = self.endpoints.get(address)
        if found is None:
            found = self.endpoints[address] = EndpointState()
        return found

    def forget(self, known: set[str]) -> None:
        """Drop what is idle and gone, or pods that come and go would fill the memory."""
        for address, state in list(self.endpoints.items()):
            if address not in known and not state.in_flight:
                del self.endpoints[address]


@dataclass(frozen=True, slots=True, eq=False)
class Seat:
    """The right to have `seats` sequences in an endpoint. Give it back exactly once."""

    pool: Pool
    endpoint: Endpoint
    seats: int
    traffic_class: TrafficClass
    service: str
    prefill: Endpoint | None = None  # reads the prompt; None: the endpoint does it itself


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request wants from a pool. `work`: tokens, the measure of fairness."""

    service: Service
    data_policy: DataPolicy
    tenant_id: int
    traffic_class: TrafficClass
    seats: int
    work: float
    application_id: int = 0
    conversation: bytes = b""  # empty: none that one could know again
    adapter: str = ""  # only pools that have it answer; empty: the service's own model

    @property
    def model(self) -> str:
        """As the client calls it."""
        return self.adapter or self.service.name


class Pools:
    def __init__(self, *, workers: int) -> None:
        self._workers = max(1, workers)
        self._states: dict[str, PoolState] = {}
        self._lines: dict[str, Line] = {}
        self._routing: Routing | None = None
        self._services: dict[str, Service] = {}
        self._dispatched = 0

    def update(self, routing: Routing) -> None:
        """Take a new snapshot: waiting requests see its pools, counts in flight stay."""
        self._routing = routing
        self._services = routing.document.services
        pools = {pool.id: pool for service in self._services.values() for pool in service.pools}
        for name in [name for name, state in self._states.items() if not state.in_flight]:
            if name not in pools:
                del self._states[name]
        for name, pool in pools.items():
            if name in self._states:
                known = {endpoint.address for endpoint in (*pool.endpoints, *pool.prefill)}
                self._states[name].forget(known)
        for name, line in self._lines.items():
            if name in self._services:
                line.bound = self._services[name].max_queue
            self._pump(name)

    def limit(self, pool: Pool) -> int:
        """Sequences that this worker may have in a pool."""
        total = len(pool.endpoints) * pool.max_num_seqs * BUFFER / self._workers
        return max(1, int(total)) if pool.endpoints else 0

    def take(
        self,
        wish: Wish,
        now: float,
        *,
        without: frozenset[str] = frozenset(),
    ) -> Seat | None:
        """Take a seat if there is one. `without`: addresses that already failed this request."""
        groups = turns(wish.service.canary, wish, self._candidates(wish), without)
        # A pool whose endpoints are all gone waits behind every other, whatever its weight.
        for awake in (True, False):
            for pools in groups:
                chosen = [pool for pool in pools if self._awake(pool, now) is awake]
                seat = self._take_one_of(chosen, wish, now, without)
                if seat is not None:
                    return seat
        return None

    def _take_one_of(
        self, pools: Sequence[Pool], wish: Wish, now: float, without: frozenset[str]
    ) -> Seat | None:
        open_pools = [
            pool
            for pool in pools
            if pool.weight > 0 and self._has_room(pool, wish.traffic_class, wish.seats)
        ]
        while open_pools:
            pool = self._weighted(open_pools)
            endpoint = self._least_loaded(pool, pool.endpoints, now, without)
            prefill = self._least_loaded(pool, pool.prefill, now, without)
            if endpoint is not None and (prefill is not None or not pool.prefill):
                return self._sit(wish, pool, endpoint, prefill, now)
            open_pools.remove(pool)
        return None

    async def wait(self, wish: Wish, now: float) -> Seat:
        """Wait for a seat in the bounded line of the service, at most as its objective allows."""
        line = self._line(wish.service)
        if not line.has_room(wish.tenant_id, wish.traffic_class):
            message = f"{line.size} requests already wait for {wish.model!r}."
            raise errors.shed(message, Reason.POOL_FULL)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[object] = loop.create_future()
        waiter = Waiter(
            wish.tenant_id,
            wish.traffic_class,
            wish.seats,
            wish.work,
            wish.data_policy,
            future,
            wish.application_id,
            wish.conversation,
            wish.adapter,
        )
        line.add(waiter, now)
        self._pump(wish.service.name)
        seconds = self._patience(wish)
        try:
            # Not wait_for: it would drop a seat that arrives together with the deadline.
            await asyncio.wait({future}, timeout=seconds)
        except asyncio.CancelledError:
            if future.done():
                self.give_back(cast(Seat, future.result()))
            raise
        finally:
            line.remove(waiter)
        if future.done():
            return cast(Seat, future.result())
        raise self._too_late(wish, seconds)

    def must_wait(self, wish: Wish) -> bool:
        """Whether others came first; a newcomer does not overtake its own class."""
        return self._line(wish.service).is_ahead(wish.traffic_class)

    def room_of(self, name: str, data_policy: DataPolicy, adapter: str = "") -> WaitingRoom | None:
        """Where to wait first. None: the service is awake, or an engine may be asked already."""
        service = self._services.get(name)
        if service is None or service.waiting_room is None or self._routing is None:
            return None
        pools = self._routing.candidates(service, data_policy, adapter)
        return None if any(map(_answers, pools)) else service.waiting_room

    def give_back(self, seat: Seat) -> None:
        state = self._states[seat.pool.id]
        state.in_flight -= seat.seats
        if seat.traffic_class is TrafficClass.BATCH:
            state.batch_in_flight -= seat.seats
        for endpoint in both(seat.endpoint, seat.prefill):
            state.endpoint(endpoint.address).in_flight -= seat.seats
        self._pump(seat.service)

    def correct(self, wish: Wish, work: float, now: float) -> None:
        """Charge the tenant what the request really was, instead of what was estimated."""
        self._line(wish.service).charge(wish.tenant_id, work - wish.work, now)

    def failed(self, seat: Seat, now: float, at: Endpoint | None = None) -> None:
        """Let an endpoint that could not be reached rest, longer each time."""
        state = self._states[seat.pool.id].endpoint((at or seat.endpoint).address)
        first, longest = REST_SECONDS
        state.rests_until = now + min(longest, first * 2**state.failures)
        state.failures = min(state.failures + 1, 8)

    def answered(self, seat: Seat) -> None:
        for endpoint in both(seat.endpoint, seat.prefill):
            self._states[seat.pool.id].endpoint(endpoint.address).failures = 0

    def report(self) -> dict[str, PoolReport]:
        queued = {name: line.size for name, line in self._lines.items()}
        reports = {}
        for name, service in self._services.items():
            for pool in service.pools:
                state = self._states.get(pool.id)
                reports[pool.id] = PoolReport(
                    in_flight=state.in_flight if state else 0,
                    queued=queued.get(name, 0),
                    limit=self.limit(pool),
                )
        return reports

    def _candidates(self, wish: Wish) -> tuple[Pool, ...]:
        """Pools of the current snapshot: one who waits must see a release that came meanwhile."""
        service = self._services.get(wish.service.name)
        if service is None or self._routing is None:
            return ()
        return self._routing.candidates(service, wish.data_policy, wish.adapter)

    def _line(self, service: Service) -> Line:
        line = self._lines.get(service.name)
        if line is None:
            line = self._lines[service.name] = Line(bound=service.max_queue)
        return line

    def _state(self, pool: Pool) -> PoolState:
        state = self._states.get(pool.id)
        if state is None:
            state = self._states[pool.id] = PoolState()
        return state

    def _has_room(self, pool: Pool, traffic_class: TrafficClass, seats: int) -> bool:
        limit = self.limit(pool)
        state = self._state(pool)
        ceiling = math.ceil(limit * CEILING[traffic_class])
        # A request for more outputs than the pool has seats still goes when the pool is empty.
        return limit > 0 and (state.in_flight + seats <= ceiling or state.in_flight == 0)

    def _weighted(self, pools: Sequence[Pool]) -> Pool:
        """Smooth weighted choice: each gains its weight, the highest pays the sum."""
        if len(pools) == 1:
            return pools[0]
        total = 0
        best, best_state = pools[0], self._state(pools[0])
        for pool in pools:
            state = self._state(pool)
            state.current += pool.weight
            total += pool.weight
            if state.current > best_state.current:
                best, best_state = pool, state
        best_state.current -= total
        return best

    def _least_loaded(
        self, pool: Pool, endpoints: Sequence[Endpoint], now: float, without: frozenset[str]
    ) -> Endpoint | None:
        """The idlest endpoint; one that rests only when all others rest or failed too."""
        state = self._state(pool)
        best, best_rank = None, (True, 0, 0)
        for endpoint in endpoints:
            if endpoint.address in without:
                continue
            one = state.endpoint(endpoint.address)
            rank = (one.rests_until > now, one.in_flight, one.last_used)
            if best is None or rank < best_rank:
                best, best_rank = endpoint, rank
        return best

    def _sit(
        self, wish: Wish, pool: Pool, endpoint: Endpoint, prefill: Endpoint | None, now: float
    ) -> Seat:
        state = self._state(pool)
        state.in_flight += wish.seats
        if wish.traffic_class is TrafficClass.BATCH:
            state.batch_in_flight += wish.seats
        self._dispatched += 1
        for used in both(endpoint, prefill):
            one = state.endpoint(used.address)
            one.in_flight += wish.seats
            one.last_used = self._dispatched
        self._line(wish.service).charge(wish.tenant_id, wish.work, now)
        return Seat(pool, endpoint, wish.seats, wish.traffic_class, wish.service.name, prefill)

    def _pump(self, name: str) -> None:
        """Seat those who wait, as long as somebody fits."""
        line = self._lines.get(name)
        service = self._services.get(name)
        if line is None or service is None:
            return
        now = asyncio.get_running_loop().time()
        while line.size and self._seat_one(line, service, now):
            pass

    def _seat_one(self, line: Line, service: Service, now: float) -> bool:
        for traffic_class in self._order(line, service):
            for waiter in line.heads(traffic_class, now):
                wish = Wish(
                    service,
                    waiter.data_policy,
                    waiter.tenant_id,
                    traffic_class,
                    waiter.seats,
                    waiter.work,
                    waiter.application_id,
                    waiter.conversation,
                    waiter.adapter,
                )
                seat = self.take(wish, now)
                if seat is not None:
                    line.remove(waiter)
                    waiter.future.set_result(seat)
                    return True
        return False

    def _order(self, line: Line, service: Service) -> tuple[TrafficClass, ...]:
        """Highest class first, but batch never starves below its floor."""
        if line.waiting(TrafficClass.BATCH):
            limit = sum(self.limit(pool) for pool in service.pools)
            batch = sum(self._state(pool).batch_in_flight for pool in service.pools)
            if batch < max(1, int(limit * BATCH_FLOOR)):
                return (TrafficClass.BATCH, *ORDER)
        return ORDER

    def _patience(self, wish: Wish) -> float:
        objective = wish.service.objectives.get(wish.traffic_class, DEFAULT_OBJECTIVE)
        seconds = objective.queue_ms / 1000
        return seconds if self.has_endpoint(wish) else min(seconds, NO_ENDPOINT_SECONDS)

    def has_endpoint(self, wish: Wish) -> bool:
        return any(map(_answers, self._candidates(wish)))

    def is_ready(self, wish: Wish, now: float) -> bool:
        """Whether a seat is free at once, in an endpoint that can be reached."""
        return not self.must_wait(wish) and any(
            self._has_room(pool, wish.traffic_class, wish.seats) and self._awake(pool, now)
            for pool in self._candidates(wish)
            if pool.weight > 0
        )

    def _awake(self, pool: Pool, now: float) -> bool:
        state = self._state(pool)
        return any(state.endpoint(e.address).rests_until <= now for e in pool.endpoints)

    def _too_late(self, wish: Wish, seconds: float) -> errors.Refusal:
        if self.has_endpoint(wish):
            return errors.queue_timeout(int(seconds * 1000))
        message = f"No engine answers for {wish.model!r} at the moment."
        return errors.shed(message, Reason.NO_ENDPOINT)


def _answers(pool: Pool) -> bool:
    return pool.weight > 0 and bool(pool.endpoints)


def both(endpoint: Endpoint, prefill: Endpoint | None) -> tuple[Endpoint, ...]:
    """Those that a seat keeps busy; prefill to the end as well, so that its turns stay even."""
    return (endpoint,) if prefill is None else (endpoint, prefill)
