"""Prefill on one engine, decode on another, with requests to engines that speak the handshake."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass

import msgspec
import pytest

from gateway.contract.outcomes import TrafficClass
from gateway.contract.policy import DataPolicy
from gateway.contract.routing import Endpoint
from gateway.handover import read_answer, reading
from gateway.normalise import normalise
from gateway.pools import Pools, Wish
from gateway.snapshots import BrokenSnapshotError, Routing, decode_routing
from sandbox.ports import free_port
from tests.gateway.engines import Engine
from tests.gateway.fleet import (
    ROOT,
    chat,
    make_pool,
    make_routing,
    make_service,
    until,
)

OLD, NEW = "rel-0123456789ab", "rel-ba9876543210"
FLAGS = ("--served-model-name", "tiny", "--enable-prompt-tokens-details", "--itl-ms", "1")
LONG = "a prompt that is long enough to be worth handing over, block by block. " * 4


@dataclass
class Standin:
    """One engine of a release, in a process of its own."""

    process: subprocess.Popen
    address: str
    admin: str

    async def told(self, fleet):
        async with fleet.session.get(f"http://{self.admin}/admin/kv") as answer:
            return await answer.json()

    async def ask(self, fleet, **more):
        body = {"model": "tiny", "prompt": LONG, "max_tokens": 4} | more
        url = f"http://{self.address}/v1/completions"
        async with fleet.session.post(url, json=body) as answer:
            return answer.status, await answer.json()


@pytest.fixture
async def start(fleet):
    """Start engines: their role in the handshake and their KV domain."""
    await fleet.start()
    started = []

    async def begin(role, domain, *flags, policy="fail"):
        port, admin, side = free_port(), free_port(), free_port()
        config = {"kv_connector": "NixlConnector", "kv_role": role}
        config["kv_load_failure_policy"] = policy
        ports = ["--port", str(port), "--admin-port", str(admin)]
        said = ["--fingerprint-mode", "custom", "--fingerprint-value", domain]
        command = [sys.executable, "-m", "sandbox.engines.standin", "tiny", *ports, *FLAGS, *said]
        environ = os.environ | {
            "QUARTERMASTER_KV_DOMAIN": domain,
            "VLLM_NIXL_SIDE_CHANNEL_PORT": str(side),
        }
        process = subprocess.Popen(
            [*command, "--kv-transfer-config", json.dumps(config), *flags],
            cwd=ROOT, env=environ, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        engine = Standin(process, f"127.0.0.1:{port}", f"127.0.0.1:{admin}")
        started.append(engine)
        while not await is_up(fleet, engine):
            assert process.poll() is None
            await asyncio.sleep(0.05)
        return engine

    yield begin
    for engine in started:
        engine.process.kill()
        engine.process.wait()


async def is_up(fleet, engine):
    with contextlib.suppress(OSError):
        async with fleet.session.get(f"http://{engine.address}/health") as answer:
            return answer.status == 200
    return False


def pool(name, prefill, decode, **changes):
    given = tuple(Endpoint(address=e.address, pod=f"prefill-{i}") for i, e in enumerate(prefill))
    return make_pool(name, *[e.address for e in decode], prefill=given, **changes)


def publish(fleet, *pools):
    fleet.publish(routing=make_routing(make_service(*pools, max_model_len=2048)))
    return pools


async def until_routed(fleet, *pools):
    """Until the gateway has exactly these pools."""
    wanted = {p.id for p in pools}
    for _ in range(200):
        async with fleet.session.get(fleet.url + "/readyz"):
            pass
        status, headers, _ = await fleet.post(chat(max_tokens=1))
        if status == 200 and headers["x-gw-pool"] in wanted:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("not routed")


async def test_one_engine_reads_the_prompt_and_another_one_answers(fleet, start):
    prefill, decode = await start("kv_producer", OLD), await start("kv_consumer", OLD)
    await until_routed(fleet, *publish(fleet, pool("old", [prefill], [decode])))
    for stream in (True, False):
        status, headers, raw = await fleet.post(chat(stream=stream, max_tokens=6))
        assert (status, headers["x-gw-pool"]) == (200, "old"), raw
    given, taken = await prefill.told(fleet), await decode.told(fleet)
    assert given["counts"]["given"] == taken["counts"]["fetched"] >= 2
    assert given["peers"] == taken["peers"] == {OLD: taken["counts"]["fetched"]}


async def test_an_engine_refuses_blocks_of_another_release_and_counts_it(fleet, start):
    prefill, decode = await start("kv_both", OLD), await start("kv_both", NEW)
    asked = {"do_remote_decode": True, "do_remote_prefill": False}
    status, answer = await prefill.ask(fleet, max_tokens=1, kv_transfer_params=asked)
    assert status == 200
    status, refused = await decode.ask(fleet, kv_transfer_params=answer["kv_transfer_params"])
    assert status == 500
    assert f"blocks of the KV domain {OLD}, this engine is of {NEW}" in refused["error"]["message"]
    assert (await prefill.told(fleet))["counts"] == {"refused": 1}
    assert (await decode.told(fleet))["counts"] == {"refused": 1}


async def test_two_releases_under_traffic_never_meet(fleet, start):
    old = await start("kv_both", OLD), await start("kv_both", OLD)
    new = await start("kv_both", NEW), await start("kv_both", NEW)
    pools = publish(
        fleet,
        pool("old", old[:1], old[1:], weight=50),
        pool("new", new[:1], new[1:], weight=50, deployment_id=8, release_id=9),
    )
    await until_routed(fleet, *pools)
    answers = await asyncio.gather(*(fleet.post(chat(stream=True)) for _ in range(60)))
    assert {status for status, _, _ in answers} == {200}
    assert {headers["x-gw-pool"] for _, headers, _ in answers} == {"old", "new"}
    for domain, engines in ((OLD, old), (NEW, new)):
        for engine in engines:
            told = await engine.told(fleet)
            assert told["peers"].keys() == {domain}
            assert "refused" not in told["counts"]


def long_ones(fleet):
    rows = (row["data"] for row in fleet.door.rows.values())
    return [row for row in rows if row["prompt_tokens"] > 64]


async def test_it_bills_as_cached_what_the_first_engine_knew_and_not_what_it_handed_over(
    fleet, start
):
    prefill, decode = await start("kv_producer", OLD), await start("kv_consumer", OLD)
    await until_routed(fleet, *publish(fleet, pool("old", [prefill], [decode])))
    body = chat(messages=[{"role": "user", "content": LONG}], stream=True)
    for number in (1, 2):
        await fleet.post(body)
        await until(lambda n=number: len(long_ones(fleet)) == n)
    first, second = long_ones(fleet)
    assert first["prompt_tokens"] == second["prompt_tokens"] > 64
    assert first["cached_tokens"] == 0
    assert 0 < second["cached_tokens"] < second["prompt_tokens"]


async def test_a_prefill_that_is_gone_is_left_and_the_request_is_read_by_another(fleet, start):
    lost, prefill = await start("kv_producer", OLD), await start("kv_producer", OLD)
    decode = await start("kv_consumer", OLD)
    pools = publish(fleet, pool("old", [lost, prefill], [decode]))
    await until_routed(fleet, *pools)
    lost.process.kill()
    lost.process.wait()
    answers = [await fleet.post(chat(stream=True)) for _ in range(8)]
    assert {status for status, _, _ in answers} == {200}
    left = {headers.get("x-gw-rerouted-from") for _, headers, _ in answers} - {None}
    assert left <= {"prefill-0"}


async def test_blocks_that_are_gone_fail_the_request_or_are_computed_again(fleet, start):
    strict, lenient = (
        await start("kv_consumer", OLD),
        await start("kv_consumer", OLD, policy="recompute"),
    )
    nowhere = {
        "do_remote_prefill": True,
        "remote_host": "127.0.0.1",
        "remote_port": free_port(),
        "remote_request_id": "kv-1",
    }
    status, answer = await strict.ask(fleet, kv_transfer_params=nowhere)
    assert (status, "KV load failed" in answer["error"]["message"]) == (500, True)
    status, answer = await lenient.ask(fleet, kv_transfer_params=nowhere)
    assert (status, answer["usage"]["completion_tokens"]) == (200, 4)
    assert (await lenient.told(fleet))["counts"] == {"failed": 1}


async def test_what_a_client_says_about_blocks_reaches_no_engine(fleet):
    prefill, decode = await fleet.add_engine(), await fleet.add_engine()
    await fleet.start()
    pools = publish(fleet, pool("old", [prefill], [decode]))
    await until_routed(fleet, *pools)
    evil = {"do_remote_prefill": True, "remote_host": "10.0.0.1", "remote_port": 1}
    await fleet.post(chat(kv_transfer_params=evil, max_tokens=9))
    (_, first), (_, second) = prefill.requests[-1], decode.requests[-1]
    assert first["kv_transfer_params"]["remote_host"] is None
    assert (first["max_tokens"], second["max_tokens"]) == (1, 9)
    assert "kv_transfer_params" not in second  # this engine handed nothing over
    assert first["cache_salt"] == second["cache_salt"]


async def test_several_outputs_are_read_where_they_are_written(fleet):
    prefill, decode = await fleet.add_engine(), await fleet.add_engine()
    await fleet.start()
    pools = publish(fleet, pool("old", [prefill], [decode]))
    await until_routed(fleet, *pools)
    before = len(prefill.requests)
    status, _, _ = await fleet.post(chat(n=3))
    assert (status, len(prefill.requests)) == (200, before)


async def test_a_seat_pairs_only_endpoints_of_one_pool():
    old, new = Engine(address="old-d:1"), Engine(address="new-d:1")
    pools = Pools(workers=1)
    service = make_service(
        pool("old", [Engine(address="old-p:1")], [old], weight=50),
        pool("new", [Engine(address="new-p:1")], [new], weight=50),
    )
    pools.update(Routing(make_routing(service)))
    wish = Wish(service, DataPolicy(), 1, TrafficClass.INTERACTIVE, 1, 100.0)
    seats = [pools.take(wish, 0.0) for _ in range(20)]
    pairs = {(s.prefill.address, s.endpoint.address) for s in seats}
    assert pairs == {("old-p:1", "old-d:1"), ("new-p:1", "new-d:1")}
    for seat in seats:
        pools.give_back(seat)
    assert {r.in_flight for r in pools.report().values()} == {0}


async def test_a_pool_whose_prefill_all_failed_a_request_gives_it_no_seat():
    pools = Pools(workers=1)
    service = make_service(pool("old", [Engine(address="p:1")], [Engine(address="d:1")]))
    pools.update(Routing(make_routing(service)))
    wish = Wish(service, DataPolicy(), 1, TrafficClass.INTERACTIVE, 1, 100.0)
    assert pools.take(wish, 0.0, without=frozenset({"p:1"})) is None


def test_the_first_engine_is_asked_for_one_token_and_no_stream():
    service = make_service(max_model_len=100)
    asked = normalise(
        "/v1/chat/completions", chat(stream=True, max_tokens=50, min_tokens=9), 10, service
    )
    body = reading(asked).body
    assert (body["max_tokens"], body["stream"]) == (1, False)
    assert "stream_options" not in body and "min_tokens" not in body


def test_an_answer_without_blocks_lets_the_second_engine_read_itself():
    assert (
        read_answer(b'{"kv_transfer_params": null, "usage": {"prompt_tokens": 3}}').blocks is None
    )


def test_it_refuses_a_snapshot_with_a_prefill_that_is_no_address():
    routing = make_routing(
        make_service(make_pool("a", "h:1", prefill=(Endpoint(address="nowhere", pod="p"),)))
    )
    with pytest.raises(BrokenSnapshotError, match="is not host:port"):
        decode_routing(msgspec.json.encode(routing))
