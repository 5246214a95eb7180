"""Clients at the gateway's public door."""

import asyncio
import collections
import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from sandbox.traffic.profile import HABITS, Ask, next_ask, rate_at

AT_MOST = 48  # requests in flight of all clients together: the demo never floods by accident
DEADLINE = aiohttp.ClientTimeout(total=60, connect=5)
LOOK_SECONDS = 10.0  # between two looks at what a key may use
WEIGHTS = (4, 2, 1)  # the first model of a client is its favourite


@dataclass(frozen=True)
class Client:
    """A key of an application, with the models that it likes, the favourite first."""

    tenant: str
    key: str
    traffic_class: str
    models: tuple[str, ...]


@dataclass
class Fleet:
    """All clients of one run, and what they saw: counts by outcome."""

    gateway: str
    clients: list[Client]
    off_while: Path | None = None
    factor: float = 1.0
    seen: collections.Counter[str] = field(default_factory=collections.Counter)

    async def run(self, seconds: float | None = None) -> None:
        """Ask until cancelled, or for so many seconds."""
        self._gate = asyncio.Semaphore(AT_MOST)
        async with aiohttp.ClientSession(timeout=DEADLINE) as session:
            talks = [self._talk(session, client, n) for n, client in enumerate(self.clients)]
            try:
                await asyncio.wait_for(asyncio.gather(*talks, self._report()), seconds)
            except TimeoutError:
                return

    def silent(self) -> bool:
        return self.off_while is not None and self.off_while.exists()

    async def _talk(self, session: aiohttp.ClientSession, client: Client, number: int) -> None:
        dice, habits = random.Random(f"{client.tenant}/{number}"), HABITS[client.traffic_class]
        phase, began, looked = 61.0 * number, time.monotonic(), -LOOK_SECONDS
        models: list[str] = []
        async with asyncio.TaskGroup() as asking:
            while True:
                now = time.monotonic()
                if now - looked > LOOK_SECONDS or not models:
                    models, looked = await self._granted(session, client), now
                rate = self.factor * rate_at(habits, now - began, phase)
                await asyncio.sleep(min(10.0, dice.expovariate(rate)))
                if models and not self.silent():
                    model = dice.choices(models, WEIGHTS[: len(models)])[0]
                    asking.create_task(self._ask(session, client, next_ask(habits, model, dice)))

    async def _granted(self, session: aiohttp.ClientSession, client: Client) -> list[str]:
        try:
            async with session.get(f"{self.gateway}/v1/models", headers=_bearer(client)) as answer:
                listed = await answer.json() if answer.status == 200 else {"data": []}
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return []
        names = {model["id"] for model in listed["data"]}
        return [model for model in client.models if model in names][: len(WEIGHTS)]

    async def _ask(self, session: aiohttp.ClientSession, client: Client, ask: Ask) -> None:
        if self._gate.locked():
            self.seen["held back"] += 1
            return
        async with self._gate:
            url = f"{self.gateway}/v1/chat/completions"
            try:
                async with session.post(url, json=ask.body, headers=_bearer(client)) as answer:
                    self.seen[await _listen(answer, ask)] += 1
            except (aiohttp.ClientError, TimeoutError) as error:
                self.seen[type(error).__name__] += 1

    async def _report(self) -> None:
        """Write what happened now and then, one line."""
        while True:
            await asyncio.sleep(30)
            print(json.dumps({"traffic": dict(self.seen), "silent": self.silent()}), flush=True)


async def _listen(answer: aiohttp.ClientResponse, ask: Ask) -> str:
    """Read the answer to its end, or leave after some chunks as impatient people do."""
    chunks = 0
    async for _ in answer.content:
        chunks += 1
        if ask.leave_after is not None and chunks >= ask.leave_after:
            answer.close()
            return "left early"
    return str(answer.status)


def _bearer(client: Client) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {client.key}"}
