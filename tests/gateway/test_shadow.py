"""Copies for a shadow: the new release answers them, no client waits for it, meets it or pays."""

import asyncio
import contextlib
from types import SimpleNamespace

import msgspec
import pytest

from gateway.contract import keys
from gateway.contract.outcomes import TrafficClass
from gateway.contract.policy import DataPolicy
from gateway.contract.routing import Canary
from gateway.contract.usage import EVENT_TYPE, SHADOW_TYPE
from gateway.counters import Counters
from gateway.exchange import Exchange
from gateway.normalise import normalise
from gateway.pools import Pools, Wish
from gateway.shadow import Shadows
from gateway.snapshots import BrokenSnapshotError, Routing, decode_routing
from gateway.sticky import place
from tests.gateway.engines import PROMPT_TOKENS
from tests.gateway.fleet import (
    ANY_DATA,
    chat,
    make_limit,
    make_policy,
    make_pool,
    make_routing,
    make_service,
    until,
)

OLD, NEW = 6, 9


def shadow_routing(old, *new, percent=100, pool=(), **canary):
    """All traffic on the old release, copies of some of it to the new one."""
    service = make_service(
        make_pool("old", old, release_id=OLD),
        make_pool("new", *new, weight=0, release_id=NEW, **dict(pool)),
        canary=Canary(rollout_id=1, release_id=NEW, shadow_percent=percent, **canary),
        chunk_seconds=1.0,
    )
    return make_routing(service)


def reported(door, kind):
    return [row["data"] for row in door.rows.values() if row["type"] == kind]


async def both(fleet, **fields):
    """A gateway with an old engine that answers clients and a new one that answers copies."""
    old, new = await fleet.add_engine(), await fleet.add_engine(**fields)
    fleet.publish(routing=shadow_routing(old.address, new.address))
    await fleet.start()
    return old, new


async def test_a_copy_is_answered_and_dropped_and_nobody_pays_for_it(fleet, store, door):
    limit = make_limit(budget_micros=10_000, budget_period="p")
    name = keys.budget(1, limit.id, "p")
    store.eval(keys.PUBLISH_BUDGET, 1, name, 0, 1, 3600)
    fleet.publish(make_policy(limits=(limit,)))
    old, new = await both(fleet, tokens=50)
    status, headers, body = await fleet.post(chat())
    assert (status, headers["x-gw-release"]) == (200, "rel-old")
    assert msgspec.json.decode(body)["usage"]["completion_tokens"] == 5
    await until(lambda: reported(door, SHADOW_TYPE))
    (sent, said), (to_new, copied) = old.requests[0], new.requests[0]
    assert said == copied and said["cache_salt"]
    assert sent["x-request-id"] != to_new["x-request-id"]
    (usage,), (copy,) = reported(door, EVENT_TYPE), reported(door, SHADOW_TYPE)
    assert (usage["release_id"], usage["completion_tokens"]) == (OLD, 5)
    assert (copy["release_id"], copy["completion_tokens"]) == (NEW, 50)
    assert copy["prompt_tokens"] == PROMPT_TOKENS and copy["outcome"] == "served"
    assert (copy["tenant_id"], copy["traffic_class"]) == (1, "interactive")
    assert copy["started_at"] == usage["started_at"]
    await until(lambda: store.hget(name, "held") == b"0")
    # 7 tokens of the prompt, 4 cached, the 5 that the client got, rounded up.
    assert store.hget(name, "spent") == b"18"
    _, text = await fleet.metrics()
    assert 'qm_gateway_requests_total{outcome="served",reason=""} 1' in text
    assert 'qm_gateway_copies_total{outcome="served"} 1' in text


FAULTS = {
    "full": "shed",
    "refuses": "rejected",
    "shut down": "failed",
    "hangs up once": "served",  # as for a client, it is tried once more
    "aborts": "failed",
    "breaks": "failed",
    "goes silent": "timed_out",
}


async def test_the_clients_answer_is_the_same_whatever_the_shadow_does(fleet, door):
    old, new = await both(fleet)
    _, _, plain = await fleet.post(chat(stream=True))
    await until(lambda: len(reported(door, SHADOW_TYPE)) == 1)
    found = {}
    for number, mode in enumerate(FAULTS, 2):
        new.mode = mode
        status, headers, body = await fleet.post(chat(stream=True))
        assert (status, headers["x-gw-release"], body) == (200, "rel-old", plain)
        await until(lambda n=number: len(reported(door, SHADOW_TYPE)) == n)
        found[mode] = reported(door, SHADOW_TYPE)[-1]["outcome"]
    assert found == FAULTS
    await new.stop()
    status, _, body = await fleet.post(chat(stream=True))
    assert (status, body) == (200, plain)
    await until(lambda: len(reported(door, SHADOW_TYPE)) == len(FAULTS) + 2)
    assert {e["outcome"] for e in reported(door, EVENT_TYPE)} == {"served"}


async def test_a_shadow_that_hangs_is_dropped_with_the_gateway(fleet, door):
    fleet.environ["QM_GATEWAY_MAX_COPIES"] = "2"
    _, new = await both(fleet, mode="silent")
    answers = await asyncio.gather(*(fleet.post(chat()) for _ in range(5)))
    assert {status for status, _, _ in answers} == {200}
    await until(lambda: len(new.requests) == 2)
    assert 'qm_gateway_copies_total{outcome="held_back"} 3' in (await fleet.metrics())[1]
    fleet.process.terminate()
    await asyncio.to_thread(fleet.process.wait, 10)
    copies = reported(door, SHADOW_TYPE)
    assert [c["outcome"] for c in copies] == ["cancelled"] * 2
    assert all(c["prompt_tokens"] > 0 for c in copies)  # its engine counted them
    assert len(new.requests) == 2 and len(reported(door, EVENT_TYPE)) == 5


class Proxy:
    """Engines that never end; it keeps whom it was asked for."""

    def __init__(self):
        self.asked = []

    async def attempt(self, exchange, client, asked, service, seat):
        self.asked.append((exchange, seat))
        await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def shadows_of(routing, **settings):
    """The gateway's part that copies, alone."""
    pools = Pools(workers=1)
    pools.update(Routing(routing))
    shadows = Shadows(
        SimpleNamespace(max_copies=settings.get("max_copies", 10_000)),
        SimpleNamespace(routing=Routing(routing)),
        pools,
        Proxy(),
        SimpleNamespace(is_full=settings.get("is_full", False), finish_copy=lambda *a: None),
        Counters(),
    )
    yield shadows
    await shadows.stop()


async def copied(shadows, routing, talk=b"1 a", *, tenant=1, policy=ANY_DATA, size=100):
    """Whether a request of this conversation is copied."""
    service = routing.services["tiny"]
    asked = normalise("/v1/chat/completions", chat(), size, service)
    wish = Wish(service, policy, tenant, TrafficClass.INTERACTIVE, 1, 1.0, 10, talk)
    exchange = Exchange(f"id-{len(shadows.proxy.asked)}", SimpleNamespace(),
                        TrafficClass.INTERACTIVE, 0, 0.0, 1)  # fmt: skip
    before = len(shadows.proxy.asked)
    shadows.mirror(exchange, asked, wish)
    await asyncio.sleep(0)
    return len(shadows.proxy.asked) > before


async def test_a_conversation_is_copied_always_or_never_as_it_will_meet_the_canary():
    routing = shadow_routing("h:1", "h:2", percent=25)
    canary = routing.services["tiny"].canary
    talks = [b"%d hello" % i for i in range(400)]
    async with shadows_of(routing) as shadows:
        chosen = {talk for talk in talks if await copied(shadows, routing, talk)}
        again = {talk for talk in talks if await copied(shadows, routing, talk)}
    who = [SimpleNamespace(tenant_id=1, conversation=talk) for talk in talks]
    assert chosen == again == {w.conversation for w in who if place(canary, w) < 0.25}
    assert 60 < len(chosen) < 140


FORBIDDEN = {
    "a tenant that goes last": ({"never_tenants": (1,)}, {}),
    "another tenant goes first": ({"only_tenants": (2,)}, {}),
    "no shadow is asked for": ({"percent": 0}, {}),
    "data stays in its region": (
        {"pool": {"region": "us"}}, {"policy": DataPolicy(residency=("eu",))}),
    "only confidential engines": ({}, {"policy": DataPolicy(confidential_only=True)}),
    "a platform of others": ({"pool": {"hosted": True}}, {}),
}  # fmt: skip


@pytest.mark.parametrize("case", FORBIDDEN)
async def test_it_copies_nothing_that_it_must_not(case):
    routing, request = FORBIDDEN[case]
    made = shadow_routing("h:1", "h:2", **routing)
    async with shadows_of(made) as shadows:
        assert not await copied(shadows, made, **request)


@pytest.mark.parametrize("allowed", [{"residency": ("us",)}, {"hosted_fallback": True}])
async def test_it_copies_where_the_data_policy_allows(allowed):
    made = shadow_routing(
        "h:1", "h:2", pool={"region": "us", "hosted": "hosted_fallback" in allowed}
    )
    async with shadows_of(made) as shadows:
        assert await copied(shadows, made, policy=DataPolicy(**allowed))


async def test_it_keeps_few_requests_and_few_bytes():
    routing = shadow_routing("h:1", "h:2")
    async with shadows_of(routing, max_copies=3) as shadows:
        assert [await copied(shadows, routing) for _ in range(5)] == [True] * 3 + [False] * 2
        assert b'copies_total{outcome="held_back"} 2' in shadows.counters.text({})
    async with shadows_of(routing) as shadows:
        sizes = [8 * 1024 * 1024, 8 * 1024 * 1024, 1]
        assert [await copied(shadows, routing, size=s) for s in sizes] == [True, True, False]
    async with shadows_of(routing, is_full=True) as shadows:
        assert not await copied(shadows, routing)


async def test_copies_go_to_the_engine_with_the_fewest():
    routing = shadow_routing("h:1", "h:2", "h:3")
    async with shadows_of(routing) as shadows:
        for _ in range(10):
            await copied(shadows, routing)
        to = [seat.endpoint.address for _, seat in shadows.proxy.asked]
    assert (to.count("h:2"), to.count("h:3")) == (5, 5)


def test_a_snapshot_with_a_shadow_of_more_than_all_is_refused():
    broken = shadow_routing("h:1", "h:2", percent=101)
    with pytest.raises(BrokenSnapshotError, match="a shadow of 101 %"):
        decode_routing(msgspec.json.encode(broken))
