"""One gateway worker: builds the parts, keeps their loops running, ends them in order."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import redis.asyncio as aioredis

from gateway.console import Console
from gateway.counters import Counters
from gateway.estimate import Estimator
from gateway.limits.emergency import EmergencyLimits
from gateway.limits.limiter import Limiter
from gateway.limits.wire import Wire
from gateway.metering import Meter
from gateway.pipeline import Pipeline
from gateway.pools import Pools
from gateway.proxy import Proxy
from gateway.report import Heartbeat, Reporter, resident_bytes
from gateway.running import Running
from gateway.settings import Settings
from gateway.shadow import Shadows
from gateway.shipper import Shipper
from gateway.snapshots import Routing, Snapshots
from gateway.spool import Recovered, Spool
from gateway.waiting import WaitingRooms

log = logging.getLogger("gateway.worker")

# Engines close idle connections after 5 s; a connection must not be reused while that happens.
KEEPALIVE_SECONDS = 3.0
FIRST_SNAPSHOT_SECONDS = 2.0
LAST_SHIPMENT_SECONDS = 3.0


class Worker:
    def __init__(self, settings: Settings, slot: int) -> None:
        self.settings, self.slot = settings, slot
        self.name = settings.worker_name(slot)
        self.counters = Counters()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        settings = self.settings
        self.spool = Spool(settings.spool_dir / f"slot-{self.slot}", settings.spool_bytes)
        recovered = self.spool.open(self._orphans())
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_SECONDS)
        self._session = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            headers={"accept-encoding": "identity"},  # answers are read as they come
            skip_auto_headers=("user-agent",),
        )
        self.wire = Wire(settings.redis_url, timeout=settings.redis_timeout)
        self.snapshots = Snapshots(settings.redis_url, max_age=settings.max_snapshot_age)
        url, token = settings.routing_url, settings.ingest_token
        console = Console(self._session, url=url, token=token, worker=self.name)
        self.snapshots.elsewhere = console.routing
        self.pools = Pools(workers=settings.workers)
        shares = settings.workers * settings.replicas
        self._reports = aioredis.Redis.from_url(settings.redis_url, socket_timeout=2.0)
        self.reporter = Reporter(self, self._reports)
        self.rooms = WaitingRooms(self.pools, shares, self.reporter.ring)
        self.snapshots.on_routing = self._route
        running = Running()
        self.snapshots.on_policy = running.recall
        self.limiter = Limiter(self.wire, EmergencyLimits(shares))
        estimator = Estimator()
        self.meter = Meter(self.name, self.spool, self.limiter, estimator, self.counters)
        self.shipper = Shipper(
            self.spool, self._session, url=settings.ingest_url, token=settings.ingest_token
        )
        proxy = Proxy(self._session, settings.salt_secret)
        self.shadows = Shadows(
            settings, self.snapshots, self.pools, proxy, self.meter, self.counters
        )
        self.pipeline = Pipeline(
            settings=settings,
            snapshots=self.snapshots,
            limiter=self.limiter,
            pools=self.pools,
            rooms=self.rooms,
            estimator=estimator,
            meter=self.meter,
            proxy=proxy,
            shadows=self.shadows,
            counters=self.counters,
            running=running,
        )
        await self._start_loops(recovered)

    def _route(self, routing: Routing) -> None:
        self.pools.update(routing)
        self.rooms.update()
        self.reporter.hurry()

    async def _start_loops(self, recovered: Recovered) -> None:
        self._spawn("quota store", self.wire.keep_connected)
        self._spawn("snapshots", self.snapshots.follow)
        self._spawn("snapshot channel", self.snapshots.listen)
        heartbeat = Heartbeat(self.meter, self.limiter, self.snapshots)
        # Before anything ships: a lost request is in the old segment as an intent only.
        lost = [event for one in recovered.lost if (event := self.meter.report_lost(one))]
        self._spawn("heartbeat", heartbeat.run)
        self._spawn("janitor", heartbeat.reap)
        self.spool.arrived.set()
        self._spawn("shipper", self.shipper.run)
        self._spawn("report", self.reporter.run)
        await self._first_snapshot()
        if lost:
            log.warning("%d requests were lost with the last worker and are reported", len(lost))
        # The last ones that ended may have died between their record and their settlement.
        ended = [event for raw in recovered.ended if (event := self.meter.read(raw))]
        self._tasks.append(asyncio.ensure_future(heartbeat.settle_again([*lost, *ended])))

    async def _first_snapshot(self) -> None:
        """Give the stores a moment; without them the worker starts and says it is not ready."""
        deadline = time.monotonic() + FIRST_SNAPSHOT_SECONDS
        while time.monotonic() < deadline:
            if self.snapshots.is_usable and self.wire.is_open:
                return
            await asyncio.sleep(0.02)

    def _orphans(self) -> list[Path]:
        """Spools of slots that this gateway no longer runs; the first worker looks after them."""
        if self.slot != 0:
            return []
        mine = {f"slot-{number}" for number in range(self.settings.workers)}
        folders = self.settings.spool_dir.glob("slot-*")
        return [folder for folder in folders if folder.name not in mine]

    def _spawn(self, what: str, run: Callable[[], Awaitable[None]]) -> None:
        self._tasks.append(asyncio.ensure_future(_supervise(what, run)))

    def missing(self) -> list[str]:
        """What this worker lacks to take requests; empty: it is ready."""
        missing = []
        if self.snapshots.policy is None:
            missing.append("policy snapshot")
        if self.snapshots.routing is None:
            missing.append("routing snapshot")
        if not missing and not self.snapshots.is_usable:
            missing.append("word from the snapshot store")
        if self.spool.is_full:
            missing.append("room in the spool")
        return missing

    def flags(self) -> tuple[str, ...]:
        flags = [*self.snapshots.current_flags(), *self.shipper.flags]
        if not self.wire.is_open:
            flags.append("degraded:quota")
        if self.spool.is_full:
            flags.append("shed:metering")
        return tuple(flags)

    def gauges(self, now: float) -> dict[str, float]:
        policy, routing = self.snapshots.policy, self.snapshots.routing
        return {
            "in_flight": self.counters.in_flight.used,
            "waiting_for_wake": self.rooms.size,
            "spool_events": self.spool.pending,
            "spool_bytes": self.spool.size,
            "spool_oldest_seconds": self.spool.oldest_seconds(now),
            "policy_version": policy.document.version if policy else 0,
            "routing_version": routing.document.version if routing else 0,
            "snapshot_age_seconds": min(self.snapshots.age, 1e9),
            "shipped_events": self.shipper.shipped,
            "quarantined_events": self.shipper.quarantined,
            "resident_bytes": resident_bytes(),
        }

    async def stop(self) -> None:
        """The server has let its requests end; keep what they left behind."""
        await self.shadows.stop()
        await self.limiter.drain()
        try:
            async with asyncio.timeout(LAST_SHIPMENT_SECONDS):
                await self.spool.synced()
                await self.shipper.ship_all()
        except TimeoutError:
            log.warning("%d events stay in the spool", self.spool.pending)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()
        await self.snapshots.close()
        await self._reports.aclose()
        await self.spool.close()


async def _supervise(what: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run a loop for ever. A bug in one must not end the others, nor stay silent."""
    while True:
        try:
            await run()
        except Exception:  # noqa: BLE001 - the one supervisor loop; it logs and starts anew
            log.exception("%s stopped and starts again", what)
        await asyncio.sleep(1.0)
