"""Engines that fail, clients that leave, queues that fill: one honest outcome each."""

import asyncio
import contextlib
import signal
import socket

import aiohttp
import pytest

from gateway.contract import keys
from gateway.contract.outcomes import TrafficClass
from gateway.contract.routing import Objective
from tests.gateway.engines import PROMPT_TOKENS
from tests.gateway.fleet import (
    ACME_KEY,
    chat,
    make_limit,
    make_policy,
    make_pool,
    make_routing,
    make_service,
    until,
)

STREAM_FAULTS = {
    # mode: (outcome, reason, quality)
    "reports an error": ("failed", "upstream_error", "continuous"),
    "aborts": ("failed", "upstream_abort", "final"),
    "breaks": ("failed", "upstream_error", "continuous"),
    "goes silent": ("timed_out", "upstream_time", "continuous"),
}


async def serve(fleet, *engines, **changes):
    """Publish one pool with these engines and start the gateway."""
    pool = make_pool("a", *(engine.address for engine in engines))
    fleet.publish(routing=make_routing(make_service(pool, **changes)))
    await fleet.start()


@pytest.mark.parametrize("mode", STREAM_FAULTS)
async def test_it_does_not_take_a_failed_stream_for_served(fleet, mode):
    engine = await fleet.add_engine(mode=mode)
    await serve(fleet, engine, chunk_seconds=0.5)
    status, _, body = await fleet.post(chat(stream=True))
    assert status == 200 and b"w1 " in body
    assert mode == "aborts" or b'"error"' in body
    (event,) = await fleet.events(1)
    assert (event["outcome"], event["reason"], event["usage_quality"]) == STREAM_FAULTS[mode]
    assert event["prompt_tokens"] == PROMPT_TOKENS and event["completion_tokens"] >= 1
    assert event["http_status"] == 200


async def test_it_does_not_take_an_aborted_answer_for_served(fleet):
    await serve(fleet, await fleet.add_engine(mode="aborts"))
    status, _, body = await fleet.post(chat())
    assert status == 502 and b"upstream_error" in body
    (event,) = await fleet.events(1)
    assert (event["outcome"], event["reason"]) == ("failed", "upstream_abort")


# An answer that is not streamed is silent until its end, so silence says nothing there.
@pytest.mark.parametrize(
    ("mode", "stream"),
    [("full", True), ("full", False), ("shut down", True), ("shut down", False), ("silent", True)],
)
async def test_it_reroutes_once_before_the_first_byte(fleet, mode, stream):
    bad, good = await fleet.add_engine(mode=mode), await fleet.add_engine()
    await serve(fleet, bad, good, chunk_seconds=0.5)
    status, headers, _ = await fleet.post(chat(stream=stream))
    assert status == 200 and headers["x-gw-rerouted-from"] == f"pod-{bad.address}"
    (event,) = await fleet.events(1)
    assert event["outcome"] == "rerouted" and event["rerouted_from"] == f"pod-{bad.address}"
    assert event["pod"] == f"pod-{good.address}"
    assert event["prompt_tokens"] == PROMPT_TOKENS and event["completion_tokens"] == 5
    assert len(bad.requests) == len(good.requests) == 1


async def test_it_reroutes_away_from_an_engine_that_is_gone(fleet):
    gone, good = await fleet.add_engine(), await fleet.add_engine()
    await gone.stop()
    fleet.engines.remove(gone)
    await serve(fleet, gone, good)
    for _ in range(20):
        assert (await fleet.post(chat()))[0] == 200
    events = await fleet.events(20)
    # It rests after the first failure instead of costing each request an attempt.
    assert 1 <= sum(event["outcome"] == "rerouted" for event in events) <= 2


@contextlib.contextmanager
def black_hole():
    """The address of a node that was lost: nothing refuses a connection, nothing takes one."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        with contextlib.ExitStack() as waiting:
            for _ in range(4):  # fill what the kernel keeps for a listener that never accepts
                one = waiting.enter_context(socket.socket())
                one.setblocking(False)
                one.connect_ex(address)
            yield f"127.0.0.1:{address[1]}"


async def test_it_reroutes_away_from_an_engine_whose_node_was_lost(fleet):
    good = await fleet.add_engine()
    with black_hole() as lost:
        fleet.publish(routing=make_routing(make_service(make_pool("a", lost, good.address))))
        await fleet.start()
        for _ in range(6):
            assert (await fleet.post(chat()))[0] == 200
    events = await fleet.events(6)
    # It rests as one that refuses: not every second request waits until nothing comes.
    assert 1 <= sum(event["outcome"] == "rerouted" for event in events) <= 2


async def test_it_says_that_an_engine_takes_no_connection(fleet):
    with black_hole() as lost:
        fleet.publish(routing=make_routing(make_service(make_pool("a", lost))))
        await fleet.start()
        status, _, body = await fleet.post(chat())
    assert status == 502 and b"did not take a connection" in body
    (event,) = await fleet.events(1)
    assert (event["outcome"], event["reason"]) == ("failed", "upstream_error")


async def test_it_asks_the_only_engine_again_when_an_idle_connection_breaks(fleet):
    engine = await fleet.add_engine(mode="hangs up once")
    await serve(fleet, engine)
    status, _, _ = await fleet.post(chat())
    assert status == 200 and len(engine.requests) == 2
    (event,) = await fleet.events(1)
    assert event["outcome"] == "served" and event["completion_tokens"] == 5


async def test_it_sheds_when_every_engine_is_full(fleet):
    engines = [await fleet.add_engine(mode="full") for _ in range(3)]
    await serve(fleet, *engines)
    waits = set()
    for _ in range(5):
        status, headers, body = await fleet.post(chat())
        assert status == 503 and b"overloaded" in body
        assert headers["x-should-retry"] == "true" and headers["x-gw-reason"] == "pool_full"
        waits.add(headers["retry-after-ms"])
    assert len(waits) > 1
    assert sum(len(engine.requests) for engine in engines) == 10  # two attempts each, never three
    await fleet.events(5)
    assert fleet.door.outcomes() == {"shed": 5}


async def test_it_passes_an_engines_refusal_on(fleet):
    await serve(fleet, await fleet.add_engine(mode="refuses"))
    status, _, body = await fleet.post(chat())
    assert status == 400 and b"longer than the context" in body
    (event,) = await fleet.events(1)
    assert (event["outcome"], event["reason"]) == ("rejected", "engine_refused")


async def test_it_times_out_when_the_whole_request_takes_too_long(fleet):
    await serve(fleet, await fleet.add_engine(think=30), request_seconds=0.5)
    status, _, body = await fleet.post(chat())
    assert status == 504 and b"upstream_timeout" in body
    await fleet.events(1)
    assert fleet.door.outcomes() == {"timed_out": 1}


@pytest.mark.parametrize("stream", [True, False])
async def test_it_closes_the_engine_when_the_client_leaves(fleet, stream):
    engine = await fleet.add_engine(tokens=1000, pause=0.01)
    await serve(fleet, engine)
    task = asyncio.ensure_future(fleet.post(chat(stream=stream, max_tokens=1000)))
    await until(lambda: engine.running == 1)
    await asyncio.sleep(0.3)
    task.cancel()
    loop = asyncio.get_running_loop()
    start = loop.time()
    await until(lambda: engine.running == 0)
    assert loop.time() - start < 5  # by itself it would answer for 10 s
    (event,) = await fleet.events(1)
    assert (event["outcome"], event["http_status"]) == ("cancelled", 499)
    if stream:
        assert event["usage_quality"] == "continuous"
        assert event["prompt_tokens"] == PROMPT_TOKENS and event["completion_tokens"] > 5
    else:
        assert event["usage_quality"] == "estimated" and event["completion_tokens"] == 0


async def test_it_sums_the_outputs_of_a_cancelled_request(fleet):
    engine = await fleet.add_engine(tokens=1000, pause=0.05)
    await serve(fleet, engine)
    sent = {"authorization": f"Bearer {ACME_KEY}"}
    body = chat(stream=True, n=4, max_tokens=1000)
    async with fleet.session.post(
        fleet.url + "/v1/chat/completions", json=body, headers=sent
    ) as response:
        await response.content.readuntil(b"w3 ")
        await asyncio.sleep(0.03)
        response.close()
    (event,) = await fleet.events(1)
    assert event["completion_tokens"] in (12, 16) and event["prompt_tokens"] == PROMPT_TOKENS


async def test_it_counts_running_usage_once(fleet):
    await serve(fleet, await fleet.add_engine(tokens=50))
    options = {"include_usage": True, "continuous_usage_stats": True}
    await fleet.post(chat(stream=True, max_tokens=50, stream_options=options))
    (event,) = await fleet.events(1)
    assert event["completion_tokens"] == 50 and event["prompt_tokens"] == PROMPT_TOKENS


async def test_it_bounds_the_queue_and_names_each_outcome(fleet):
    engine = await fleet.add_engine(think=0.3)
    pool = make_pool("a", engine.address, max_num_seqs=10)
    quick = dict.fromkeys(TrafficClass, Objective(ttft_ms=1000, itl_ms=100, queue_ms=450))
    service = make_service(pool, objectives=quick, max_queue=20)
    fleet.publish(routing=make_routing(service))
    await fleet.start()
    answers = await asyncio.gather(*(fleet.post(chat()) for _ in range(100)))
    statuses = [status for status, _, _ in answers]
    events = await fleet.events(100)
    outcomes = fleet.door.outcomes()
    assert engine.peak <= 11
    assert outcomes["served"] == statuses.count(200) > 0
    assert outcomes["shed"] > 50  # the tenant may fill half of the line
    assert sum(outcomes.values()) == 100 and set(outcomes) <= {"served", "shed", "timed_out"}
    assert all(event["queue_ms"] is not None for event in events)


async def test_it_times_out_in_the_queue(fleet):
    engine = await fleet.add_engine(mode="silent")
    pool = make_pool("a", engine.address, max_num_seqs=1)
    quick = dict.fromkeys(TrafficClass, Objective(ttft_ms=1000, itl_ms=100, queue_ms=200))
    fleet.publish(routing=make_routing(make_service(pool, objectives=quick)))
    fleet.publish(make_policy(limits=(make_limit(requests_per_minute=2),)))
    await fleet.start()
    running = asyncio.ensure_future(fleet.post(chat(stream=True)))
    await until(lambda: engine.running == 1)
    for _ in range(3):  # what waited in vain was given back: the limit does not refuse
        status, _, body = await fleet.post(chat())
        assert status == 503 and b"queue_timeout" in body
    running.cancel()


async def test_it_takes_a_client_that_left_out_of_the_queue(fleet):
    engine = await fleet.add_engine(mode="silent")
    pool = make_pool("a", engine.address, max_num_seqs=1)
    fleet.publish(routing=make_routing(make_service(pool, max_queue=2)))
    await fleet.start()
    running = asyncio.ensure_future(fleet.post(chat()))
    await until(lambda: engine.running == 1)
    for _ in range(5):  # each would fill the line if it stayed
        waiting = asyncio.ensure_future(fleet.post(chat()))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.sleep(0.1)
    events = await fleet.events(5)
    assert {event["outcome"] for event in events} == {"cancelled"}
    assert {event["usage_quality"] for event in events} == {"none"}
    assert len(engine.requests) == 1
    running.cancel()


async def test_it_waits_for_a_pool_that_comes(fleet):
    engine = await fleet.add_engine()
    fleet.publish(routing=make_routing(make_service(make_pool("a"))))
    await fleet.start()
    waiting = asyncio.ensure_future(fleet.post(chat()))
    await asyncio.sleep(0.3)
    fleet.publish(routing=make_routing(make_service(make_pool("b", engine.address))))
    status, headers, _ = await waiting
    assert status == 200 and headers["x-gw-pool"] == "b"
    fleet.publish(routing=make_routing(make_service(make_pool("a"))))
    await asyncio.sleep(0.3)
    status, headers, _ = await fleet.post(chat())
    assert status == 503 and headers["x-gw-reason"] == "no_endpoint"


async def test_it_divides_traffic_by_release_weight(fleet):
    old, new = await fleet.add_engine(), await fleet.add_engine()
    pools = make_pool("old", old.address, weight=90), make_pool("new", new.address, weight=10)
    fleet.publish(routing=make_routing(make_service(*pools)))
    await fleet.start()
    for _ in range(50):
        await fleet.post(chat())
    assert (len(old.requests), len(new.requests)) == (45, 5)
    pools = make_pool("old", old.address, weight=0), make_pool("new", new.address)
    fleet.publish(routing=make_routing(make_service(*pools)))
    await asyncio.sleep(0.3)
    for _ in range(5):
        await fleet.post(chat())
    assert (len(old.requests), len(new.requests)) == (45, 10)


async def test_it_serves_under_emergency_limits_when_the_quota_store_is_gone(fleet, valkey):
    engine = await fleet.add_engine()
    fleet.publish(make_policy(limits=(make_limit(requests_per_minute=5),)))
    fleet.environ["QM_GATEWAY_STORE_MS"] = "100"
    await serve(fleet, engine)
    assert (await fleet.post(chat()))[0] == 200
    fleet.store.execute_command("CLIENT", "PAUSE", 3000, "ALL")
    answers = [await fleet.post(chat()) for _ in range(8)]
    assert [status for status, _, _ in answers] == [200] * 5 + [429] * 3
    assert answers[0][1]["x-gw-degraded"] == "quota"
    await fleet.events(9)
    assert fleet.door.outcomes() == {"served": 1, "degraded": 5, "rejected": 3}


async def test_it_refuses_by_concurrency_and_frees_at_the_end(fleet):
    engine = await fleet.add_engine(go_on=asyncio.Event())
    fleet.publish(make_policy(limits=(make_limit(concurrency=20),)))
    await serve(fleet, engine)
    sent = [asyncio.ensure_future(fleet.post(chat())) for _ in range(1000)]
    # However long a busy machine takes to refuse the others: nobody's lease ends before.
    await until(lambda: sum(one.done() for one in sent) >= 980, 120)
    engine.go_on.set()
    statuses = [status for status, _, _ in await asyncio.gather(*sent)]
    assert statuses.count(200) == 20 and statuses.count(429) == 980
    for _ in range(30):  # one after the other: each must find the lease of the last one free
        assert (await fleet.post(chat()))[0] == 200
    await fleet.events(1030)
    assert fleet.door.outcomes() == {"served": 50, "rejected": 980}
    assert fleet.store.zcard("{t1}:leases:1") == 0


async def test_it_does_not_let_a_slow_reader_hold_others_up(fleet):
    engine = await fleet.add_engine(tokens=2000)
    await serve(fleet, engine, request_seconds=3.0)
    sent = {"authorization": f"Bearer {ACME_KEY}"}
    body = chat(stream=True, max_tokens=2000)
    async with aiohttp.ClientSession(read_bufsize=1024) as lazy:
        slow = await lazy.post(fleet.url + "/v1/chat/completions", json=body, headers=sent)
        assert slow.status == 200
        assert (await fleet.post(chat(max_tokens=1)))[0] == 200
        slow.close()


async def test_it_lets_requests_end_before_it_stops(fleet):
    engine = await fleet.add_engine(tokens=100, pause=0.01)
    await serve(fleet, engine)
    running = asyncio.ensure_future(fleet.post(chat(stream=True, max_tokens=100)))
    await until(lambda: engine.running == 1)
    fleet.process.terminate()
    status, _, body = await running
    assert status == 200 and body.endswith(b"data: [DONE]\n\n")
    (event,) = await fleet.events(1)
    assert event["outcome"] == "served" and event["completion_tokens"] == 100
    await until(lambda: fleet.process.poll() is not None)
    assert fleet.process.returncode == -signal.SIGTERM


async def test_it_refuses_nobody_wrongly_when_the_quota_store_forgets(fleet):
    engine = await fleet.add_engine(pause=0.02)
    limit = make_limit(
        concurrency=50,
        requests_per_minute=10_000,
        tokens_per_minute=10**8,
        budget_micros=10**9,
        budget_period="p",
    )
    policy = make_policy(limits=(limit,))
    fleet.publish(policy)
    await serve(fleet, engine)

    def fund():
        fleet.store.eval(keys.PUBLISH_BUDGET, 1, keys.budget(1, 1, "p"), 0, 1, 3600)

    fund()
    before = [asyncio.ensure_future(fleet.post(chat())) for _ in range(20)]
    await until(lambda: engine.running == 20)
    fleet.store.flushall()
    status, headers, _ = await fleet.post(chat())
    assert status == 503 and headers["x-gw-reason"] == "budget_unverifiable"
    fund()
    after = [asyncio.ensure_future(fleet.post(chat())) for _ in range(20)]
    assert {status for status, _, _ in await asyncio.gather(*before, *after)} == {200}
    # No phantom holds, no negative ones. What ran while the store forgot is not in it: the
    # ledger brings it.
    want = [b"0", b"360"]
    await until(lambda: fleet.store.hmget(keys.budget(1, 1, "p"), "held", "spent") == want)
