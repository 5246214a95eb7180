"""A service that sleeps: its requests wait in a bounded room until an engine answers."""

import asyncio

import msgspec
import pytest

from gateway.contract import keys
from gateway.contract.outcomes import TrafficClass
from gateway.contract.policy import DataPolicy
from gateway.contract.routing import WaitingRoom
from gateway.contract.usage import WorkerReport, waking_ms
from gateway.errors import Refusal
from gateway.pools import Pools, Wish
from gateway.snapshots import BrokenSnapshotError, Routing, decode_routing
from gateway.waiting import WaitingRooms, left_of_start
from tests.gateway.fleet import (
    GLOBEX_KEY,
    chat,
    make_limit,
    make_policy,
    make_pool,
    make_routing,
    make_service,
    make_tenant,
    until,
)

ANY_DATA = DataPolicy()
INTERACTIVE, CRITICAL = TrafficClass.INTERACTIVE, TrafficClass.CRITICAL


def room(**changes):
    return WaitingRoom(**({"most": 8, "wait_seconds": 30.0, "start_seconds": 20.0} | changes))


def asleep(*pools, **changes):
    return make_service(*(pools or (make_pool("a"),)), waiting_room=room(**changes))


def make_rooms(service, shares=1):
    pools, rung = Pools(workers=1), []
    pools.update(Routing(make_routing(service)))
    return WaitingRooms(pools, shares, rung.append), pools, rung


def wish(service, tenant_id=1, traffic_class=INTERACTIVE, data_policy=ANY_DATA):
    return Wish(service, data_policy, tenant_id, traffic_class, 1, 100.0)


async def enter(rooms, *wishes, order=None):
    tasks = []
    for number, one in enumerate(wishes):

        async def waits(one=one, number=number):
            await rooms.wait(one)
            if order is not None:
                order.append(number)

        tasks.append(asyncio.ensure_future(waits()))
        await asyncio.sleep(0)
    return tasks


def wake(rooms, pools, service):
    pools.update(Routing(make_routing(service)))
    rooms.update()


async def test_who_asks_a_service_that_is_awake_does_not_wait():
    for service in (make_service(make_pool("a")), asleep(make_pool("a", "h:1"))):
        rooms, _, rung = make_rooms(service)
        await rooms.wait(wish(service))
        assert rung == []


async def test_only_the_first_one_rings_and_all_go_on_when_an_engine_answers():
    service = asleep()
    rooms, pools, rung = make_rooms(service)
    tasks = await enter(rooms, *(wish(service, tenant) for tenant in (1, 2, 3)))
    assert (rung, rooms.report(), rooms.size) == ([7], {7: 3}, 3)
    wake(rooms, pools, asleep(make_pool("a", "h:1")))
    await asyncio.gather(*tasks)
    assert rooms.report() == {}


async def test_the_higher_class_goes_first_and_tenants_by_turns():
    service = asleep(most=20)
    rooms, pools, _ = make_rooms(service)
    order = []
    wishes = [wish(service, 1), wish(service, 1), wish(service, 2), wish(service, 3, CRITICAL)]
    tasks = await enter(rooms, *wishes, order=order)
    wake(rooms, pools, asleep(make_pool("a", "h:1")))
    await asyncio.gather(*tasks)
    assert order == [3, 0, 2, 1]


async def test_a_full_room_refuses_at_once_with_what_is_left_of_the_start():
    service = asleep(most=4)
    rooms, _, _ = make_rooms(service)
    tasks = await enter(rooms, wish(service, 1), wish(service, 1))
    with pytest.raises(Refusal) as refused:  # half of the room is all that a tenant may fill
        await rooms.wait(wish(service, 1))
    assert (refused.value.status, refused.value.reason) == (503, "room_full")
    assert 20_000 <= refused.value.retry_ms <= 25_000
    tasks += await enter(rooms, wish(service, 2))
    with pytest.raises(Refusal, match="3 requests wait for it already"):
        await rooms.wait(wish(service, 3))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert rooms.size == 0  # who left takes no place


async def test_workers_share_the_room():
    service = asleep(most=4)
    rooms, _, _ = make_rooms(service, shares=4)
    tasks = await enter(rooms, wish(service, 1))
    with pytest.raises(Refusal):
        await rooms.wait(wish(service, 2))
    tasks[0].cancel()


async def test_who_waited_long_enough_is_told_when_to_come_back():
    service = asleep(wait_seconds=0.01)
    rooms, _, _ = make_rooms(service)
    with pytest.raises(Refusal) as refused:
        await rooms.wait(wish(service))
    found = refused.value
    assert (found.status, found.outcome, found.reason) == (503, "timed_out", "waking")
    assert found.retry_ms >= 20_000


async def test_an_engine_that_may_not_see_the_data_wakes_nobody():
    service = asleep()
    rooms, pools, _ = make_rooms(service)
    here = wish(service, data_policy=DataPolicy(residency=("eu",)))
    there = wish(service, data_policy=DataPolicy(residency=("us",)))
    tasks = await enter(rooms, here, there)
    us = make_pool("b", region="us")
    wake(rooms, pools, asleep(make_pool("a", "h:1"), us))
    await tasks[0]
    assert rooms.size == 1
    wake(rooms, pools, make_service(make_pool("a", "h:1"), us))  # no room any more
    await tasks[1]


async def test_a_room_without_places_is_no_snapshot():
    for changes in ({"most": 0}, {"wait_seconds": 0.0}, {"start_seconds": -1.0}):
        raw = msgspec.json.encode(make_routing(asleep(**changes)))
        with pytest.raises(BrokenSnapshotError, match="without places or time"):
            decode_routing(raw)
    assert decode_routing(msgspec.json.encode(make_routing(asleep())))


def test_what_is_left_of_a_start_is_counted_from_its_order():
    assert left_of_start(room(), 1000.0) == 20.0
    assert left_of_start(room(since=995.0), 1000.0) == 15.0
    assert left_of_start(room(since=900.0), 1000.0) == 2.0  # late: a tenth of a start
    assert left_of_start(room(start_seconds=3.0, since=900.0), 1000.0) == 1.0


def test_the_wait_is_read_back_from_its_modifier():
    assert waking_ms(("rerouted", "waking:4210")) == 4210.0
    assert waking_ms(("waking:", "waking:x", "waking")) is None


# From here on a gateway process.


def report(fleet):
    raw = fleet.store.get(keys.report(f"test-{fleet.port}-0"))
    return msgspec.json.decode(raw, type=WorkerReport) if raw else None


@pytest.fixture
def bell(fleet):
    with fleet.store.pubsub() as heard:
        heard.subscribe(keys.WAKE_CHANNEL)
        heard.get_message(timeout=5)
        yield heard


async def rung(bell):
    return await asyncio.to_thread(bell.get_message, timeout=5)


@pytest.mark.parametrize("stream", [False, True])
async def test_the_first_request_rings_waits_and_is_answered(fleet, bell, stream):
    engine = await fleet.add_engine()
    fleet.publish(routing=make_routing(asleep()))
    await fleet.start()
    waiting = asyncio.ensure_future(fleet.post(chat(stream=stream)))
    message = await rung(bell)
    assert message["data"] == b"7"
    assert report(fleet).waking == {7: 1}  # was written before the bell
    fleet.publish(routing=make_routing(asleep(make_pool("b", engine.address), since=1.0)))
    status, headers, body = await waiting
    assert status == 200 and headers["x-gw-pool"] == "b"
    (event,) = await fleet.events(1)
    assert event["outcome"] == "served"
    waited = waking_ms(event["modifiers"])
    assert waited > 0
    assert event["queue_ms"] < waited <= event["ttft_ms"] if stream else True
    assert body.startswith(b"data: ") is stream  # nothing came before the answer


async def test_a_wait_that_is_too_long_is_no_failure_of_an_engine_and_costs_nothing(fleet):
    fleet.publish(
        make_policy(limits=(make_limit(requests_per_minute=1, budget_micros=100_000,
                                       budget_period="2026-11", budget_ends_at=4e9),)),
        make_routing(asleep(wait_seconds=0.2, start_seconds=40.0)),
    )  # fmt: skip
    fleet.store.hset(keys.budget(1, 1, "2026-11"), mapping={"spent": 0, "gen": "1"})
    await fleet.start()
    for _ in range(3):  # what waited in vain was given back: the limit does not refuse
        status, headers, body = await fleet.post(chat())
        assert (status, headers["x-gw-reason"]) == (503, "waking")
        assert b"model_waking" in body
        assert 40 <= int(headers["retry-after"]) <= 50
        assert headers["x-should-retry"] == "true"
    events = await fleet.events(3)
    assert {(e["outcome"], e["reason"]) for e in events} == {("timed_out", "waking")}
    assert {(e["prompt_tokens"], e["completion_tokens"], e["gpu_ms"]) for e in events} == {
        (0, 0, 0)
    }
    assert all(waking_ms(e["modifiers"]) >= 200 for e in events)


async def test_a_client_that_leaves_frees_its_place(fleet):
    fleet.publish(routing=make_routing(asleep(most=1)))
    await fleet.start()
    for _ in range(3):
        waiting = asyncio.ensure_future(fleet.post(chat()))
        await until(lambda: (report(fleet) or WorkerReport).waking == {7: 1})
        status, headers, _ = await fleet.post(chat(), key=GLOBEX_KEY)
        assert (status, headers["x-gw-reason"]) == (503, "room_full")
        waiting.cancel()
        await until(lambda: report(fleet).waking == {})
    events = await fleet.events(6)
    found = [(e["outcome"], e["reason"], e["usage_quality"]) for e in events]
    assert sorted(set(found)) == [
        ("cancelled", "client_left", "none"),
        ("shed", "room_full", "none"),
    ]


async def test_a_tenants_concurrency_counts_while_it_waits(fleet):
    fleet.publish(make_policy(limits=(make_limit(concurrency=1),)), make_routing(asleep()))
    await fleet.start()
    waiting = asyncio.ensure_future(fleet.post(chat()))
    await until(lambda: (report(fleet) or WorkerReport).waking == {7: 1})
    status, headers, _ = await fleet.post(chat())
    assert (status, headers["x-gw-reason"]) == (429, "concurrency")
    waiting.cancel()


async def test_a_stand_in_answers_whom_the_room_does_not_take(fleet):
    engine = await fleet.add_engine()
    other = make_service(make_pool("o", engine.address), name="other", id=8)
    service = msgspec.structs.replace(asleep(wait_seconds=0.2), fallbacks=("other",))
    fleet.publish(routing=make_routing(service, other))
    await fleet.start()
    status, headers, _ = await fleet.post(chat())
    assert (status, headers["x-gw-rerouted-from"]) == (200, "tiny")
    (event,) = await fleet.events(1)
    assert event["outcome"] == "rerouted" and waking_ms(event["modifiers"]) >= 200


async def test_who_may_not_use_it_wakes_nobody(fleet, bell):
    tenants = {1: make_tenant(1, "acme"), 2: make_tenant(2, "globex", models=("other",))}
    fleet.publish(make_policy(tenants=tenants), make_routing(asleep()))
    await fleet.start()
    status, _, _ = await fleet.post(chat(), key=GLOBEX_KEY)
    assert status == 404
    assert bell.get_message(timeout=0.5) is None
