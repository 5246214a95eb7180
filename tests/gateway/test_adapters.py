"""Adapters: who gets them, which release answers, and what is written down of it."""

import msgspec
import pytest

from gateway.contract.outcomes import Reason, TrafficClass
from gateway.contract.policy import DataPolicy
from gateway.contract.routing import Canary, RoutingSnapshot
from gateway.contract.usage import UsageEvent
from gateway.placements import permitted, refuse_policy
from gateway.pools import Pools, Wish
from gateway.snapshots import Routing
from tests.gateway.fleet import (
    ACME_KEY,
    GLOBEX_KEY,
    PRICE,
    chat,
    make_limit,
    make_policy,
    make_pool,
    make_routing,
    make_service,
    make_tenant,
)

ANY_DATA = DataPolicy()
WITH = {"adapters": ("polite",)}


def routed(*services):
    return Routing(make_routing(*services))


def wish(service, **changes):
    return Wish(service, ANY_DATA, 1, TrafficClass.INTERACTIVE, 1, 100.0, **changes)


FOUND = {
    "the service itself": ("tiny", ("tiny", "")),
    "an adapter of its release": ("polite", ("tiny", "polite")),
    "an adapter of a release without traffic": ("shy", None),
    "nobody's name": ("gone", None),
}


@pytest.mark.parametrize("case", FOUND)
def test_it_finds_by_name(case):
    name, want = FOUND[case]
    pools = make_pool("a", "h:1", **WITH), make_pool("b", "h:2", weight=0, adapters=("shy",))
    found = routed(make_service(*pools)).find(name)
    assert (found and (found[0].name, found[1])) == want


def test_a_service_wins_over_an_adapter_of_the_same_name():
    other = make_service(make_pool("b", "h:2"), id=8, name="polite")
    service, adapter = routed(make_service(make_pool("a", "h:1", **WITH)), other).find("polite")
    assert (service.name, adapter) == ("polite", "")


def test_an_adapter_of_a_placement_is_called_at_home():
    home = make_service(make_pool("a", "h:1"), placements=("away",))
    away = make_service(make_pool("b", "h:2", region="us", **WITH), id=8, name="away")
    routing = routed(away, home)
    assert routing.find("polite")[0].name == "tiny"
    assert [s.name for s in permitted(routing, home, ANY_DATA, adapter="polite")] == ["away"]
    refusal = refuse_policy(routing, home, DataPolicy(residency=("eu",)), "polite")
    assert refusal.reason is Reason.POLICY
    assert "'polite'" in refusal.message


async def test_only_releases_that_have_it_answer_whatever_their_weight():
    canary = Canary(rollout_id=1, release_id=9, only_tenants=(7,))
    service = make_service(
        make_pool("old", "h:1", weight=99),
        make_pool("new", "h:2", weight=1, release_id=9, **WITH),
        canary=canary,
    )
    pools = Pools(workers=1)
    pools.update(Routing(make_routing(service)))
    asked = wish(service, adapter="polite", conversation=b"x")
    assert {pools.take(asked, 0.0).pool.id for _ in range(5)} == {"new"}
    assert {pools.take(wish(service), 0.0).pool.id for _ in range(5)} == {"old"}


async def test_one_who_waits_is_seated_where_its_adapter_is():
    service = make_service(make_pool("a", "h:1"), make_pool("b", "h:2", max_num_seqs=1, **WITH))
    pools = Pools(workers=1)
    pools.update(Routing(make_routing(service)))
    asked = wish(service, adapter="polite")
    first = pools.take(asked, 0.0)
    assert pools.take(asked, 0.0) is None
    pools.give_back(first)
    assert (await pools.wait(asked, 0.0)).pool.id == "b"


def test_a_gateway_of_before_reads_the_snapshot_and_sees_no_adapter():
    document = msgspec.to_builtins(make_routing(make_service(make_pool("a", "h:1"))))
    for pool in document["services"]["tiny"]["pools"]:
        del pool["adapters"]
    read = msgspec.convert(document, RoutingSnapshot)
    assert Routing(read).find("polite") is None


async def test_a_request_for_an_adapter_end_to_end(fleet):
    old, new = await fleet.add_engine(), await fleet.add_engine()
    acme = make_tenant(1, "acme", models=("tiny", "polite"))
    service = make_service(
        make_pool("old", old.address),
        make_pool("new", new.address, weight=1, deployment_id=15, release_id=16, **WITH),
        fallbacks=("other",),
    )
    other = make_service(make_pool("c", old.address), id=9, name="other")
    policy = make_policy(
        tenants={1: acme, 2: make_tenant(2, "globex")},
        prices={"tiny": PRICE, "polite": msgspec.structs.replace(PRICE, version=4)},
        limits=(make_limit(model="polite", requests_per_minute=2),),
    )
    fleet.publish(policy, make_routing(service, other))
    await fleet.start()
    assert (await fleet.post(chat()))[0] == 200
    status, headers, body = await fleet.post(chat(model="polite"))
    assert (status, headers["x-gw-pool"]) == (200, "new"), body
    # Globex was not granted it, so for globex there is no such model.
    assert (await fleet.post(chat(model="polite"), key=GLOBEX_KEY))[0] == 404
    asked = {b["model"]: b["cache_salt"] for e in (old, new) for _, b in e.requests}
    assert asked.keys() == {"tiny", "polite"}
    assert len(set(asked.values())) == 2
    rows = {e["model"]: e for e in await fleet.events(3) if e["outcome"] == "served"}
    event = msgspec.convert(rows["polite"], UsageEvent)
    assert (event.adapter, event.service_id, event.release_id) == ("polite", 7, 16)
    assert (event.price_version, event.limit_versions) == (4, (10,))
    assert (rows["tiny"]["adapter"], rows["tiny"]["price_version"]) == ("", 3)
    # Its quota is its own: the third request a minute is refused, the service's model is not.
    assert [(await fleet.post(chat(model="polite")))[0] for _ in range(2)] == [200, 429]
    assert (await fleet.post(chat()))[0] == 200
    assert await listed(fleet, ACME_KEY) == {"polite": "tiny", "tiny": None}
    assert await listed(fleet, GLOBEX_KEY) == {"other": None, "tiny": None}
    # The release goes: the fallback of the service would answer as somebody else.
    fleet.publish(None, make_routing(make_service(service.pools[0], fallbacks=("other",)), other))
    answers = [status]
    while answers[-1] in (200, 429):
        answers.append((await fleet.post(chat(model="polite")))[0])
    assert answers[-1] == 404


async def listed(fleet, key):
    headers = {"authorization": f"Bearer {key}"}
    async with fleet.session.get(fleet.url + "/v1/models", headers=headers) as response:
        return {m["id"]: m["parent"] for m in (await response.json())["data"]}


async def test_nothing_stands_in_for_an_adapter(fleet):
    engine = await fleet.add_engine()
    service = make_service(make_pool("a", **WITH), fallbacks=("other",))
    other = make_service(make_pool("c", engine.address), id=9, name="other")
    acme = make_tenant(1, "acme", models=("tiny", "polite", "other"))
    policy = make_policy(tenants={1: acme, 2: make_tenant(2, "globex")})
    fleet.publish(policy, make_routing(service, other))
    await fleet.start()
    assert (await fleet.post(chat()))[0] == 200  # the fallback answers for the service
    status, _, body = await fleet.post(chat(model="polite"))
    assert (status, b"'polite'" in body) == (503, True)
