"""Killed at any moment: nothing is lost and nothing is counted twice."""

import asyncio

import aiohttp
import pytest

from gateway.contract import keys
from tests.gateway.fleet import (
    GLOBEX_KEY,
    chat,
    make_limit,
    make_policy,
    make_pool,
    make_routing,
    make_service,
    until,
)

GONE = (aiohttp.ClientError, ConnectionError, asyncio.TimeoutError)


@pytest.fixture
async def engine(fleet):
    engine = await fleet.add_engine(tokens=20, pause=0.01)
    fleet.publish(routing=make_routing(make_service(make_pool("a", engine.address))))
    return engine


async def client(fleet, answered, stop):
    """Send request after request; note the ids of those answered to the end."""
    while not stop.is_set():
        try:
            stream = len(answered) % 2 == 0
            status, headers, body = await fleet.post(chat(stream=stream))
        except GONE:
            await asyncio.sleep(0.05)
            continue
        if status == 200 and (not stream or body.endswith(b"[DONE]\n\n")):
            answered.append(headers["x-request-id"])


def live_leases(fleet):
    seconds, _ = fleet.store.time()
    return fleet.store.zcount(keys.leases(1, 1), seconds * 1_000_000, "+inf")


async def test_it_loses_and_doubles_nothing_when_killed_under_load(fleet, engine):
    fleet.publish(make_policy(limits=(make_limit(concurrency=100, tokens_per_minute=10**9),)))
    await fleet.start()
    answered, stop = [], asyncio.Event()
    clients = [asyncio.ensure_future(client(fleet, answered, stop)) for _ in range(30)]
    for _ in range(3):
        await asyncio.sleep(1.0)
        fleet.kill()
        await fleet.start()
    await asyncio.sleep(1.0)
    stop.set()
    await asyncio.gather(*clients)
    sent = set(engine.ids)
    assert len(sent) == len(engine.ids) > 100
    # What the engine saw has exactly one row: the door keeps one an id, so none may be missing.
    await until(lambda: sent <= fleet.door.rows.keys())
    outcomes = fleet.door.outcomes()
    assert set(answered) <= fleet.door.rows.keys()
    by_id = {number: event["data"] for number, event in fleet.door.rows.items()}
    assert {by_id[number]["outcome"] for number in answered} == {"served"}
    assert {by_id[number]["completion_tokens"] for number in answered} == {20}
    lost = [e for e in by_id.values() if e["outcome"] == "failed"]
    assert lost and {event["reason"] for event in lost} == {"worker_lost"}
    assert outcomes["served"] + outcomes["failed"] == len(by_id)
    # And their quota is free again, at the latest when the leases end.
    await until(lambda: live_leases(fleet) == 0, seconds=40)


async def test_it_keeps_events_while_the_door_is_closed(fleet, engine):
    engine.pause = 0.0
    fleet.door.status = 503
    await fleet.start()
    for _ in range(10):
        await fleet.post(chat())
    await asyncio.sleep(0.5)
    assert fleet.door.rows == {}
    fleet.kill()
    await fleet.start()
    for _ in range(10):
        await fleet.post(chat())
    fleet.door.status = 200
    await fleet.events(20)
    assert fleet.door.outcomes() == {"served": 20}
    assert {event["data"]["completion_tokens"] for event in fleet.door.rows.values()} == {20}


async def test_it_ships_the_rest_around_a_poisoned_event(fleet, engine):
    engine.pause = 0.0
    fleet.door.poison = "poisoned"
    await fleet.start()
    requests = [fleet.post(chat()) for _ in range(10)] + [fleet.post(chat(model="poisoned"))]
    await asyncio.gather(*requests)
    await fleet.events(10)
    assert fleet.door.outcomes() == {"served": 10}
    aside = fleet.folder / "spool" / "slot-0" / "refused.jsonl"
    await until(aside.exists)
    assert b"poisoned" in aside.read_bytes()


async def test_it_deletes_segments_only_after_the_acknowledgement(fleet, engine):
    engine.pause = 0.0
    fleet.door.status = 500
    await fleet.start()
    await fleet.post(chat())
    await fleet.stop()
    spool = fleet.folder / "spool" / "slot-0"
    assert b'"served"' in b"".join(path.read_bytes() for path in spool.glob("*.seg"))
    fleet.door.status, fleet.session = 200, None
    await fleet.start()
    await fleet.events(1)
    await fleet.stop()
    assert b'"served"' not in b"".join(path.read_bytes() for path in spool.glob("*.seg"))


async def test_it_refuses_work_that_it_cannot_record(fleet, engine):
    engine.pause = 0.0
    fleet.environ["QM_GATEWAY_SPOOL_BYTES"] = "20000"
    fleet.door.status = 503
    await fleet.start()
    status, headers = 200, {}
    for _ in range(60):
        status, headers, _ = await fleet.post(chat())
        if status != 200:
            break
    assert status == 503 and headers["x-gw-reason"] == "metering"
    assert "retry-after-ms" in headers


async def test_it_reports_what_a_whole_worker_took_with_it(fleet, engine):
    """Another worker finds the reservation of one whose spool is gone for good."""
    engine.mode = "silent"
    fleet.publish(make_policy(limits=(make_limit(concurrency=5),)))
    await fleet.start()
    task = asyncio.ensure_future(fleet.post(chat()))
    await until(lambda: engine.running == 1)
    fleet.kill()
    await asyncio.gather(task, return_exceptions=True)
    for path in (fleet.folder / "spool" / "slot-0").glob("*.seg"):
        path.unlink()
    member = fleet.store.zrange(keys.open_reservations(1), 0, -1)[0]
    fleet.store.zincrby(keys.open_reservations(1), -200e6, member)  # long past its lease
    await fleet.start()
    (event,) = await fleet.events(1, seconds=25)
    assert event["reason"] == "worker_lost" and event["request_id"] == member.decode()
    assert fleet.store.zcard(keys.leases(1, 1)) == 0


async def test_it_runs_several_workers_on_one_port(fleet, engine):
    engine.pause = 0.0
    await fleet.start("--workers", "2")
    await asyncio.sleep(1.0)

    async def one(number):
        async with aiohttp.ClientSession() as session:
            sent = {"authorization": f"Bearer {GLOBEX_KEY}"}
            url = fleet.url + "/v1/chat/completions"
            async with session.post(url, json=chat(), headers=sent) as response:
                return response.status

    assert set(await asyncio.gather(*(one(number) for number in range(40)))) == {200}
    events = await fleet.events(40)
    assert {event["worker"][-1] for event in events} == {"0", "1"}


async def test_it_says_that_its_port_is_taken(fleet, engine):
    await fleet.start()
    first = fleet.process
    fleet.spawn()
    await until(lambda: fleet.process.poll() is not None)
    assert fleet.process.returncode == 3
    assert f"Port {fleet.port} of 127.0.0.1 cannot be used" in fleet.log()
    fleet.process = first
