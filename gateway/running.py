"""What a worker has in hand, so that it can be ended when the right to it is withdrawn.

A request keeps the policy that it was admitted with. Only one thing reaches it while it runs: that
its key was revoked or its tenant suspended. Gateways hear of that by the bells and snapshots that
they listen to anyhow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.auth import withdrawn
from gateway.exchange import Exchange
from gateway.snapshots import Policy


class Running:
    def __init__(self) -> None:
        self._tasks: dict[Exchange, asyncio.Task[None]] = {}

    @contextmanager
    def hold(self, exchange: Exchange) -> Iterator[None]:
        """Know a request, from its credential on to its end, with the task that answers it."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks[exchange] = task
        try:
            yield
        finally:
            del self._tasks[exchange]

    def recall(self, policy: Policy) -> None:
        """End what may not go on by this policy; what has ended already is left alone."""
        for exchange, task in list(self._tasks.items()):
            if exchange.is_reported or exchange.recalled is not None:
                continue
            if refusal := withdrawn(exchange.context, policy):
                exchange.recalled = refusal
                task.cancel()
