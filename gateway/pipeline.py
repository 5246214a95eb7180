"""One request from its credential to its usage event.

1. Bind the tenant from the credential.            rejected: auth
2. Guard the worker, read the body.                shed: gateway full; rejected: too large
3. Normalise; find the service and its pools.      rejected: invalid, unknown model, policy
4. Estimate and reserve all limits in one step.    rejected: rpm, tpm, concurrency, budget
5. Note the intent in the spool.                   shed: metering
6. Wait until a service that sleeps has woken.     shed: room full; timed out: waking
   Take a seat in a pool, or wait for one.         shed: pool full; timed out
   During a shadow step a copy leaves now.
7. Proxy; before the first byte reroute once, then let
   another placement or a fallback stand in.       failed, timed out, cancelled
8. Report and settle, exactly once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import uuid_utils

from gateway import errors, normalise
from gateway.attempts import AttemptError
from gateway.auth import TenantContext, Unusable, asked_class, authenticate, require_scope
from gateway.client import Client, ClientLeftError, Room
from gateway.contract.outcomes import Outcome, Reason
from gateway.contract.routing import Service
from gateway.counters import Counters
from gateway.errors import Refusal
from gateway.estimate import Estimator
from gateway.exchange import Exchange
from gateway.limits.limiter import Limiter, Need, cost_micros, holds_for
from gateway.metering import Meter
from gateway.normalise import Asked, retarget
from gateway.placements import choose, permitted, refuse_outside, refuse_policy
from gateway.pools import Pools, Seat, Wish
from gateway.proxy import Proxy
from gateway.running import Running
from gateway.settings import Settings
from gateway.shadow import Shadows
from gateway.snapshots import Routing, Snapshots
from gateway.spool import SpoolError
from gateway.sticky import conversation
from gateway.waiting import WaitingRooms

log = logging.getLogger("gateway.pipeline")

OUTPUT_WORK = 3.0  # an output token keeps an engine this much longer than a prompt token
RETRIES_SAVED = 10.0
RETRY_SHARE = 0.1


@dataclass
class Pipeline:
    settings: Settings
    snapshots: Snapshots
    limiter: Limiter
    pools: Pools
    rooms: WaitingRooms
    estimator: Estimator
    meter: Meter
    proxy: Proxy
    shadows: Shadows
    counters: Counters
    running: Running
    _retries: dict[str, float] = field(default_factory=dict)

    def authenticate(self, headers: dict[bytes, bytes]) -> tuple[TenantContext, Routing]:
        policy, routing = self.snapshots.policy, self.snapshots.routing
        if policy is None or routing is None or not self.snapshots.is_usable:
            message = "The gateway has no valid policy at the moment."
            raise errors.shed(message, Reason.NOT_READY)
        return authenticate(headers, policy, time.time()), routing

    async def serve(self, path: str, headers: dict[bytes, bytes], client: Client) -> None:
        """Answer one inference request."""
        request_id = str(uuid_utils.uuid7())
        try:
            context, routing = self.authenticate(headers)
        except Unusable as known:
            exchange = Exchange.begin(request_id, known.context, 0)
            await self._report_refusal(exchange, client, known.refusal)
            return
        except Refusal as refusal:
            self.counters.ended(refusal.outcome, refusal.reason)
            await client.refuse(refusal, request_id)
            return
        exchange = Exchange.begin(request_id, context, routing.document.version)
        exchange.reporter = self._report
        try:
            with self.running.hold(exchange):
                await self._guarded(exchange, client, path, headers, routing)
        finally:
            client.unwatch()
            self._report(exchange)

    def _report(self, exchange: Exchange) -> None:
        self.meter.finish(exchange, asyncio.get_running_loop().time())

    async def _report_refusal(self, exchange: Exchange, client: Client, refusal: Refusal) -> None:
        # Once a stream has begun, its status was 200 whatever follows.
        status = 200 if client.is_started else refusal.status
        exchange.end(refusal.outcome, refusal.reason, status)
        self._report(exchange)
        await client.refuse(refusal, exchange.id)

    async def _guarded(
        self,
        exchange: Exchange,
        client: Client,
        path: str,
        headers: dict[bytes, bytes],
        routing: Routing,
    ) -> None:
        """Run the steps; whatever ends them becomes the one outcome."""
        try:
            await self._admit_and_send(exchange, client, path, headers, routing)
        except Refusal as refusal:
            await self._report_refusal(exchange, client, refusal)
        except ClientLeftError:
            exchange.end(Outcome.CANCELLED, Reason.CLIENT_LEFT, 499)
        except asyncio.CancelledError:
            if not client.has_left and exchange.recalled is None:
                raise
            exchange.guess_usage()
            if exchange.recalled is not None:
                await self._report_refusal(exchange, client, exchange.recalled)
            exchange.end(Outcome.CANCELLED, Reason.CLIENT_LEFT, 499)
        except Exception:  # noqa: BLE001 - a bug: the client still gets an error of this door's form
            log.exception("request %s failed", exchange.id)
            await self._report_refusal(exchange, client, errors.internal())

    async def _admit_and_send(
        self,
        exchange: Exchange,
        client: Client,
        path: str,
        headers: dict[bytes, bytes],
        routing: Routing,
    ) -> None:
        require_scope(exchange.context, "inference")
        exchange.traffic_class = asked_class(exchange.context, headers)
        counters, settings, tenant_id = self.counters, self.settings, exchange.tenant_id
        counters.in_flight.take(tenant_id, 1, settings.max_in_flight)
        room = Room(counters.in_flight_bytes, settings.max_in_flight_bytes, tenant_id)
        try:
            raw = await client.read_body(settings.max_body_bytes, headers, room)
            client.watch()
            asked, service = self._understand(exchange, path, raw, routing)
            await self._reserve(exchange, asked, service)
            await self._send(exchange, client, asked, service)
        finally:
            room.give_back()
            counters.in_flight.give_back(tenant_id, 1)

    def _understand(
        self, exchange: Exchange, path: str, raw: bytes, routing: Routing
    ) -> tuple[Asked, Service]:
        body, exchange.model = normalise.read_model(raw)
        found = routing.find(exchange.model)
        if found is None or not exchange.context.may_use(exchange.model):
            raise errors.unknown_model(exchange.model)
        service, exchange.adapter = found
        exchange.service = service
        hosts = routing.media_hosts(service)
        asked = normalise.normalise(path, body, len(raw), service, exchange.adapter, hosts)
        exchange.asked = asked
        exchange.modifiers += asked.modifiers
        data_policy = exchange.context.tenant.data_policy
        if refusal := refuse_policy(routing, service, data_policy, exchange.adapter):
            raise refusal
        return asked, service

    async def _reserve(self, exchange: Exchange, asked: Asked, service: Service) -> None:
        context = exchange.context
        estimate = self.estimator.estimate(asked, context.tenant.id, service.max_model_len)
        exchange.estimate = estimate
        # An adapter has a price and quotas of its own, as it has a grant of its own.
        exchange.price = context.policy.document.prices.get(exchange.model)
        exchange.limits = context.policy.limits(
            context.tenant.id, context.key.application_id, exchange.model
        )
        need = Need(
            tokens=estimate.tokens,
            micros=cost_micros(
                exchange.price,
                prompt=estimate.prompt,
                cached=0,
                completion=estimate.output_bound,
            ),
            input_tokens=estimate.prompt,
            output_tokens=estimate.output_bound,
        )
        intent = self.meter.intent(exchange)
        exchange.reservation = await self.limiter.reserve(
            exchange.id, context.tenant.id, holds_for(exchange.limits, need), intent
        )
        exchange.reserved_at = asyncio.get_running_loop().time()
        if exchange.reservation is not None and exchange.reservation.is_emergency:
            exchange.modifiers.append("degraded:quota")
        try:
            self.meter.admit(exchange, intent)
        except SpoolError:
            message = "Usage cannot be recorded at the moment."
            raise errors.shed(message, Reason.METERING, 5000) from None

    async def _send(
        self, exchange: Exchange, client: Client, asked: Asked, service: Service
    ) -> None:
        """Ask the placement that comes first; where nothing of it answers, who stands in for it."""
        wish = self._wish(exchange, asked, service)
        placements = self._placements(exchange, asked, wish)
        first = service
        if service.placements:
            now = asyncio.get_running_loop().time()
            first = choose(self.pools, placements, wish, now)
        if first is not service:
            exchange.place(placements[0], first)
            asked, wish = retarget(asked, first), self._wish(exchange, asked, first)
        saved = self._retries.get(first.name, RETRIES_SAVED)
        self._retries[first.name] = min(RETRIES_SAVED, saved + RETRY_SHARE)
        try:
            await self._ask(exchange, client, asked, wish)
        except AttemptError as error:
            others = [("placement", s) for s in placements if s is not first]
            others += [("fallback", s) for s in self._fallbacks(exchange, asked, service)]
            if await self._stand_in(exchange, client, asked, wish, others):
                return
            raise self._refused(wish, service, error.refusal) from error

    def _refused(self, wish: Wish, service: Service, refusal: Refusal) -> Refusal:
        routing = self.snapshots.routing
        if routing is None:
            return refusal
        return refuse_outside(routing, service, wish.data_policy, refusal, wish.adapter)

    def _wish(self, exchange: Exchange, asked: Asked, service: Service) -> Wish:
        estimate = exchange.estimate
        return Wish(
            service=service,
            data_policy=exchange.context.tenant.data_policy,
            tenant_id=exchange.tenant_id,
            traffic_class=exchange.traffic_class,
            seats=asked.choices,
            work=estimate.prompt + OUTPUT_WORK * estimate.output if estimate else 0.0,
            application_id=exchange.context.key.application_id,
            conversation=conversation(asked) if service.canary else b"",
            adapter=exchange.adapter,
        )

    def _placements(self, exchange: Exchange, asked: Asked, wish: Wish) -> list[Service]:
        """Of the newest snapshot, within the data policy and long enough, the preferred first."""
        routing = self.snapshots.routing
        if routing is None or not wish.service.placements:
            return [wish.service]
        found = permitted(
            routing, wish.service, wish.data_policy, self.settings.region, wish.adapter
        )
        return [s for s in found if self._is_long_enough(exchange, asked, s)] or [wish.service]

    async def _ask(self, exchange: Exchange, client: Client, asked: Asked, wish: Wish) -> None:
        """Two attempts at one service, and one more where the second could not even be sent.

        Never more than two at one endpoint.
        """
        try:
            await self._awake(exchange, wish)
            seat = await self._first_seat(wish)
        except Refusal as refusal:
            raise AttemptError(refusal) from refusal
        self.shadows.mirror(exchange, asked, wish)
        failed: list[str] = []
        while True:
            try:
                return await self._attempt(exchange, client, asked, wish, seat)
            except AttemptError as error:
                if len(failed) == 2 or (failed and not error.is_unreachable):
                    raise
                failed.append((error.at or seat.endpoint).address)
                seat = self._other_seat(exchange, wish, seat, error, failed)

    async def _awake(self, exchange: Exchange, wish: Wish) -> None:
        """Wait where the service sleeps; time in which nobody could have answered."""
        if self.pools.room_of(wish.service.name, wish.data_policy, wish.adapter) is None:
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            await self.rooms.wait(wish)
        finally:
            exchange.waking = loop.time() - began

    async def _stand_in(
        self,
        exchange: Exchange,
        client: Client,
        asked: Asked,
        wish: Wish,
        others: Sequence[tuple[str, Service]],
    ) -> bool:
        """Let the first of the others with a free seat answer. False: none did."""
        now = asyncio.get_running_loop().time()
        for kind, service in others:
            there = replace(wish, service=service)
            seat = None if self.pools.must_wait(there) else self.pools.take(there, now)
            if seat is None:
                continue
            exchange.fall_back(wish.service, service, kind)
            try:
                await self._attempt(exchange, client, retarget(asked, service), there, seat)
            except AttemptError:
                return False
            return True
        return False

    def _fallbacks(self, exchange: Exchange, asked: Asked, service: Service) -> list[Service]:
        """Services of the newest snapshot that the tenant may use and that can give as much.

        None stands in for an adapter: its answers are what it was trained for.
        """
        routing = self.snapshots.routing
        known = routing.document.services if routing and not asked.is_adapter else {}
        return [
            known[name]
            for name in service.fallbacks
            if name in known
            and exchange.context.may_use(name)
            and self._is_long_enough(exchange, asked, known[name])
        ]

    def _is_long_enough(self, exchange: Exchange, asked: Asked, service: Service) -> bool:
        prompt = exchange.estimate.prompt if exchange.estimate else 0
        return prompt + asked.max_tokens <= service.max_model_len

    async def _first_seat(self, wish: Wish) -> Seat:
        now = asyncio.get_running_loop().time()
        if not self.pools.must_wait(wish):
            seat = self.pools.take(wish, now)
            if seat is not None:
                return seat
        return await self.pools.wait(wish, now)

    async def _attempt(
        self, exchange: Exchange, client: Client, asked: Asked, wish: Wish, seat: Seat
    ) -> None:
        loop = asyncio.get_running_loop()
        exchange.seated(seat, loop.time())
        try:
            await self.proxy.attempt(exchange, client, asked, wish.service, seat)
            self.pools.answered(seat)
        except AttemptError as error:
            self.pools.correct(wish, 0.0, loop.time())  # nothing was computed
            if error.is_unreachable:
                self.pools.failed(seat, loop.time(), error.at)
            raise
        finally:
            self._return_seat(exchange, wish, seat, loop.time())

    def _return_seat(self, exchange: Exchange, wish: Wish, seat: Seat, now: float) -> None:
        observed = exchange.observed
        if observed.prompt:
            work = observed.prompt - observed.cached + OUTPUT_WORK * observed.completion
            self.pools.correct(wish, work, now)
        self.pools.give_back(seat)

    def _other_seat(
        self,
        exchange: Exchange,
        wish: Wish,
        seat: Seat,
        error: AttemptError,
        failed: Sequence[str],
    ) -> Seat:
        """Find another endpoint for a reroute, or raise what ended the attempt."""
        saved = self._retries.get(wish.service.name, RETRIES_SAVED)
        now = asyncio.get_running_loop().time()
        other, at = None, error.at or seat.endpoint
        if saved >= 1.0:
            other = self.pools.take(wish, now, without=frozenset(failed))
        if other is None and error.is_stale and failed.count(at.address) < 2:
            other = self.pools.take(wish, now)
            if other is not None:
                return other  # the same engine over a fresh connection: nothing was rerouted
        if other is None:
            raise error
        self._retries[wish.service.name] = saved - 1.0
        exchange.rerouted_from = at.pod or seat.pool.id
        return other
