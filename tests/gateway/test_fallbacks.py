"""A service that stands in for another one: when, for whom, and what is recorded of it."""

import msgspec
import pytest

from gateway.contract.policy import DataPolicy
from gateway.contract.routing import Endpoint
from tests.gateway.fleet import (
    GLOBEX_KEY,
    PRICE,
    chat,
    make_policy,
    make_pool,
    make_routing,
    make_service,
    make_tenant,
)


async def offer(fleet, *pools, tenant=(), spare=(), **changes):
    """`tiny` with these pools, and `other` on an engine of its own, which stands in."""
    engine = await fleet.add_engine()
    where = {"deployment_id": 15, "release_id": 16, "region": "us"}
    services = (
        make_service(*pools, fallbacks=("gone", "other"), **changes),
        make_service(make_pool("b", engine.address, **where), id=8, name="other", **dict(spare)),
    )
    globex = make_tenant(2, "globex")
    policy = make_policy(tenants={1: make_tenant(1, "acme", **dict(tenant)), 2: globex})
    prices = {"tiny": PRICE, "other": msgspec.structs.replace(PRICE, version=9)}
    fleet.publish(msgspec.structs.replace(policy, prices=prices), make_routing(*services))
    await fleet.start()
    return engine


@pytest.mark.parametrize("stream", [True, False])
async def test_it_answers_with_the_service_that_stands_in(fleet, stream):
    other = await offer(fleet, make_pool("a"))
    status, headers, body = await fleet.post(chat(stream=stream))
    assert status == 200, body
    assert (headers["x-gw-pool"], headers["x-gw-rerouted-from"]) == ("b", "tiny")
    assert [body["model"] for _, body in other.requests] == ["other"]
    (event,) = await fleet.events(1)
    assert (event["outcome"], event["rerouted_from"]) == ("rerouted", "tiny")
    assert event["modifiers"] == ["fallback:other"]
    # Billed as what was asked for; its cost and its statistics are where it ran.
    assert (event["model"], event["price_version"]) == ("tiny", PRICE.version)
    assert (event["service_id"], event["release_id"], event["deployment_id"]) == (8, 16, 15)


async def test_it_stands_in_for_engines_that_are_full(fleet):
    full = [await fleet.add_engine(mode="full") for _ in range(2)]
    other = await offer(fleet, make_pool("a", *(engine.address for engine in full)))
    assert (await fleet.post(chat()))[0] == 200
    assert [len(engine.requests) for engine in (*full, other)] == [1, 1, 1]
    (event,) = await fleet.events(1)
    assert event["outcome"] == "rerouted" and event["completion_tokens"] == 5


async def test_it_keeps_the_prefix_caches_apart(fleet):
    other = await offer(fleet, make_pool("a"))
    await fleet.post(chat())
    await fleet.post(chat() | {"model": "other"})
    await fleet.post(chat(), key=GLOBEX_KEY)
    salts = [body["cache_salt"] for _, body in other.requests]
    assert salts[0] == salts[1] != salts[2]


REFUSED = {
    "the tenant may not use it": {"tenant": {"models": ("tiny",)}},
    "its context is shorter than what was asked for": {"spare": {"max_model_len": 40}},
    "the tenant's data must stay elsewhere": {
        "tenant": {"data_policy": DataPolicy(residency=("eu",))}
    },
    "it has no engine itself": {"spare": {"pools": (make_pool("b"),)}},
}


@pytest.mark.parametrize("name", REFUSED)
async def test_it_refuses_with_the_first_reason_when(fleet, name):
    other = await offer(fleet, make_pool("a"), **REFUSED[name])
    status, headers, body = await fleet.post(chat(max_tokens=100))
    assert (status, headers["x-gw-reason"]) == (503, "no_endpoint")
    assert b"No engine answers for 'tiny'" in body
    assert other.requests == []
    (event,) = await fleet.events(1)
    assert (event["outcome"], event["service_id"]) == ("shed", 7)


async def test_it_does_not_stand_in_for_an_engine_that_failed(fleet):
    """What an engine broke may break the next one; only silence and fullness move on."""
    bad = await fleet.add_engine(mode="aborts")
    other = await offer(fleet, make_pool("a", bad.address))
    assert (await fleet.post(chat()))[0] == 502
    assert other.requests == []


AWAY = DataPolicy(hosted_fallback=True)
SAID = {
    "a console that names the provider": ({"provider": "Example AI"}, "Example AI"),
    "an older console": ({}, "away"),
}


@pytest.mark.parametrize(("said", "name"), SAID.values(), ids=SAID)
async def test_it_records_the_hosted_provider_that_answered(fleet, said, name):
    where = {"cluster": "away", "hosted": True, "confidential": False} | said
    spare = await fleet.add_engine()
    pool = make_pool("b", spare.address, **where)
    await offer(fleet, make_pool("a"), tenant={"data_policy": AWAY}, spare={"pools": (pool,)})
    assert (await fleet.post(chat()))[0] == 200
    (event,) = await fleet.events(1)
    assert (event["outcome"], event["model"], event["hosted"]) == ("rerouted", "tiny", name)


async def test_it_records_the_gpus_of_the_engine_that_answered(fleet):
    engine = await fleet.add_engine()
    endpoint = Endpoint(address=engine.address, pod="pod-0", gpus=8, gpu_product="H100")
    await offer(fleet, make_pool("a", endpoints=(endpoint,)))
    assert (await fleet.post(chat()))[0] == 200
    (event,) = await fleet.events(1)
    assert (event["gpus"], event["gpu_product"], event["hosted"]) == (8, "H100", "")
