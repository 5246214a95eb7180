"""Where requests wait for a service that sleeps at 0 replicas, until an engine of it answers.

The first one rings. A room is bounded in number and time, and shared between classes and tenants
by the rules of the line. Who leaves it goes on as if it came now: to a seat, or into the line.
No byte is sent meanwhile: what becomes of the request, and so its status, is not known yet.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway import errors
from gateway.contract.outcomes import Outcome, Reason
from gateway.contract.routing import WaitingRoom
from gateway.fairness import ORDER, Line, Waiter
from gateway.pools import Pools, Wish

LEAST_SHARE = 0.1  # of a start: a client comes back no sooner, however late the start is


@dataclass(eq=False)
class WaitingRooms:
    pools: Pools
    shares: int  # workers of all gateways: each has its part of a room
    ring: Callable[[int], None]  # that the first request waits for this service
    _lines: dict[str, Line] = field(default_factory=dict)
    _ids: dict[str, int] = field(default_factory=dict)

    async def wait(self, wish: Wish) -> None:
        """Return once an engine may be asked: at once, unless the service sleeps or wakes."""
        room = self.pools.room_of(wish.service.name, wish.data_policy, wish.adapter)
        if room is None:
            return
        line = self._line(wish, room)
        loop = asyncio.get_running_loop()
        waiter = Waiter(
            wish.tenant_id,
            wish.traffic_class,
            wish.seats,
            wish.work,
            wish.data_policy,
            loop.create_future(),
            adapter=wish.adapter,
        )
        line.add(waiter, loop.time())
        if line.size == 1:
            self.ring(wish.service.id)
        try:
            await asyncio.wait({waiter.future}, timeout=room.wait_seconds)
        finally:
            line.remove(waiter)
        if not waiter.future.done():
            raise self._too_late(wish, room)

    def _line(self, wish: Wish, room: WaitingRoom) -> Line:
        """The worker's part of the room, if there is a place left in it."""
        name, bound = wish.service.name, max(1, -(-room.most // self.shares))
        line = self._lines.get(name)
        if line is None:
            line = self._lines[name] = Line(bound=bound)
        line.bound, self._ids[name] = bound, wish.service.id
        if not line.has_room(wish.tenant_id, wish.traffic_class):
            message = (
                f"{name!r} sleeps and is being started, and {line.size} requests wait for it"
                f" already. A start takes about {room.start_seconds:.0f} s."
            )
            seconds = left_of_start(room, time.time())
            raise errors.asleep(message, Outcome.SHED, Reason.ROOM_FULL, seconds)
        return line

    def _too_late(self, wish: Wish, room: WaitingRoom) -> errors.Refusal:
        """With what the newest snapshot says: the start began while this one waited."""
        room = self.pools.room_of(wish.service.name, wish.data_policy, wish.adapter) or room
        message = (
            f"{wish.service.name!r} slept and did not answer within {room.wait_seconds:.0f} s."
            f" A start takes about {room.start_seconds:.0f} s."
        )
        seconds = left_of_start(room, time.time())
        return errors.asleep(message, Outcome.TIMED_OUT, Reason.WAKING, seconds)

    def update(self) -> None:
        """After the pools took a new snapshot: let those go on whom an engine may answer now.

        The higher class first, in it the tenants by turns: the first ones get the seats, the
        others stand in the line in this order.
        """
        for name, line in self._lines.items():
            for traffic_class in ORDER:
                for waiter in line.everybody(traffic_class):
                    if self.pools.room_of(name, waiter.data_policy, waiter.adapter) is None:
                        line.remove(waiter)
                        waiter.future.set_result(None)

    def report(self) -> dict[int, int]:
        """Requests that wait, by service."""
        return {self._ids[name]: line.size for name, line in self._lines.items() if line.size}

    @property
    def size(self) -> int:
        return sum(line.size for line in self._lines.values())


def left_of_start(room: WaitingRoom, now: float) -> float:
    """Seconds until the first replica should answer. `now`: seconds since the epoch."""
    left = room.start_seconds if room.since is None else room.since + room.start_seconds - now
    return max(left, LEAST_SHARE * room.start_seconds, 1.0)
