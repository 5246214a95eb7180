"""The quota scripts on a real Valkey."""

import asyncio
import os
import signal

import pytest

from gateway.contract import keys
from gateway.contract.outcomes import Reason
from gateway.errors import Refusal
from gateway.limits.emergency import EmergencyLimits
from gateway.limits.limiter import Checkpoint, Limiter, Need, holds_for
from gateway.limits.wire import UnavailableError, Wire
from tests.gateway.fleet import make_limit

NEED = Need(tokens=100, micros=500)


@pytest.fixture
async def limiter(valkey, store):
    # On a crowded machine an answer may take long: one that comes too late is an emergency, which
    # admits by other limits.
    wire = Wire(valkey[2], timeout=60.0)
    task = asyncio.ensure_future(wire.keep_connected())
    await wire.is_connected.wait()
    yield Limiter(wire, EmergencyLimits(1))
    task.cancel()


async def reserve(limiter, number, *limits, need=NEED):
    return await limiter.reserve(str(number), 1, holds_for(limits, need), b"{}")


async def settle(limiter, reservation, *, tokens=100, micros=500, release=False):
    output = tokens // 4
    used = Checkpoint(
        tokens=tokens, micros=micros, prompt_tokens=tokens - output, completion_tokens=output
    )
    limiter.settle_soon(reservation, used, release=release)
    await limiter.drain()


async def admitted(limiter, count, *limits, need=NEED):
    """Reserve in parallel; return how many passed."""
    asked = [reserve(limiter, number, *limits, need=need) for number in range(count)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert all(a is not None for a in answers)
    unexpected = [a for a in answers if isinstance(a, Exception) and not isinstance(a, Refusal)]
    assert not unexpected
    return sum(not isinstance(answer, Refusal) for answer in answers)


def fund(store, limit, spent=0, kind="money"):
    name = keys.budget(1, limit.id, limit.budget_period, kind)
    store.eval(keys.PUBLISH_BUDGET, 1, name, spent, 1, 3600)
    return name


async def test_it_admits_exactly_the_concurrency_limit(limiter):
    assert await admitted(limiter, 1000, make_limit(concurrency=37)) == 37


async def test_it_admits_exactly_the_requests_of_a_minute(limiter):
    # One more would need 12 seconds.
    assert await admitted(limiter, 1000, make_limit(requests_per_minute=5)) == 5


async def test_it_admits_exactly_one_at_limit_minus_one(limiter):
    limit = make_limit(requests_per_minute=3)
    for number in ("a", "b"):
        await reserve(limiter, number, limit)
    assert await admitted(limiter, 1000, limit) == 1


async def test_it_admits_exactly_the_tokens_of_a_minute(limiter):
    # The third would need 99 tokens more, half a minute's.
    assert await admitted(limiter, 1000, make_limit(tokens_per_minute=201)) == 2


async def test_it_admits_exactly_the_budget(limiter, store):
    limit = make_limit(budget_micros=10_499, budget_period="2026-11")
    name = fund(store, limit)
    assert await admitted(limiter, 1000, limit) == 20
    assert store.hget(name, "held") == b"10000"


TOKENS = Need(tokens=100, micros=0, input_tokens=75, output_tokens=400)


@pytest.mark.parametrize(
    ("kind", "limit", "passed", "held"),
    [
        ("input_tokens", 75 * 20 + 74, 20, 75 * 20),
        ("output_tokens", 400 * 5, 5, 400 * 5),
        ("tokens", 475 * 7 - 1, 6, 475 * 6),
    ],
)
async def test_it_admits_exactly_the_tokens_of_a_budget(limiter, store, kind, limit, passed, held):
    bound = make_limit(**{f"budget_{kind}": limit}, budget_period="2026-11")
    name = fund(store, bound, kind=kind)
    assert await admitted(limiter, 200, bound, need=TOKENS) == passed
    assert store.hget(name, "held") == b"%d" % held


async def test_it_settles_each_budget_with_what_it_counts(limiter, store):
    kinds = ("money", "input_tokens", "output_tokens", "tokens")
    limit = make_limit(
        budget_micros=10_000, budget_input_tokens=1_000, budget_output_tokens=1_000,
        budget_tokens=2_000, budget_period="p",
    )  # fmt: skip
    names = [fund(store, limit, kind=kind) for kind in kinds]
    first = await reserve(limiter, 1, limit, need=Need(100, 500, 75, 400))
    assert [store.hget(n, "held") for n in names] == [b"500", b"75", b"400", b"475"]
    await settle(limiter, first, tokens=40, micros=123)
    assert [store.hmget(n, "held", "spent") for n in names] == [
        [b"0", b"123"],
        [b"0", b"30"],
        [b"0", b"10"],
        [b"0", b"40"],
    ]


async def test_it_refuses_when_only_the_tokens_of_the_month_are_used(limiter, store):
    limit = make_limit(budget_micros=10_000, budget_tokens=1_000, budget_period="p")
    money, tokens = fund(store, limit), fund(store, limit, spent=600, kind="tokens")
    with pytest.raises(Refusal) as refused:
        await reserve(limiter, 1, limit, need=Need(100, 500, 75, 400))
    assert (refused.value.code, refused.value.reason) == ("insufficient_quota", Reason.BUDGET)
    assert "600 of 1000 tokens of the budget" in refused.value.message
    assert "may need 475" in refused.value.message
    assert store.hget(money, "held") is store.hget(tokens, "held") is None


async def test_it_closes_a_budget_of_tokens_that_was_lost(limiter, store):
    limit = make_limit(budget_output_tokens=1_000, budget_period="p")
    with pytest.raises(Refusal) as refused:
        await reserve(limiter, 1, limit, need=TOKENS)
    assert refused.value.reason is Reason.BUDGET_UNVERIFIABLE


async def test_it_takes_nothing_when_one_of_several_limits_refuses(limiter, store):
    wide = make_limit(1, requests_per_minute=100, tokens_per_minute=10_000, concurrency=100)
    narrow = make_limit(2, concurrency=0, budget_micros=1_000_000, budget_period="p")
    name = fund(store, narrow)
    assert await admitted(limiter, 100, wide, narrow) == 0
    assert set(store.keys("*")) == {name.encode()}
    assert store.hget(name, "held") is None


async def test_it_says_when_to_come_back(limiter):
    limit = make_limit(requests_per_minute=6)  # one each 10 s
    for number in range(6):
        await reserve(limiter, number, limit)
    with pytest.raises(Refusal) as refused:
        await reserve(limiter, "late", limit)
    assert 9_000 < refused.value.retry_ms <= 10_000
    assert refused.value.reason is Reason.RPM and "6 of 6 requests" in refused.value.message


async def test_it_says_never_when_a_request_is_larger_than_its_limit(limiter):
    with pytest.raises(Refusal) as refused:
        await reserve(limiter, 1, make_limit(tokens_per_minute=99))
    assert refused.value.retry_ms is None and "needs 100 tokens" in refused.value.message
    assert (b"x-should-retry", b"false") in refused.value.headers()


async def test_it_refills_between_polls(limiter, store):
    limit = make_limit(requests_per_minute=60)
    for number in range(60):
        await reserve(limiter, number, limit)
    loop = asyncio.get_running_loop()
    start, passed = loop.time(), 0
    for number in range(30):  # polled ten times as often as it refills
        await asyncio.sleep(0.1)
        try:
            await reserve(limiter, f"poll {number}", limit)
            passed += 1
        except Refusal:
            continue
    assert abs(passed - (loop.time() - start)) <= 1  # one a second


async def test_it_gives_unused_tokens_back(limiter, store):
    limit = make_limit(tokens_per_minute=150)
    first = await reserve(limiter, 1, limit)
    await settle(limiter, first, tokens=10)
    assert await reserve(limiter, 2, limit)  # 10 + 100 of 150


async def test_it_never_refunds_more_than_a_full_bucket(limiter, store):
    limit = make_limit(tokens_per_minute=6000)  # 100 a second
    first = await reserve(limiter, 1, limit)
    await asyncio.sleep(1.2)  # the bucket is full again
    await settle(limiter, first, tokens=0)
    assert await admitted(limiter, 70, limit) == 60


async def test_it_lets_a_debt_be_repaid(limiter, store):
    limit = make_limit(tokens_per_minute=1000)
    first = await reserve(limiter, 1, limit)
    await settle(limiter, first, tokens=1_500)
    with pytest.raises(Refusal) as refused:
        await reserve(limiter, 2, limit)
    assert 34_000 < refused.value.retry_ms <= 36_000  # 600 tokens over


async def test_it_settles_once(limiter, store):
    limit = make_limit(concurrency=1, budget_micros=10_000, budget_period="p")
    name = fund(store, limit)
    first = await reserve(limiter, 1, limit)
    await settle(limiter, first, micros=123)
    first.is_settled = False
    await settle(limiter, first, micros=123)
    assert store.hmget(name, "spent", "held") == [b"123", b"0"]
    assert store.zcard(keys.leases(1, limit.id)) == 0
    assert store.zcard(keys.open_reservations(1)) == 0


async def test_it_releases_what_was_never_dispatched(limiter, store):
    limit = make_limit(requests_per_minute=1, tokens_per_minute=100, concurrency=1)
    first = await reserve(limiter, 1, limit)
    await settle(limiter, first, tokens=0, release=True)
    assert await reserve(limiter, 2, limit)


async def test_it_suspends_with_zero_and_has_no_opinion_without_a_number(limiter):
    assert await reserve(limiter, 1, make_limit()) is None
    with pytest.raises(Refusal):
        await reserve(limiter, 2, make_limit(requests_per_minute=0))


async def test_it_closes_a_budget_that_was_lost(limiter, store):
    limit = make_limit(budget_micros=10_000, budget_period="p", requests_per_minute=10)
    fund(store, limit)
    assert await reserve(limiter, 1, limit)
    store.flushall()
    with pytest.raises(Refusal) as refused:
        await reserve(limiter, 2, limit)
    assert refused.value.reason is Reason.BUDGET_UNVERIFIABLE and refused.value.status == 503
    fund(store, limit, spent=9_800)
    with pytest.raises(Refusal) as refused:
        await reserve(limiter, 3, limit)
    assert refused.value.code == "insufficient_quota"


async def test_it_does_not_take_late_news_of_the_ledger_for_a_refund(limiter, store):
    limit = make_limit(budget_micros=10_000, budget_period="p")
    name = fund(store, limit, spent=100)
    await settle(limiter, await reserve(limiter, 1, limit), micros=400)
    fund(store, limit, spent=200)  # the ledger has not seen the request yet
    assert store.hget(name, "spent") == b"500"
    fund(store, limit, spent=700)
    assert store.hget(name, "spent") == b"700"


async def test_it_frees_the_leases_of_a_dead_worker(limiter, store):
    limit = make_limit(
        concurrency=2, budget_micros=10_000, budget_output_tokens=10_000, budget_period="p"
    )
    name, output = fund(store, limit), fund(store, limit, kind="output_tokens")
    first = await reserve(limiter, 1, limit)
    second = await reserve(limiter, 2, limit)
    checkpoint = Checkpoint(tokens=7, micros=70, prompt_tokens=5, completion_tokens=2)
    await limiter.renew(first, checkpoint)
    for member in (b"1", b"2"):  # as if their lease had ended a minute ago
        store.zincrby(keys.open_reservations(1), -100e6, member)
        store.zincrby(keys.leases(1, limit.id), -100e6, member)
    assert await reserve(limiter, 3, limit) and await reserve(limiter, 4, limit)
    found = await limiter.reap(1)
    assert [item[1] for item in found] == [None, checkpoint] or [item[1] for item in found] == [
        checkpoint,
        None,
    ]
    assert store.hmget(name, "spent", "held") == [b"70", b"1000"]
    assert store.hget(output, "spent") == b"2"
    assert await limiter.reap(1) == []
    await settle(limiter, second)  # it was only away: nothing is counted twice
    assert store.hmget(name, "spent", "held") == [b"70", b"1000"]


async def test_it_keeps_replies_apart_when_callers_are_cancelled(limiter):
    wire = limiter.wire

    async def echo(number):
        text = f"value {number}"
        assert await wire.call("ECHO", text) == text.encode()

    for round_number in range(200):
        tasks = [asyncio.ensure_future(echo(f"{round_number}.{n}")) for n in range(20)]
        await asyncio.sleep(0)
        for task in tasks[:: 1 + round_number % 5]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [r for r in results if isinstance(r, Exception)]


async def test_it_answers_in_time_when_the_store_hangs(valkey, store):
    wire = Wire(valkey[2], timeout=0.05)
    task = asyncio.ensure_future(wire.keep_connected())
    await wire.is_connected.wait()
    limiter = Limiter(wire, EmergencyLimits(4))
    limit = make_limit(requests_per_minute=20)
    os.kill(valkey[0].pid, signal.SIGSTOP)
    try:
        loop = asyncio.get_running_loop()
        start = loop.time()
        passed = await admitted(limiter, 200, limit)
        assert passed == 5  # 20 by 4 gateways
        assert loop.time() - start < 5  # one after another they would wait for 10 s
        budget = make_limit(2, budget_micros=100, budget_period="p")
        with pytest.raises(Refusal) as refused:
            await reserve(limiter, "money", budget)
        assert refused.value.reason is Reason.BUDGET_UNVERIFIABLE
        with pytest.raises(UnavailableError):
            await wire.call("PING")
    finally:
        os.kill(valkey[0].pid, signal.SIGCONT)
    async with asyncio.timeout(5):
        while True:
            try:
                assert await wire.call("PING") == b"PONG"
                break
            except UnavailableError:
                await asyncio.sleep(0.05)
    task.cancel()
