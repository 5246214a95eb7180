"""Bring usage events from the spool to the ingest door, and forget them when it has them.

The door removes duplicates by id, so a batch whose answer was lost is simply sent again. What
the door refuses for good is put aside one by one, never with the batch around it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from pathlib import Path

import aiohttp
import msgspec

from gateway.spool import Batch, Spool

log = logging.getLogger("gateway.shipper")

MAX_EVENTS = 2000
MAX_BYTES = 4 * 1024 * 1024
GATHER_SECONDS = 0.2
BACKOFF = (0.5, 30.0)
TIMEOUT = aiohttp.ClientTimeout(total=30.0, connect=3.0)
REFUSED_FOR_GOOD = frozenset({400, 413, 422})


class _Quarantined(msgspec.Struct):
    id: str | None = None
    reason: str = ""


class _Answer(msgspec.Struct):
    accepted: int
    duplicates: int = 0
    quarantined: list[_Quarantined] = []


_answers = msgspec.json.Decoder(_Answer)


class DoorError(Exception):
    """The door did not take the batch; `is_final` when sending it again cannot help."""

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final


class Shipper:
    def __init__(
        self, spool: Spool, session: aiohttp.ClientSession, *, url: str, token: str
    ) -> None:
        self._spool, self._session = spool, session
        self._url, self._token = url, token
        self._failures = 0
        self._batch_size = MAX_EVENTS
        self._alone = asyncio.Lock()  # the last shipment may meet the running one
        self.shipped = 0
        self.duplicates = 0
        self.quarantined = 0

    @property
    def flags(self) -> tuple[str, ...]:
        return ("degraded:metering",) if self._failures or not self._url else ()

    async def run(self) -> None:
        while True:
            await self._spool.arrived.wait()
            self._spool.arrived.clear()
            await asyncio.sleep(GATHER_SECONDS)
            await self.ship_all()

    async def ship_all(self) -> None:
        """Ship until the spool has nothing more; wait longer after each failure."""
        async with self._alone:
            await self._ship_all()

    async def _ship_all(self) -> None:
        while self._url:
            batch = self._spool.next_batch(self._batch_size, MAX_BYTES)
            if batch is None:
                return
            try:
                await self._ship(batch)
            except DoorError as error:
                await self._cope(batch, error)
            else:
                self._failures = 0
                self._batch_size = min(MAX_EVENTS, self._batch_size * 2)

    async def _ship(self, batch: Batch) -> None:
        answer = await self._post(b"[" + b",".join(batch.events) + b"]")
        for bad in answer.quarantined:
            log.error("the ingest door quarantined %s: %s", bad.id, bad.reason)
        self.quarantined += len(answer.quarantined)
        self.duplicates += answer.duplicates
        self.shipped += len(batch.events)
        self._spool.acknowledge(batch)

    async def _post(self, body: bytes) -> _Answer:
        headers = {
            "authorization": f"Bearer {self._token}",
            "content-type": "application/cloudevents-batch+json",
        }
        try:
            async with self._session.post(
                self._url, data=body, headers=headers, timeout=TIMEOUT, allow_redirects=False
            ) as response:
                raw = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise DoorError(f"the ingest door is not reachable: {error!r}") from error
        if response.status != 200:
            text = raw[:300].decode("utf-8", "replace")
            message = f"the ingest door answers {response.status}: {text}"
            raise DoorError(message, is_final=response.status in REFUSED_FOR_GOOD)
        try:
            return _answers.decode(raw)
        except msgspec.MsgspecError as error:
            raise DoorError(f"the ingest door's answer cannot be read: {error}") from error

    async def _cope(self, batch: Batch, error: DoorError) -> None:
        if error.is_final and len(batch.events) > 1:
            self._batch_size = max(1, len(batch.events) // 2)
            return
        if error.is_final:
            log.error("event put aside: %s", error)
            _put_aside(self._spool.folder / "refused.jsonl", batch.events[0])
            self._spool.acknowledge(batch)
            return
        first, longest = BACKOFF
        delay = min(longest, first * 2 ** min(self._failures, 8)) * random.uniform(0.5, 1.0)
        if self._failures == 0:
            log.warning("events stay in the spool: %s", error)
        self._failures += 1
        await asyncio.sleep(delay)


def _put_aside(path: Path, event: bytes) -> None:
    with path.open("ab") as file:
        file.write(event + b"\n")
