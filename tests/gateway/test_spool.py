"""The spool: what is on disk when, and what a second life finds."""

import asyncio
import errno
import os
import threading

import pytest

from gateway import spool as spool_module
from gateway.spool import Spool, SpoolError

ONE, TWO, THREE = (f"0192f0c1-2b3d-7c4e-8f5a-{number:012d}" for number in (1, 2, 3))
EVENT = b'{"id":"x"}'


def make_spool(folder, max_bytes=10**6):
    spool = Spool(folder / "slot-0", max_bytes)
    return spool, spool.open([])


def again(spool):
    """Open the folder as after a crash: nothing was closed, the kernel took the locks."""
    for fd in spool._locks:
        os.close(fd)
    return make_spool(spool.folder.parent)


async def shipped(spool):
    batch = spool.next_batch(100, 10**6)
    if batch is None:
        return []
    spool.acknowledge(batch)
    return batch.events


async def commit(spool):
    spool.arrived.clear()
    await spool.arrived.wait()


async def test_it_offers_an_event_only_when_the_disk_has_it(tmp_path):
    spool, _ = make_spool(tmp_path)
    spool.finish(ONE, EVENT)
    assert spool.next_batch(10, 10**6) is None and spool.pending == 1
    await commit(spool)
    assert await shipped(spool) == [EVENT]
    assert spool.pending == 0 and await shipped(spool) == []


async def test_the_last_shipment_waits_for_a_slow_disk(tmp_path, monkeypatch):
    disk, sync = threading.Event(), os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: disk.wait(10) and sync(fd))
    spool, _ = make_spool(tmp_path)
    await spool.synced()  # nothing is written: nothing to wait for
    spool.finish(ONE, EVENT)
    waiting = asyncio.ensure_future(spool.synced())
    await asyncio.sleep(0.05)
    assert not waiting.done() and await shipped(spool) == []
    disk.set()
    await waiting
    assert await shipped(spool) == [EVENT]


async def test_it_offers_an_event_again_until_it_is_acknowledged(tmp_path):
    spool, _ = make_spool(tmp_path)
    spool.finish(ONE, EVENT)
    await commit(spool)
    for _ in range(3):
        assert spool.next_batch(10, 10**6).events == [EVENT]
    assert spool.oldest_seconds(spool._segments[0].waiting_since + 5) == 5


async def test_it_finds_what_was_in_flight(tmp_path):
    spool, _ = make_spool(tmp_path)
    for number in (ONE, TWO, THREE):
        spool.intend(number, EVENT)
    spool.checkpoint(TWO, b'{"tokens":1}')
    spool.checkpoint(TWO, b'{"tokens":2}')
    spool.finish(THREE, EVENT)
    spool, recovered = again(spool)
    assert [lost.checkpoint for lost in recovered.lost] == [None, b'{"tokens":2}']
    assert recovered.ended == [EVENT] and spool.pending == 1


async def test_it_carries_open_intents_into_the_next_segment(tmp_path, monkeypatch):
    monkeypatch.setattr(spool_module, "SEGMENT_BYTES", 100)
    spool, _ = make_spool(tmp_path)
    spool.intend(ONE, EVENT)
    spool.checkpoint(ONE, b'{"tokens":9}')
    for _ in range(3):
        spool.finish(TWO, EVENT)
        await commit(spool)
        assert await shipped(spool) == [EVENT]
    assert spool.next_batch(1, 10**6) is None
    assert len(list(spool.folder.glob("*.seg"))) == 1  # shipped segments are gone
    _, recovered = again(spool)
    assert [lost.checkpoint for lost in recovered.lost] == [b'{"tokens":9}']


async def test_it_reads_around_a_torn_line(tmp_path):
    spool, _ = make_spool(tmp_path)
    spool.finish(ONE, EVENT)
    await commit(spool)
    with spool._segments[0].path.open("ab") as file:
        file.write(b"T" + TWO.encode() + b'{"id":')
    spool, recovered = again(spool)
    assert recovered.lost == [] and recovered.ended == [EVENT]
    assert await shipped(spool) == [EVENT] and await shipped(spool) == []
    assert spool.next_batch(1, 10**6) is None
    assert len(list(spool.folder.glob("*.seg"))) == 1


async def test_it_refuses_new_work_and_keeps_events_when_the_disk_is_full(tmp_path, monkeypatch):
    spool, _ = make_spool(tmp_path)
    spool.intend(ONE, EVENT)
    write = os.write

    def full(fd, data):
        if len(data) > 20:
            return write(fd, data[:20])  # torn
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(spool_module.os, "write", full)
    spool.finish(ONE, EVENT)
    assert spool.is_full
    with pytest.raises(SpoolError):
        spool.intend(TWO, EVENT)
    monkeypatch.setattr(spool_module.os, "write", write)
    async with asyncio.timeout(5):
        while not (batch := spool.next_batch(10, 10**6)):
            await asyncio.sleep(0.05)
    assert batch.events == [EVENT] and not spool.is_full
    spool.intend(TWO, EVENT)


async def test_it_shares_a_folder_with_nobody(tmp_path):
    make_spool(tmp_path)
    with pytest.raises(SpoolError, match="another gateway"):
        make_spool(tmp_path)


async def test_it_looks_after_the_folders_of_workers_that_are_gone(tmp_path):
    other = Spool(tmp_path / "slot-7", 10**6)
    other.open([])
    other.intend(ONE, EVENT)
    other.finish(TWO, EVENT)
    mine = Spool(tmp_path / "slot-0", 10**6)
    recovered = mine.open([tmp_path / "slot-7"])
    assert recovered.lost == []  # it lives
    for fd in (*other._locks, *mine._locks):
        os.close(fd)
    mine = Spool(tmp_path / "slot-0", 10**6)
    assert len(mine.open([tmp_path / "slot-7"]).lost) == 1
    assert await shipped(mine) == [EVENT]
