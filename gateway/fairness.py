"""Who is next: the class first, then the tenant that was served least lately."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest

from gateway.contract.outcomes import TrafficClass
from gateway.contract.policy import DataPolicy

HALF_LIFE = 60.0
ORDER = (TrafficClass.CRITICAL, TrafficClass.INTERACTIVE, TrafficClass.BATCH)
CEILING = {TrafficClass.CRITICAL: 1.0, TrafficClass.INTERACTIVE: 0.9, TrafficClass.BATCH: 0.7}
TENANT_SHARE = 0.5  # of the queue
MAX_HEADS = 16  # tenants looked at when the first ones do not fit


@dataclass(slots=True, eq=False)
class Waiter:
    """One queued request. The future gets its seat."""

    tenant_id: int
    traffic_class: TrafficClass
    seats: int
    work: float
    data_policy: DataPolicy
    future: asyncio.Future[object]
    application_id: int = 0
    conversation: bytes = b""
    adapter: str = ""


@dataclass(slots=True)
class _Attained:
    value: float
    at: float

    def now(self, now: float) -> float:
        return float(self.value * 0.5 ** ((now - self.at) / HALF_LIFE))


@dataclass
class Line:
    """The waiting requests of one service in one worker: bounded, and fair between tenants."""

    bound: int
    size: int = 0
    _queues: dict[TrafficClass, dict[int, deque[Waiter]]] = field(
        default_factory=lambda: {name: {} for name in ORDER}
    )
    _sizes: dict[TrafficClass, int] = field(default_factory=lambda: dict.fromkeys(ORDER, 0))
    _attained: dict[int, _Attained] = field(default_factory=dict)

    def has_room(self, tenant_id: int, traffic_class: TrafficClass) -> bool:
        """Whether one more may wait: bounded as a whole, for the class and for the tenant."""
        if self.size >= max(1, int(self.bound * CEILING[traffic_class])):
            return False
        mine = sum(len(tenants.get(tenant_id, ())) for tenants in self._queues.values())
        return mine < max(1, int(self.bound * TENANT_SHARE))

    def is_ahead(self, traffic_class: TrafficClass) -> bool:
        """Whether somebody of this class or a higher one waits already."""
        last = ORDER.index(traffic_class)
        return any(self._sizes[name] for name in ORDER[: last + 1])

    def waiting(self, traffic_class: TrafficClass) -> int:
        return self._sizes[traffic_class]

    def add(self, waiter: Waiter, now: float) -> None:
        tenants = self._queues[waiter.traffic_class]
        if waiter.tenant_id not in tenants:
            self._catch_up(waiter.tenant_id, now)
            tenants[waiter.tenant_id] = deque()
        tenants[waiter.tenant_id].append(waiter)
        self._sizes[waiter.traffic_class] += 1
        self.size += 1

    def remove(self, waiter: Waiter) -> None:
        """Take somebody out: dispatched, gone or too late. The second time does nothing."""
        tenants = self._queues[waiter.traffic_class]
        queue = tenants.get(waiter.tenant_id)
        if queue is None or waiter not in queue:
            return
        queue.remove(waiter)
        if not queue:
            del tenants[waiter.tenant_id]
        self._sizes[waiter.traffic_class] -= 1
        self.size -= 1

    def heads(self, traffic_class: TrafficClass, now: float) -> Iterator[Waiter]:
        """First of each tenant, least served tenant first."""
        tenants = self._queues[traffic_class]
        order = sorted(tenants, key=lambda tenant: self.attained(tenant, now))
        for tenant_id in order[:MAX_HEADS]:
            yield tenants[tenant_id][0]

    def everybody(self, traffic_class: TrafficClass) -> list[Waiter]:
        """All who wait, the tenants by turns."""
        rounds = zip_longest(*self._queues[traffic_class].values())
        return [waiter for turn in rounds for waiter in turn if waiter is not None]

    def attained(self, tenant_id: int, now: float) -> float:
        found = self._attained.get(tenant_id)
        return found.now(now) if found else 0.0

    def charge(self, tenant_id: int, work: float, now: float) -> None:
        """Count work for a tenant; negative work corrects an estimate."""
        value = max(0.0, self.attained(tenant_id, now) + work)
        self._attained[tenant_id] = _Attained(value, now)

    def _catch_up(self, tenant_id: int, now: float) -> None:
        """A tenant that comes back starts level with the others: idling earns no credit."""
        others = [
            self.attained(other, now)
            for tenants in self._queues.values()
            for other in tenants
            if other != tenant_id
        ]
        if others:
            level = max(self.attained(tenant_id, now), min(others))
            self._attained[tenant_id] = _Attained(level, now)
