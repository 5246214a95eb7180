"""Which placement of a name comes first, for whom, and what is refused: without a process."""

import asyncio

import pytest

from gateway import errors
from gateway.contract.outcomes import Outcome, Reason, TrafficClass
from gateway.contract.policy import DataPolicy
from gateway.placements import choose, permitted, refuse_outside, refuse_policy
from gateway.pools import Pools, Wish
from gateway.snapshots import Routing
from tests.gateway.fleet import make_pool, make_routing, make_service

ANY = DataPolicy()
EU, US, ASIA = (DataPolicy(residency=(region,)) for region in ("eu", "us", "asia"))
NOWHERE = errors.shed("No engine answers for 'tiny' at the moment.", Reason.NO_ENDPOINT)


def placed(home=("h:1",), west=("h:2",)):
    """`tiny` at home in eu, and in us."""
    routing = Routing(
        make_routing(
            make_service(make_pool("a", *home, max_num_seqs=10), placements=("gone", "west")),
            make_service(make_pool("b", *west, region="us"), name="west", id=8),
        )
    )
    pools = Pools(workers=1)
    pools.update(routing)
    return routing, pools


def wish(routing, policy=ANY):
    service = routing.document.services["tiny"]
    return Wish(service, policy, 1, TrafficClass.INTERACTIVE, 1, 100.0)


def first(routing, pools, policy=ANY, region="", now=0.0):
    asked = wish(routing, policy)
    return choose(pools, permitted(routing, asked.service, policy, region), asked, now).name


ORDERS = {
    "home first": (ANY, "", ["tiny", "west"]),
    "its own region first": (ANY, "us", ["west", "tiny"]),
    "a region without a placement changes nothing": (ANY, "asia", ["tiny", "west"]),
    "only where the data may go": (US, "", ["west"]),
    "the policy before its own region": (EU, "us", ["tiny"]),
    "nowhere": (ASIA, "", []),
}


@pytest.mark.parametrize("name", ORDERS)
async def test_it_prefers(name):
    policy, region, names = ORDERS[name]
    routing, _ = placed()
    service = routing.document.services["tiny"]
    assert [s.name for s in permitted(routing, service, policy, region)] == names


async def test_it_moves_on_from_a_placement_without_an_engine():
    assert first(*placed(home=())) == "west"
    assert first(*placed(home=(), west=())) == "tiny"


async def test_it_never_moves_where_the_data_may_not_go():
    routing, pools = placed(home=())
    assert first(routing, pools, EU) == "tiny"


async def test_it_moves_on_from_a_full_placement_and_comes_back():
    routing, pools = placed()
    seats = []
    while seat := pools.take(wish(routing), 0.0):
        seats.append(seat)
    assert first(routing, pools) == "west"
    pools.give_back(seats[0])
    assert first(routing, pools) == "tiny"


async def test_it_moves_on_from_engines_that_cannot_be_reached_and_comes_back():
    routing, pools = placed()
    now = asyncio.get_running_loop().time()
    seat = pools.take(wish(routing), now)
    pools.give_back(seat)
    pools.failed(seat, now)
    assert first(routing, pools, now=now) == "west"
    assert first(routing, pools, now=now + 2.0) == "tiny"


async def test_it_says_that_engines_answer_where_the_data_may_not_go():
    routing, _ = placed(home=())
    service = routing.document.services["tiny"]
    refusal = refuse_outside(routing, service, EU, NOWHERE)
    assert (refusal.status, refusal.outcome) == (503, Outcome.SHED)
    assert refusal.reason is Reason.OUTSIDE_POLICY
    assert refusal.message == (
        "No engine answers for 'tiny' in eu at the moment. Engines elsewhere do, and your data"
        " policy keeps your requests from them."
    )
    assert refuse_outside(routing, service, ANY, NOWHERE) is NOWHERE
    full = errors.shed("Full.", Reason.POOL_FULL)
    assert refuse_outside(routing, service, EU, full) is full


async def test_it_refuses_a_policy_that_no_placement_satisfies():
    routing, _ = placed()
    service = routing.document.services["tiny"]
    assert refuse_policy(routing, service, US) is None
    refused = refuse_policy(routing, service, ASIA)
    assert (refused.status, refused.reason) == (403, Reason.POLICY)
    empty = make_routing(make_service())
    assert refuse_policy(Routing(empty), empty.services["tiny"], ASIA) is None
