"""A worker says how many usage events it wrote, by the hour in which their requests ended."""

import asyncio

import msgspec

from gateway.contract import keys
from gateway.contract.usage import WorkerReport
from gateway.counters import HOUR_US, Counters
from tests.gateway.fleet import chat


def test_the_newest_hours_are_counted():
    counters = Counters()
    for hour in (5, 6, 6, 7, 8, 5):
        counters.reported(hour * HOUR_US + 1)
    assert counters.hours == {6: 2, 7: 1, 8: 1}


async def test_a_report_counts_each_event_under_the_hour_of_its_end(fleet):
    await fleet.add_engine()
    await fleet.start()
    for _ in range(3):
        await fleet.post(chat())
    events = await fleet.events(3)
    wanted = {}
    for event in events:
        hour = event["finished_at"] // HOUR_US
        wanted[hour] = wanted.get(hour, 0) + 1
    async with asyncio.timeout(20):
        while (found := report(fleet)) is None or found.events_by_hour != wanted:
            await asyncio.sleep(0.2)
    assert found.started > 0


def report(fleet):
    raw = fleet.store.get(keys.report(f"test-{fleet.port}-0"))
    return msgspec.json.decode(raw, type=WorkerReport) if raw else None
