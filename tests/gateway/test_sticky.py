"""A canary's share is sticky by conversation, and some go first or not at all."""

import asyncio
from collections import Counter

import msgspec
import pytest

from gateway.contract.outcomes import TrafficClass
from gateway.contract.policy import DataPolicy
from gateway.contract.routing import Canary
from gateway.normalise import normalise
from gateway.pools import Pools, Wish
from gateway.snapshots import BrokenSnapshotError, Routing, decode_routing
from gateway.sticky import conversation
from tests.gateway.fleet import make_pool, make_routing, make_service

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
OLD, NEW = 6, 9


def make_pools(weight_new=10, *, old=("h:1",), new=("h:2",), **canary):
    service = make_service(
        make_pool("old", *old, weight=100 - weight_new, release_id=OLD),
        make_pool("new", *new, weight=weight_new, release_id=NEW),
        canary=Canary(rollout_id=1, release_id=NEW, **canary),
    )
    pools = Pools(workers=1)
    pools.update(Routing(make_routing(service)))
    return pools, service


def ask(pools, service, talk=b"1 a", tenant=1, *, without=frozenset(), **changes):
    wish = Wish(service, DataPolicy(), tenant, changes.pop("kind", TrafficClass.INTERACTIVE), 1,
                1.0, changes.pop("application", 0), talk)  # fmt: skip
    seat = pools.take(wish, 0.0, without=without)
    if seat is not None:
        pools.give_back(seat)
    return seat and seat.pool.id


def talks(n):
    return [b"%d hello" % i for i in range(n)]


async def test_a_conversation_stays_on_its_side():
    pools, service = make_pools(50)
    first = {talk: ask(pools, service, talk) for talk in talks(200)}
    for _ in range(5):
        assert {talk: ask(pools, service, talk) for talk in first} == first
    others, again = make_pools(50)  # another worker
    assert {talk: ask(others, again, talk) for talk in first} == first


@pytest.mark.parametrize("percent", [1, 10, 25, 50])
async def test_shares_hold_within_a_point_over_many_conversations(percent):
    pools, service = make_pools(percent)
    seen = Counter(ask(pools, service, talk, tenant=i % 7) for i, talk in enumerate(talks(20_000)))
    assert seen["new"] / 20_000 == pytest.approx(percent / 100, abs=0.01)


async def test_a_growing_share_keeps_who_is_there():
    small, large = make_pools(10), make_pools(25)
    on_new = {talk for talk in talks(2000) if ask(*small, talk) == "new"}
    assert on_new < {talk for talk in talks(2000) if ask(*large, talk) == "new"}


async def test_the_same_words_of_two_tenants_are_two_conversations():
    pools, service = make_pools(50)
    sides = [[ask(pools, service, talk, tenant) for talk in talks(100)] for tenant in (1, 2)]
    assert sides[0] != sides[1]


async def test_requests_without_a_conversation_follow_the_weights():
    pools, service = make_pools(25)
    assert Counter(ask(pools, service, b"") for _ in range(100)) == {"old": 75, "new": 25}


FIRST = {
    "tenant": ({"only_tenants": (1,)}, {"tenant": 1}, {"tenant": 2}),
    "application": ({"only_applications": (5,)}, {"application": 5}, {"application": 6}),
    "class": (
        {"only_classes": (TrafficClass.BATCH,)}, {"kind": TrafficClass.BATCH},
        {"kind": TrafficClass.CRITICAL}),
}  # fmt: skip


@pytest.mark.parametrize("case", FIRST)
async def test_who_goes_first_goes_alone(case):
    canary, inside, outside = FIRST[case]
    pools, service = make_pools(50, **canary)
    assert {ask(pools, service, talk, **inside) for talk in talks(50)} == {"old", "new"}
    assert {ask(pools, service, talk, **outside) for talk in talks(50)} == {"old"}


async def test_who_is_left_out_never_meets_the_new_release():
    pools, service = make_pools(99, never_tenants=(3,))
    assert {ask(pools, service, talk, tenant=3) for talk in talks(50)} == {"old"}
    assert {ask(pools, service, b"", tenant=3) for _ in range(50)} == {"old"}


async def test_who_is_left_out_waits_rather_than_meet_the_new_release():
    pools, service = make_pools(50, never_tenants=(3,))
    full = [p for p in service.pools if p.id == "old"][0]
    wish = Wish(service, DataPolicy(), 3, TrafficClass.CRITICAL, 1, 1.0, 0, b"x")
    seats = []
    while (seat := pools.take(wish, 0.0)) is not None:
        seats.append(seat)
    assert {s.pool.id for s in seats} == {"old"}
    assert len(seats) == pools.limit(full)
    waiting = asyncio.create_task(pools.wait(wish, 0.0))
    await asyncio.sleep(0)
    pools.give_back(seats.pop())
    assert (await waiting).pool.id == "old"


async def test_it_is_better_to_meet_the_new_release_than_nobody():
    pools, service = make_pools(50, old=(), never_tenants=(3,))
    assert ask(pools, service, tenant=3) == "new"


async def test_a_reroute_may_leave_the_side():
    pools, service = make_pools(50)
    on_new = next(talk for talk in talks(50) if ask(pools, service, talk) == "new")
    assert ask(pools, service, on_new, without=frozenset({"h:2"})) == "old"


async def test_a_full_side_gives_to_the_other():
    pools, service = make_pools(50)
    on_new = next(talk for talk in talks(50) if ask(pools, service, talk) == "new")
    wish = Wish(service, DataPolicy(), 1, TrafficClass.CRITICAL, 1, 1.0, 0, on_new)
    assert {pools.take(wish, 0.0).pool.id for _ in range(2500)} == {"old", "new"}


async def test_a_way_back_takes_all_with_it():
    pools, service = make_pools(0, only_tenants=(1,))
    assert {ask(pools, service, talk) for talk in talks(50)} == {"old"}


def asked(path, **body):
    return normalise(path, {"model": "tiny"} | body, 10, make_service(make_pool("a", "h:1")))


def test_a_conversation_is_known_by_its_first_words():
    system = {"role": "system", "content": "be kind"}
    hello = {"role": "user", "content": "hello"}
    more = [{"role": "assistant", "content": "hi"}, {"role": "user", "content": "and now?"}]
    first = conversation(asked(CHAT, messages=[system, hello]))
    assert first == conversation(asked(CHAT, messages=[system, hello, *more])) != b""
    assert first != conversation(asked(CHAT, messages=[system, more[1]]))


ODD = {
    "no user": [{"role": "system", "content": "x"}],
    "no content": [{"role": "user"}],
    "parts": [{"role": "user", "content": [{"type": "text", "text": "a"}, 3, {"image": 1}]}],
    "half a character": [{"role": "user", "content": "\ud800"}],
}


@pytest.mark.parametrize("messages", ODD.values(), ids=ODD)
def test_odd_messages_are_no_fault(messages):
    assert isinstance(conversation(asked(CHAT, messages=messages)), bytes)


def test_a_text_completion_has_no_conversation():
    assert conversation(asked(TEXT, prompt="hello")) == b""


def test_only_the_ends_of_long_messages_are_read():
    long = [{"role": "user", "content": "x" * 1_000_000}]
    assert len(conversation(asked(CHAT, messages=long))) < 3000


def test_a_snapshot_that_contradicts_itself_is_refused():
    both = Canary(rollout_id=1, release_id=NEW, only_tenants=(1,), never_tenants=(1,))
    broken = make_routing(make_service(make_pool("a", "h:1"), canary=both))
    with pytest.raises(BrokenSnapshotError, match="tenant 1 goes first and never"):
        decode_routing(msgspec.json.encode(broken))


def test_snapshots_of_the_schema_before_are_read():
    older = msgspec.structs.replace(make_routing(make_service(make_pool("a", "h:1"))), schema=1)
    assert decode_routing(msgspec.json.encode(older)).document.services["tiny"].canary is None
