"""Seats, weights, fairness and the bounded line."""

import asyncio
from collections import Counter

import pytest

from gateway.contract.outcomes import Reason, TrafficClass
from gateway.contract.policy import DataPolicy
from gateway.contract.routing import Objective
from gateway.errors import Refusal
from gateway.fairness import HALF_LIFE
from gateway.pools import Pools, Wish
from gateway.snapshots import Routing
from tests.gateway.fleet import make_pool, make_routing, make_service

BATCH, INTERACTIVE = TrafficClass.BATCH, TrafficClass.INTERACTIVE
CRITICAL = TrafficClass.CRITICAL
ANY_DATA = DataPolicy()


def make_pools(*pools, workers=1, **changes):
    service = make_service(*pools, **changes)
    state = Pools(workers=workers)
    state.update(Routing(make_routing(service)))
    return state, service


def wish(service, tenant_id=1, traffic_class=INTERACTIVE, seats=1, work=100.0):
    return Wish(service, ANY_DATA, tenant_id, traffic_class, seats, work)


async def test_it_follows_the_weights_smoothly():
    pools, service = make_pools(make_pool("a", "h:1", weight=3), make_pool("b", "h:2", weight=1))
    taken = [pools.take(wish(service), 0.0).pool.id for _ in range(8)]
    assert taken == ["a", "a", "b", "a", "a", "a", "b", "a"]


async def test_it_takes_the_endpoint_with_least_in_flight():
    pools, service = make_pools(make_pool("a", "h:1", "h:2", "h:3"))
    seats = [pools.take(wish(service), 0.0) for _ in range(9)]
    assert set(Counter(seat.endpoint.address for seat in seats).values()) == {3}
    for seat in seats:
        if seat.endpoint.address == "h:2":
            pools.give_back(seat)
    assert {pools.take(wish(service), 0.0).endpoint.address for _ in range(3)} == {"h:2"}


async def test_it_gives_lower_classes_less_of_a_pool():
    for traffic_class, want in ((CRITICAL, 110), (INTERACTIVE, 99), (BATCH, 77)):
        pools, service = make_pools(make_pool("a", "h:1", max_num_seqs=100))
        taken = 0
        while pools.take(wish(service, traffic_class=traffic_class), 0.0):
            taken += 1
        assert taken == want


async def test_it_shares_a_pool_with_the_other_workers():
    pools, _ = make_pools(make_pool("a", "h:1", max_num_seqs=100), workers=4)
    assert pools.report()["a"].limit == 27


async def test_it_seats_a_large_request_in_an_empty_pool_only():
    pools, service = make_pools(make_pool("a", "h:1", max_num_seqs=2))
    large = pools.take(wish(service, seats=16), 0.0)
    assert large and pools.take(wish(service), 0.0) is None
    pools.give_back(large)
    assert pools.take(wish(service), 0.0)


async def test_it_lets_an_unreachable_endpoint_rest():
    pools, service = make_pools(make_pool("a", "h:1", "h:2"))
    seat = pools.take(wish(service), 0.0)
    pools.failed(seat, 0.0)
    pools.give_back(seat)
    others = {pools.take(wish(service), 0.5).endpoint.address for _ in range(4)}
    assert others == {"h:1", "h:2"} - {seat.endpoint.address}
    assert pools.take(wish(service), 1.5).endpoint.address == seat.endpoint.address


async def queued(pools, service, count, **changes):
    now = asyncio.get_running_loop().time()
    tasks = []
    for _ in range(count):
        tasks.append(asyncio.ensure_future(pools.wait(wish(service, **changes), now)))
        await asyncio.sleep(0)
    return tasks


async def order_of_service(pools, first, tasks):
    """Give back one seat after the other; return which task was seated when."""
    order, seat = [], first
    pending = dict(enumerate(tasks))
    while pending:
        pools.give_back(seat)
        await asyncio.sleep(0.001)
        number = next(n for n, task in pending.items() if task.done())
        seat = pending.pop(number).result()
        order.append(number)
    return order


async def test_it_serves_the_higher_class_first():
    pools, service = make_pools(make_pool("a", "h:1", max_num_seqs=1))
    first = pools.take(wish(service, traffic_class=BATCH), 0.0)
    tasks = await queued(pools, service, 2, traffic_class=INTERACTIVE)
    tasks += await queued(pools, service, 2, traffic_class=CRITICAL)
    assert await order_of_service(pools, first, tasks) == [2, 3, 0, 1]


async def test_it_never_starves_batch_below_its_floor():
    pools, service = make_pools(make_pool("a", "h:1", max_num_seqs=1))
    first = pools.take(wish(service, traffic_class=CRITICAL), 0.0)
    tasks = await queued(pools, service, 3, traffic_class=CRITICAL)
    tasks += await queued(pools, service, 1, traffic_class=BATCH)
    assert (await order_of_service(pools, first, tasks))[0] == 3


async def test_it_takes_turns_between_tenants():
    pools, service = make_pools(make_pool("a", "h:1", max_num_seqs=1))
    first = pools.take(wish(service, tenant_id=3), 0.0)
    tasks = await queued(pools, service, 6, tenant_id=1)
    tasks += await queued(pools, service, 3, tenant_id=2)
    order = await order_of_service(pools, first, tasks)
    tenants = [1 if number < 6 else 2 for number in order]
    assert tenants[:6].count(2) == 3  # although globex came after all of acme's


async def test_it_serves_the_tenant_with_small_requests_more_often():
    pools, service = make_pools(make_pool("a", "h:1", max_num_seqs=1))
    first = pools.take(wish(service, tenant_id=3), 0.0)
    tasks = await queued(pools, service, 6, tenant_id=1, work=900.0)
    tasks += await queued(pools, service, 6, tenant_id=2, work=300.0)
    order = await order_of_service(pools, first, tasks)
    tenants = [1 if number < 6 else 2 for number in order[:8]]
    assert tenants.count(2) == 6


async def test_it_forgets_what_was_served_long_ago():
    pools, service = make_pools(make_pool("a", "h:1"))
    pools.take(wish(service, work=800.0), 0.0)
    line = pools._lines["tiny"]
    assert line.attained(1, HALF_LIFE * 3) == pytest.approx(100.0)


async def test_it_lets_no_newcomer_overtake_its_class():
    pools, service = make_pools(make_pool("a", "h:1", max_num_seqs=1))
    seat = pools.take(wish(service), 0.0)
    (task,) = await queued(pools, service, 1)
    assert pools.must_wait(wish(service)) and not pools.must_wait(
        wish(service, traffic_class=CRITICAL)
    )
    pools.give_back(seat)
    await task
    assert not pools.must_wait(wish(service))


async def test_it_bounds_the_line_for_all_and_for_each():
    pools, service = make_pools(make_pool("a", "h:1", max_num_seqs=1), max_queue=10)
    pools.take(wish(service), 0.0)
    tasks = await queued(pools, service, 5, tenant_id=1)
    with pytest.raises(Refusal) as refused:
        await pools.wait(wish(service, tenant_id=1), 0.0)
    assert refused.value.reason is Reason.POOL_FULL
    tasks += await queued(pools, service, 4, tenant_id=2)
    with pytest.raises(Refusal):  # 9 of 10 is all that interactive may fill
        await pools.wait(wish(service, tenant_id=3), 0.0)
    tasks += await queued(pools, service, 1, tenant_id=3, traffic_class=CRITICAL)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert pools._lines["tiny"].size == 0


async def test_it_returns_a_seat_that_arrives_as_its_client_leaves():
    pools, service = make_pools(make_pool("a", "h:1", max_num_seqs=1))
    seat = pools.take(wish(service), 0.0)
    (task,) = await queued(pools, service, 1)
    pools.give_back(seat)  # seats the waiter ...
    task.cancel()  # ... which is cancelled before it runs
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled() and pools.report()["a"].in_flight == 0


async def test_it_seats_those_who_wait_when_a_pool_grows():
    small = dict.fromkeys(TrafficClass, Objective(ttft_ms=1, itl_ms=1, queue_ms=5000))
    pools, service = make_pools(make_pool("a", "h:1", max_num_seqs=1), objectives=small)
    pools.take(wish(service), 0.0)
    tasks = await queued(pools, service, 3)
    grown = make_service(make_pool("a", "h:1", "h:2", "h:3", "h:4", max_num_seqs=1))
    pools.update(Routing(make_routing(grown)))
    assert {(await task).endpoint.address for task in tasks} == {"h:2", "h:3", "h:4"}


async def test_it_keeps_counts_over_snapshots_and_forgets_pods_that_went():
    pools, service = make_pools(make_pool("a", "h:1", "h:2"))
    seat = pools.take(wish(service), 0.0)
    other = next(a for a in ("h:1", "h:2") if a != seat.endpoint.address)
    pools.update(Routing(make_routing(make_service(make_pool("a", "h:3")))))
    assert pools.report()["a"].in_flight == 1
    assert other not in pools._states["a"].endpoints
    pools.give_back(seat)
    assert pools.report()["a"].in_flight == 0
