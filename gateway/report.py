"""What a worker says about itself, and the beats that keep its holds alive."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import redis.asyncio as aioredis
from redis.exceptions import RedisError

from gateway.contract import keys
from gateway.contract.usage import UsageEvent, WorkerReport
from gateway.exchange import Exchange
from gateway.limits.limiter import Checkpoint, Limiter, cost_micros
from gateway.limits.wire import ReplyError, UnavailableError
from gateway.metering import Meter
from gateway.snapshots import Snapshots
from gateway.spool import Lost

if TYPE_CHECKING:
    from gateway.worker import Worker

log = logging.getLogger("gateway.report")

BEAT_SECONDS = 10.0
REPORT_SECONDS = 2.0
REAP_SECONDS = 15.0
AT_ONCE = 200
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Heartbeat:
    """Renews what runs, settles what nobody renews."""

    def __init__(self, meter: Meter, limiter: Limiter, snapshots: Snapshots) -> None:
        self._meter, self._limiter, self._snapshots = meter, limiter, snapshots

    async def run(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            await self.beat()

    async def beat(self) -> None:
        """Write checkpoints of all that run, to the spool and into their leases."""
        for exchange in list(self._meter.live.values()):
            checkpoint = self._meter.checkpoint(exchange)
            await self._renew(exchange, checkpoint)

    async def _renew(self, exchange: Exchange, checkpoint: Checkpoint) -> None:
        reservation = exchange.reservation
        if reservation is None or reservation.is_emergency or reservation.is_settled:
            return
        try:
            await self._limiter.renew(reservation, checkpoint)
        except (UnavailableError, ReplyError) as error:
            log.warning("a lease was not renewed: %s", error)

    async def reap(self) -> None:
        """Settle and report, for workers that are gone for good, what they held."""
        while True:
            await asyncio.sleep(REAP_SECONDS * random.uniform(0.8, 1.2))
            policy = self._snapshots.policy
            tenants = {limit.tenant_id for limit in policy.document.limits} if policy else set()
            for tenant_id in tenants:
                await self._reap_tenant(tenant_id)

    async def _reap_tenant(self, tenant_id: int) -> None:
        try:
            found = await self._limiter.reap(tenant_id)
        except (UnavailableError, ReplyError) as error:
            log.warning("leases cannot be reaped: %s", error)
            return
        for record, checkpoint in found:
            raw = msgspec.json.encode(checkpoint) if checkpoint else None
            self._meter.report_lost(Lost(record, raw))

    async def settle_again(self, events: list[UsageEvent]) -> None:
        """Settle what an earlier life of this worker may have left open."""
        for start in range(0, len(events), AT_ONCE):
            await asyncio.gather(*map(self._settle_again, events[start : start + AT_ONCE]))

    async def _settle_again(self, event: UsageEvent) -> None:
        policy = self._snapshots.policy
        micros = cost_micros(
            policy.document.prices.get(event.model) if policy else None,
            prompt=event.prompt_tokens,
            cached=event.cached_tokens,
            completion=event.completion_tokens,
        )
        checkpoint = Checkpoint(
            tokens=event.prompt_tokens + event.completion_tokens,
            micros=micros,
            prompt_tokens=event.prompt_tokens,
            completion_tokens=event.completion_tokens,
        )
        await self._limiter.settle_lost(event.tenant_id, event.request_id, checkpoint)


class Reporter:
    """Tells the control plane what this worker applied and how it is."""

    def __init__(self, worker: Worker, store: aioredis.Redis) -> None:
        self._worker, self._store = worker, store
        self._started = time.time()
        self._bells: set[int] = set()
        self._hurry = asyncio.Event()

    def ring(self, service_id: int) -> None:
        """Say at once that a request waits for a service that sleeps.

        A bell that nobody hears costs seconds: every report says it as well.
        """
        self._bells.add(service_id)
        self._hurry.set()

    def hurry(self) -> None:
        """Something changed that the console waits for."""
        self._hurry.set()

    async def run(self) -> None:
        while True:
            await self.write()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), REPORT_SECONDS)
            self._hurry.clear()

    async def write(self) -> None:
        """The report first: who hears the bell reads there what waits."""
        report = msgspec.json.encode(self.report(time.time()))
        bells, self._bells = self._bells, set()
        try:
            await self._store.set(keys.report(self._worker.name), report, ex=keys.REPORT_SECONDS)
            for service_id in bells:
                await self._store.publish(keys.WAKE_CHANNEL, service_id)
        except (RedisError, OSError) as error:
            log.warning("the report was not written: %s", error)

    def report(self, now: float) -> WorkerReport:
        worker = self._worker
        policy, routing = worker.snapshots.policy, worker.snapshots.routing
        return WorkerReport(
            worker=worker.name,
            at=now,
            policy_version=policy.document.version if policy else 0,
            routing_version=routing.document.version if routing else 0,
            in_flight=worker.counters.in_flight.used,
            spool_events=worker.spool.pending,
            spool_oldest_seconds=round(worker.spool.oldest_seconds(now), 1),
            pools=worker.pools.report(),
            waking=worker.rooms.report(),
            flags=worker.flags(),
            requests_total=worker.counters.total,
            resident_bytes=resident_bytes(),
            started=self._started,
            events_by_hour=worker.counters.hours,
        )


def resident_bytes() -> int:
    """Resident memory of this process; 0 where the system does not say."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return 0
    return int(statm.read_text().split()[1]) * PAGE_BYTES
