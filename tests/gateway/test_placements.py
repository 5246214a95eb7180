"""A name served in several regions: who answers, for whom, and what is said when nobody may."""

import pytest

from gateway.contract.policy import DataPolicy
from sandbox.ports import free_port
from tests.gateway.fleet import (
    PRICE,
    chat,
    make_policy,
    make_pool,
    make_routing,
    make_service,
    make_tenant,
)


async def offer(fleet, home, *, west=None, residency=(), **environ):
    """`tiny` at home in eu, and `tiny-west` in us, which nobody was granted."""
    engine = west or await fleet.add_engine()
    where = {"deployment_id": 15, "release_id": 16, "region": "us", "cluster": "two"}
    acme = make_tenant(
        1, "acme", models=("tiny",), data_policy=DataPolicy(residency=tuple(residency))
    )
    pool = make_pool("b", *([engine.address] if engine.address else []), **where)
    fleet.publish(
        make_policy(tenants={1: acme, 2: make_tenant(2, "globex")}),
        make_routing(
            make_service(home, placements=("gone", "tiny-west")),
            make_service(pool, id=8, name="tiny-west"),
        ),
    )
    fleet.environ |= environ
    await fleet.start()
    return engine


async def test_home_answers_while_it_can(fleet):
    home = await fleet.add_engine()
    west = await offer(fleet, make_pool("a", home.address))
    status, headers, _ = await fleet.post(chat())
    assert (status, headers["x-gw-pool"]) == (200, "a")
    assert west.requests == []
    (event,) = await fleet.events(1)
    assert (event["outcome"], event["service_id"], event["modifiers"]) == ("served", 7, [])


@pytest.mark.parametrize("stream", [True, False])
async def test_another_region_answers_when_home_has_no_engine(fleet, stream):
    west = await offer(fleet, make_pool("a"))
    status, headers, body = await fleet.post(chat(stream=stream))
    assert status == 200, body
    assert (headers["x-gw-pool"], headers["x-gw-rerouted-from"]) == ("b", "tiny")
    assert [sent["model"] for _, sent in west.requests] == ["tiny-west"]
    (event,) = await fleet.events(1)
    assert (event["outcome"], event["modifiers"]) == ("rerouted", ["placement:tiny-west"])
    # Billed as what was asked for; its cost and its statistics are where it ran.
    assert (event["model"], event["price_version"]) == ("tiny", PRICE.version)
    assert (event["service_id"], event["deployment_id"]) == (8, 15)


async def test_a_cluster_that_cannot_be_reached_is_gone_around_at_once(fleet):
    lost = f"127.0.0.1:{free_port()}"
    await offer(fleet, make_pool("a", lost))
    for number in range(1, 4):
        assert (await fleet.post(chat()))[0] == 200
        await fleet.events(number)
    events = await fleet.events(3)
    assert {e["outcome"] for e in events} == {"rerouted"}
    assert {tuple(e["modifiers"]) for e in events} == {("placement:tiny-west",)}


async def test_the_gateways_own_region_comes_first(fleet):
    home = await fleet.add_engine()
    west = await offer(fleet, make_pool("a", home.address), QM_GATEWAY_REGION="us")
    assert (await fleet.post(chat()))[0] == 200
    assert (len(west.requests), home.requests) == (1, [])
    (event,) = await fleet.events(1)
    assert (event["outcome"], event["rerouted_from"]) == ("served", "")


async def test_data_that_must_stay_elsewhere_is_answered_there(fleet):
    home = await fleet.add_engine()
    west = await offer(fleet, make_pool("a", home.address), residency=["us"])
    assert (await fleet.post(chat()))[0] == 200
    assert (len(west.requests), home.requests) == (1, [])
    (event,) = await fleet.events(1)
    assert (event["outcome"], event["modifiers"]) == ("served", ["placement:tiny-west"])


async def test_data_never_leaves_the_regions_of_its_policy(fleet):
    west = await offer(fleet, make_pool("a"), residency=["eu"])
    status, headers, body = await fleet.post(chat())
    assert (status, headers["x-gw-reason"]) == (503, "outside_policy")
    assert b"No engine answers for 'tiny' in eu at the moment" in body
    assert b"your data policy keeps your requests from them" in body
    assert west.requests == []
    (event,) = await fleet.events(1)
    assert (event["outcome"], event["reason"]) == ("shed", "outside_policy")


async def test_it_refuses_a_policy_that_no_placement_satisfies(fleet):
    home = await fleet.add_engine()
    west = await offer(fleet, make_pool("a", home.address), residency=["asia"])
    status, headers, body = await fleet.post(chat())
    assert (status, headers["x-gw-reason"]) == (403, "policy")
    assert b"No pool of 'tiny' satisfies your data policy" in body
    assert home.requests == west.requests == []


async def test_it_moves_on_from_engines_that_are_full(fleet):
    full = await fleet.add_engine(mode="full")
    west = await offer(fleet, make_pool("a", full.address))
    assert (await fleet.post(chat()))[0] == 200
    assert (len(full.requests), len(west.requests)) == (1, 1)


async def test_a_placement_cannot_be_called_by_its_own_name_without_a_grant(fleet):
    home = await fleet.add_engine()
    await offer(fleet, make_pool("a", home.address))
    assert (await fleet.post(chat() | {"model": "tiny-west"}))[0] == 404
