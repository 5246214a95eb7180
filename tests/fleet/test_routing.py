"""Which engines answer: out of what is wanted and seen, told once, told again when lost."""

from itertools import permutations

import msgspec
import pytest
import redis
from django.conf import settings

from fleet.actions.routing import publish_routing
from fleet.models import Cluster, Deployment, Node, ObservedPod, Placement, Service
from fleet.rules.routing import Offered, Placed, Replica, healthy, snapshot, with_workers
from gateway.contract import keys
from gateway.contract.outcomes import TrafficClass
from gateway.contract.routing import RoutingSnapshot
from tests.fleet.makers import (
    NOW,
    make_cluster,
    make_deployment,
    make_pod_row,
    make_release,
    make_service,
)

GOOD = Replica("a", "10.0.0.1:8000")


def placed(deployment_id=1, **changes):
    fields = {
        "release_id": 7,
        "release": "rel-aaaaaaaaaaaa",
        "weight": 100,
        "cluster": "east",
        "region": "eu-1",
        "replicas": (GOOD,),
    }
    return Placed(deployment_id=deployment_id, **(fields | changes))


LEFT_OUT = {
    "not ready": {"ready": False},
    "not admitted": {"admitted": False},
    "going away": {"terminating": True},
    "without an address": {"address": ""},
    "failing its probes": {"probe_failures": 2},
}


@pytest.mark.parametrize("changes", LEFT_OUT.values(), ids=LEFT_OUT)
def test_it_leaves_out_a_replica_that_is(changes):
    bad = Replica(**({"name": "b", "address": "10.0.0.2:8000"} | changes))
    assert healthy([GOOD, bad]) == [GOOD]


def test_it_keeps_a_replica_after_one_failed_probe():
    once = Replica("b", "10.0.0.2:8000", probe_failures=1)
    assert healthy([GOOD, once]) == [GOOD, once]


def test_it_never_empties_a_pool_because_of_probes():
    failing = [Replica(n, f"{n}:8000", probe_failures=9) for n in "ab"]
    gone = Replica("c", "c:8000", terminating=True)
    assert healthy([*failing, gone]) == failing


def test_it_writes_the_same_bytes_whatever_the_order():
    services = [
        Offered(1, "b", placed=(placed(2), placed(1))),
        Offered(2, "a", placed=(placed(3, replicas=(GOOD, Replica("0", "h:1"))),)),
    ]
    found = {msgspec.json.encode(snapshot(order)) for order in permutations(services)}
    turned = [Offered(1, "b", placed=(placed(1), placed(2))), services[1]]
    assert {msgspec.json.encode(snapshot(turned))} == found


def test_it_takes_what_the_release_says_about_its_engines():
    arguments = ("--max-num-seqs=4", "--scheduling-policy=priority")
    (pool,) = snapshot([Offered(1, "a", placed=(placed(arguments=arguments),))]).services["a"].pools
    assert (pool.max_num_seqs, pool.priority_scheduling) == (4, True)
    (pool,) = snapshot([Offered(1, "a", placed=(placed(),))]).services["a"].pools
    assert (pool.max_num_seqs, pool.priority_scheduling) == (256, False)
    assert pool.media_hosts == ()
    media = ("--allowed-media-domains=a.example.com,b.example.com",)
    (pool,) = snapshot([Offered(1, "a", placed=(placed(arguments=media),))]).services["a"].pools
    assert pool.media_hosts == ("a.example.com", "b.example.com")


def test_it_drops_pools_that_neither_take_nor_have_anything():
    kept = placed(1, weight=0)
    empty = placed(2, weight=0, replicas=())
    waiting = placed(3, weight=100, replicas=())
    pools = snapshot([Offered(1, "a", placed=(kept, empty, waiting))]).services["a"].pools
    assert [p.deployment_id for p in pools] == [1, 3]


def test_an_engine_over_several_pods_has_the_gpus_of_all_of_them():
    def pod(name, role, gpus=8):
        return Replica(name, f"{name}:8000", role=role, gpus=gpus)

    two = [pod(f"{of}-{n}", role) for n in "ab" for of, role in (("l", "serve"), ("w", "serve-w1"))]
    assert {r.name: r.gpus for r in with_workers(two)} == {
        "l-a": 16, "l-b": 16, "w-a": 8, "w-b": 8,
    }  # fmt: skip
    apart = [pod("p", "prefill", 2), pod("d", "decode", 4), pod("dw", "decode-w1", 4)]
    assert [r.gpus for r in with_workers(apart)] == [2, 8, 4]


def test_only_a_hosted_place_has_a_provider():
    own, away = (placed(n, hosted=hosted, provider="x") for n, hosted in ((1, False), (2, True)))
    pools = snapshot([Offered(1, "a", placed=(own, away))]).services["a"].pools
    assert [p.provider for p in pools] == ["", "x"]


def test_it_gives_every_class_an_objective():
    own = {"interactive": {"ttft_ms": 700}}
    objectives = snapshot([Offered(1, "a", objectives=own)]).services["a"].objectives
    assert set(objectives) == set(TrafficClass)
    assert objectives[TrafficClass.INTERACTIVE].ttft_ms == 700
    assert objectives[TrafficClass.INTERACTIVE].itl_ms == 100


# --- publishing ------------------------------------------------------------------


@pytest.fixture
def store():
    client = redis.Redis.from_url(settings.REDIS_URL)
    client.flushdb()
    return client


@pytest.fixture
def chat(db):
    cluster = make_cluster(region="eu-1")
    service = make_service(cluster=cluster, fallbacks=["small"])
    deployment = make_deployment(service, make_release(service), cluster)
    make_pod_row(deployment)
    return deployment


def told(store):
    version = int(store.get(keys.ROUTING_CURRENT))
    return msgspec.json.decode(store.get(keys.routing_doc(version)), type=RoutingSnapshot)


def test_it_tells_gateways_where_the_engines_are(store, chat):
    assert publish_routing() == 1
    document = told(store)
    service = document.services["chat"]
    assert (document.version, service.fallbacks) == (1, ("small",))
    (pool,) = service.pools
    assert (pool.region, pool.weight, pool.release) == ("eu-1", 100, chat.release.fingerprint)
    assert [e.address for e in pool.endpoints] == ["10.0.0.1:8000"]


def test_it_tells_whose_gpus_answer_and_which(store, chat):
    Cluster.objects.update(hosted=True, provider="Example AI")
    ObservedPod.objects.update(gpus=4)
    Node.objects.create(
        cluster=chat.cluster, name="h100-1", gpu_product="H100", changed_at=NOW, observed_at=NOW
    )
    publish_routing()
    (pool,) = told(store).services["chat"].pools
    assert (pool.hosted, pool.provider) == (True, "Example AI")
    assert [(e.gpus, e.gpu_product) for e in pool.endpoints] == [(4, "H100")]


def test_it_tells_nothing_new_when_nothing_changed(store, chat):
    assert [publish_routing() for _ in range(3)] == [1, 1, 1]


def test_it_tells_weights_and_endpoints_as_they_change(store, chat):
    publish_routing()
    Deployment.objects.update(weight=0)
    assert publish_routing() == 2
    assert told(store).services["chat"].pools[0].weight == 0
    ObservedPod.objects.update(terminating=True)
    assert publish_routing() == 3
    assert told(store).services["chat"].pools == ()


def test_it_tells_who_answers_for_a_name_elsewhere(store, chat):
    west = make_service("chat-west")
    Placement.objects.create(service=Service.objects.get(name="chat"), member=west, position=1)
    publish_routing()
    services = told(store).services
    assert services["chat"].placements == ("chat-west",)
    assert services["chat-west"].placements == ()


def test_it_tells_again_what_redis_has_lost(store, chat):
    publish_routing()
    store.flushdb()
    assert publish_routing() == 1
    assert "chat" in told(store).services
