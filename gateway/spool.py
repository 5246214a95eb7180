"""Usage events on disk until the ingest door has them.

A folder of segments. Each line is one record and begins with its kind:

    I<event>            intent: what to report if this worker dies before the end
    C<id><checkpoint>   what a running request has used so far
    T<event>            terminal: the one event of a finished request

Lines reach the kernel before the request goes on, so they survive `kill -9`; the disk has them
within 10 ms (group commit), so finished requests survive a power cut. A segment is deleted only
after every terminal line in it was acknowledged; open intents move on to the next segment.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

log = logging.getLogger("gateway.spool")

COMMIT_SECONDS = 0.005
SEGMENT_BYTES = 8 * 1024 * 1024
SEGMENT_SECONDS = 60.0
ID_BYTES = 36
LAST_ENDED = 4096  # more than a worker has in flight
INTENT, CHECKPOINT, TERMINAL = b"I", b"C", b"T"


class SpoolError(Exception):
    """The disk does not take more: new billable work must be refused."""


@dataclass(eq=False)
class Segment:
    path: Path
    size: int = 0
    durable: int = 0  # bytes that were synced
    shipped: int = 0  # bytes that were acknowledged
    events: int = 0  # terminal lines not yet acknowledged
    waiting_since: float = 0.0  # seconds since the epoch, of the oldest of them
    is_sealed: bool = False


@dataclass(frozen=True)
class Batch:
    segment: Segment
    end: int
    events: list[bytes]


@dataclass
class Lost:
    """A request that was in flight when its worker died."""

    intent: bytes
    checkpoint: bytes | None


@dataclass
class Recovered:
    """What the segments of an earlier life say."""

    lost: list[Lost]
    ended: list[bytes]  # the last terminal events: some may not have been settled


@dataclass
class _Open:
    intent: bytes
    checkpoint: bytes = b""


@dataclass
class Spool:
    folder: Path
    max_bytes: int
    is_broken: bool = False
    _segments: list[Segment] = field(default_factory=list)
    _open: dict[str, _Open] = field(default_factory=dict)
    _unwritten: list[tuple[bytes, bool]] = field(default_factory=list)
    _locks: list[int] = field(default_factory=list)
    _fd: int = -1
    _opened_at: float = 0.0
    _sequence: int = 0
    _sync: asyncio.Task[None] | None = None
    _torn: bool = False
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    # Opening and recovery

    def open(self, orphans: list[Path]) -> Recovered:
        """Take the folder, and folders of workers that are gone."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._lock(self.folder):
            raise SpoolError(f"another gateway uses the spool {self.folder}")
        folders = [self.folder, *(orphan for orphan in orphans if self._lock(orphan))]
        found = sorted(path for folder in folders for path in folder.glob("*.seg"))
        recovered = self._recover(found)
        mine = [path.stem for path in self.folder.glob("*.seg")]
        self._sequence = max((int(stem) for stem in mine if stem.isdigit()), default=0)
        self._begin_segment()
        return recovered

    def _lock(self, folder: Path) -> bool:
        fd = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        self._locks.append(fd)
        return True

    def _recover(self, paths: list[Path]) -> Recovered:
        intents: dict[str, Lost] = {}
        ended: dict[str, bytes] = {}
        for path in paths:
            raw = path.read_bytes()
            segment = Segment(path, size=len(raw), durable=len(raw), is_sealed=True)
            segment.waiting_since = path.stat().st_mtime
            for line in raw.split(b"\n")[:-1]:
                self._recover_line(line, segment, intents, ended)
            self._segments.append(segment)
        lost = [one for number, one in intents.items() if number not in ended]
        return Recovered(lost, list(ended.values())[-LAST_ENDED:])

    def _recover_line(
        self, line: bytes, segment: Segment, intents: dict[str, Lost], ended: dict[str, bytes]
    ) -> None:
        kind = line[:1]
        number = _id_of(line)
        if kind == TERMINAL and line.endswith(b"}"):
            segment.events += 1
            ended[number] = line[1 + ID_BYTES :]
        elif kind == INTENT and line.endswith(b"}"):
            intents.setdefault(number, Lost(line[1 + ID_BYTES :], None))
        elif kind == CHECKPOINT and number in intents and line.endswith(b"}"):
            intents[number].checkpoint = line[1 + ID_BYTES :]

    # Writing

    @property
    def size(self) -> int:
        return sum(segment.size for segment in self._segments)

    @property
    def pending(self) -> int:
        return sum(segment.events for segment in self._segments)

    def oldest_seconds(self, now: float) -> float:
        """Age of the oldest event that the ingest door has not acknowledged."""
        waiting = [one.waiting_since for one in self._segments if one.events]
        return max(0.0, now - min(waiting)) if waiting else 0.0

    @property
    def is_full(self) -> bool:
        return self.is_broken or bool(self._unwritten) or self.size >= self.max_bytes

    def intend(self, number: str, event: bytes) -> None:
        """Note a request that is about to be dispatched, or raise SpoolError."""
        if self.is_full:
            raise SpoolError("the spool is full")
        record = _Open(INTENT + number.encode() + event + b"\n")
        try:
            self._write(record.intent, is_event=False)
        except OSError as error:
            raise SpoolError(str(error)) from error
        self._open[number] = record

    def checkpoint(self, number: str, checkpoint: bytes) -> None:
        record = self._open.get(number)
        if record is None:
            return
        record.checkpoint = CHECKPOINT + number.encode() + checkpoint + b"\n"
        self._append(record.checkpoint, is_event=False)

    def finish(self, number: str, event: bytes) -> None:
        """Write the one event of a request. It is kept in memory while the disk refuses it."""
        self._open.pop(number, None)
        self._append(TERMINAL + number.encode() + event + b"\n", is_event=True)
        if self._sync is None:
            self._sync = asyncio.ensure_future(self._commit())

    def _append(self, line: bytes, *, is_event: bool) -> None:
        if self._unwritten:
            self._unwritten.append((line, is_event))
            return
        try:
            self._write(line, is_event=is_event)
        except OSError as error:
            log.error("spool does not take a line: %s", error)
            self._unwritten.append((line, is_event))

    def _write(self, line: bytes, *, is_event: bool) -> None:
        segment = self._segments[-1]
        if self._torn:  # end the torn line, so that it spoils no other
            line = b"\n" + line
        left = memoryview(line)
        while left:
            try:
                written = os.write(self._fd, left)
            except OSError:
                self._torn = len(left) < len(line)
                raise
            segment.size += written
            left = left[written:]
        self._torn = False
        if is_event:
            segment.waiting_since = segment.waiting_since if segment.events else time.time()
            segment.events += 1

    async def synced(self) -> None:
        """Wait until every event that was written is on the disk, and so may be shipped."""
        if self._sync is not None:
            await asyncio.shield(self._sync)

    async def _commit(self) -> None:
        """Sync what was written, once for all that came within a few milliseconds."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(COMMIT_SECONDS)
            segment = self._segments[-1]
            size = segment.size
            try:
                self._retry_unwritten()
                await loop.run_in_executor(None, os.fdatasync, self._fd)
                self.is_broken = False
            except OSError as error:
                log.error("spool cannot be synced: %s", error)
                self.is_broken = True
                await asyncio.sleep(0.5)
                continue
            segment.durable = size
            self.arrived.set()
            if self._is_due(segment):
                self._rotate()
            if segment.size == size and not self._unwritten:
                self._sync = None
                return

    def _retry_unwritten(self) -> None:
        while self._unwritten:
            line, is_event = self._unwritten[0]
            self._write(line, is_event=is_event)
            del self._unwritten[0]

    def _is_due(self, segment: Segment) -> bool:
        old = time.monotonic() - self._opened_at > SEGMENT_SECONDS
        return segment.size > SEGMENT_BYTES or (old and segment.size > 0)

    def _rotate(self) -> None:
        """Begin a segment, and carry into it the intents that are still open."""
        before, old_fd = self._segments[-1], self._fd
        try:
            self._begin_segment()
        except OSError as error:
            log.error("spool cannot begin a segment: %s", error)
            return
        os.fdatasync(old_fd)
        os.close(old_fd)
        before.durable, before.is_sealed = before.size, True
        for record in self._open.values():
            self._append(record.intent + record.checkpoint, is_event=False)
        self._drop_if_done(before)

    def _begin_segment(self) -> None:
        self._sequence += 1
        path = self.folder / f"{self._sequence:012d}.seg"
        self._fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600)
        self._opened_at = time.monotonic()
        self._segments.append(Segment(path))

    # Shipping

    def next_batch(self, max_events: int, max_bytes: int) -> Batch | None:
        """Return the oldest events that are on disk and were not acknowledged."""
        for segment in list(self._segments):
            if segment.shipped >= segment.durable:
                self._drop_if_done(segment)
                continue
            batch = self._read(segment, max_events, max_bytes)
            if batch.events:
                return batch
            self.acknowledge(batch)
        return None

    def _read(self, segment: Segment, max_events: int, max_bytes: int) -> Batch:
        with segment.path.open("rb") as file:
            file.seek(segment.shipped)
            raw = file.read(min(max_bytes, segment.durable - segment.shipped))
        end = segment.shipped
        events: list[bytes] = []
        for line in raw.split(b"\n")[:-1]:
            if len(events) >= max_events:
                break
            end += len(line) + 1
            if line[:1] == TERMINAL and line.endswith(b"}"):
                events.append(line[1 + ID_BYTES :])
        if end == segment.shipped:
            # A torn last line, or one longer than a batch: there is nothing more to read.
            end = segment.durable
        return Batch(segment, end, events)

    def acknowledge(self, batch: Batch) -> None:
        segment = batch.segment
        segment.shipped = batch.end
        segment.events -= len(batch.events)
        segment.waiting_since = time.time()
        self._drop_if_done(segment)

    def _drop_if_done(self, segment: Segment) -> None:
        if segment.is_sealed and segment.shipped >= segment.size and segment in self._segments:
            self._segments.remove(segment)
            segment.path.unlink(missing_ok=True)

    async def close(self) -> None:
        if self._sync is not None:
            await asyncio.wait({self._sync}, timeout=1.0)
        for fd in (self._fd, *self._locks):
            os.close(fd)


def _id_of(line: bytes) -> str:
    return line[1 : 1 + ID_BYTES].decode("latin-1")
