"""The REST API of clusters, services and degradation: tried by all, strangers find nothing."""

from datetime import timedelta

import pytest
from django.utils import timezone

from fleet.actions import clusters as cluster_actions
from fleet.actions import services as service_actions
from fleet.actions.clusters import Examined
from fleet.actions.degradation import find
from fleet.actions.traffic import record
from fleet.api.observation_urls import urlpatterns
from fleet.clients.kube import Access
from fleet.models import Cluster, EngineSample, NodeDrift, ObservedPod, Service
from fleet.rules.traffic import TrafficSample
from tenants.base.scope import fleet_scope
from tenants.errors import Conflict, Forbidden, Invalid, NotFound, Stale
from tenants.models import AuditEvent
from tests.fleet.makers import (
    make_cluster,
    make_deployment,
    make_pod_row,
    make_release,
    make_service,
)

pytestmark = pytest.mark.django_db
V1 = "/api/v1/"
EXAMINED = Examined(Access(kubeconfig={"users": ["secret"]}), "https://10.0.0.1", "v1.36.2", ())
KUBECONFIG = """
apiVersion: v1
current-context: c
contexts: [{name: c, context: {cluster: k, user: u}}]
clusters: [{name: k, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {token: t}}]
"""


@pytest.fixture
def world(acme, globex):
    now = timezone.now()
    cluster = make_cluster(observed_at=now)
    service = make_service(cluster=cluster)
    deployment = make_deployment(service, make_release(service), cluster)
    make_pod_row(deployment)
    one = TrafficSample(
        at=now,
        tenant_id=acme.pk,
        service_id=service.pk,
        release_id=deployment.release_id,
        traffic_class="interactive",
        outcome="failed",
        reason="upstream_error",
        ttft_ms=90.0,
    )
    with fleet_scope():
        record([one] * 30)
        find(now + timedelta(seconds=1))
    return {"cluster": cluster.pk, "service": service.pk}


READS = {
    "clusters": "clusters",
    "cluster": "clusters/{cluster}",
    "nodes": "nodes",
    "gateways": "gateways",
    "services": "services",
    "service": "services/{service}",
    "contract": "services/{service}/contract",
    "what scaled a service": "services/{service}/scaling/decisions",
    "drift": "drift",
    "changed nodes": "node-drift",
}
BOUNDS = {"min_replicas": 1, "max_replicas": 4, "target": 16}
WRITES = {
    "change a cluster": ("patch", "clusters/{cluster}", {"name": "East 2"}),
    "remove a cluster": ("delete", "clusters/{cluster}", None),
    "create a service": ("post", "services", {"name": "large"}),
    "keep a contract": (
        "put",
        "services/{service}/contract",
        {"prompts": [{"name": "long", "kind": "too_long"}], "why": "x"},
    ),
    "change a service": ("patch", "services/{service}", {"replicas": 3}),
    "scale a service": ("put", "services/{service}/scaling", BOUNDS),
    "leave its number to people": ("delete", "services/{service}/scaling", None),
    "wake a service": ("post", "services/{service}/scaling/wake", {}),
}


def call(person, method, address, body=None, **headers):
    sent = {"data": body, "content_type": "application/json"} if body is not None else {}
    return getattr(person.client, method)(V1 + address, headers=headers, **sent)


def test_it_tries_every_address():
    tried = {a.replace("{cluster}", "<int:cluster_id>").replace("{service}", "<int:service_id>")
             for a in [*READS.values(), *(w[1] for w in WRITES.values())]}  # fmt: skip
    by_name = {  # below, and tests/fleet/test_contracts.py
        "findings",
        "tenants/<slug:slug>/degradation",
        "clusters/<int:cluster_id>/credential",
        "services/<int:service_id>/contract/try",
        "deployments/<int:deployment_id>/adopt",
        "deployments/<int:deployment_id>/adopt-content",
        "deployments/<int:deployment_id>/repair",
        "node-drift/<int:drift_id>/accept",
    }
    assert {str(p.pattern) for p in urlpatterns} == tried | by_name


@pytest.mark.parametrize("address", READS.values(), ids=READS)
def test_it_shows_the_fleet_to_the_fleets_people_only(world, olga, vic, mallory, client, address):
    at = address.format(**world)
    assert call(olga, "get", at).status_code == 200
    assert call(vic, "get", at).status_code == 200
    assert call(mallory, "get", at).status_code in {403, 404}
    assert client.get(V1 + at).status_code == 401


@pytest.mark.parametrize(("method", "address", "body"), WRITES.values(), ids=WRITES)
def test_it_lets_operators_write_only(world, vic, fiona, mallory, client, method, address, body):
    at = address.format(**world)
    for person in (vic, fiona, mallory):
        assert call(person, method, at, body, **{"If-Match": '"1-1"'}).status_code in {403, 404}
    assert getattr(client, method)(V1 + at).status_code == 401
    assert Cluster.objects.get().version == 1 and Service.objects.get().version == 1


def test_it_creates_and_changes_a_service(world, olga):
    made = call(
        olga, "post", "services", {"name": "large", "objectives": {"batch": {"ttft_ms": 9}}}
    )
    assert made.status_code == 201
    assert made.json()["objectives"]["batch"]["ttft_ms"] == 9
    at = f"services/{made.json()['service']['id']}"
    assert call(olga, "patch", at, {"max_queue": 8}).status_code == 428
    etag = made.headers["ETag"]
    changed = call(olga, "patch", at, {"max_queue": 8, "why": "short"}, **{"If-Match": etag})
    assert (changed.status_code, changed.json()["max_queue"]) == (200, 8)
    assert call(olga, "patch", at, {"max_queue": 9}, **{"If-Match": etag}).status_code == 412
    with fleet_scope():
        told = AuditEvent.objects.get(verb="service.change")
    assert (told.before["max_queue"], told.after["max_queue"], told.why) == (256, 8, "short")


def test_it_accepts_what_a_node_has_now(world, olga, vic):
    drift = NodeDrift.objects.create(
        cluster_id=world["cluster"], node="n1", kind="label", name="nvidia.com/gpu.product",
        expected="NVIDIA-H100", live="NVIDIA-A100", found_at=timezone.now(),
    )  # fmt: skip
    (shown,) = call(olga, "get", "node-drift").json()
    assert (shown["node"], shown["expected"]) == ("n1", "NVIDIA-H100")
    assert shown["line_back"].startswith("kubectl label node n1 ")
    at, asked = f"node-drift/{drift.pk}/accept", {"live": "NVIDIA-A100", "why": "new cards"}
    assert call(vic, "post", at, asked).status_code == 403
    assert call(olga, "post", at, asked | {"live": "NVIDIA-L40S"}).status_code == 409
    answer = call(olga, "post", at, asked)
    assert (answer.status_code, answer.json()) == (200, [])
    with fleet_scope():
        assert AuditEvent.objects.get(verb="node.accept").why == "new cards"


WRONG = {
    "no name": {},
    "a name with spaces": {"name": "a b"},
    "capital letters": {"name": "Large"},
    "an unknown member": {"name": "a", "sice": 3},
    "replicas as text": {"name": "a", "replicas": "3"},
    "no replicas": {"name": "a", "replicas": 0},
    "an unknown class": {"name": "a", "objectives": {"gold": {"ttft_ms": 1}}},
    "an unknown objective": {"name": "a", "objectives": {"batch": {"speed": 1}}},
    "an objective of nothing": {"name": "a", "objectives": {"batch": {"ttft_ms": 0}}},
    "objectives that are a list": {"name": "a", "objectives": [1]},
    "a cluster that is not there": {"name": "a", "cluster_id": 10**9},
    "a fallback that is not there": {"name": "a", "fallbacks": ["none"]},
    "itself as fallback": {"name": "a", "fallbacks": ["a"]},
}


@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG)
def test_it_refuses_a_service_with(world, olga, body):
    answer = call(olga, "post", "services", body)
    assert answer.status_code == 422
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.json()["errors"]
    assert Service.objects.count() == 1


def test_it_refuses_a_body_that_is_no_json(world, olga):
    for body in ("{", '{"name":"a","name":"b"}', "NaN"):
        answer = olga.client.post(f"{V1}services", body, content_type="application/json")
        assert answer.status_code == 400


def test_it_refuses_a_second_service_of_that_name(world, olga):
    assert call(olga, "post", "services", {"name": "chat"}).status_code == 409


def test_it_refuses_fallbacks_in_a_circle(world, olga):
    with olga.scope():
        service_actions.create(olga.viewer, name="b", fallbacks=["chat"])
        with pytest.raises(Invalid, match="chat → b → chat"):
            service_actions.change(olga.viewer, world["service"], None, fallbacks=["b"])


def test_it_refuses_to_move_a_service_that_runs(world, olga):
    west = make_cluster("west")
    with olga.scope(), pytest.raises(Conflict, match="It runs in its cluster"):
        service_actions.change(olga.viewer, world["service"], None, cluster_id=west.pk)


# The door of registrations opens its own transaction, after the cluster has answered.


@pytest.mark.django_db(transaction=True)
def test_it_lets_operators_register_only(vic, mallory, client):
    body = {"slug": "west", "kubeconfig": KUBECONFIG}
    assert call(vic, "post", "clusters", body).status_code == 403
    assert call(mallory, "post", "clusters", body).status_code == 404
    assert client.post(f"{V1}clusters", body).status_code == 401
    assert not Cluster.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_it_keeps_the_old_credential_while_the_new_one_does_not_work(olga, vic, mallory):
    cluster = make_cluster()
    at, body = f"clusters/{cluster.pk}/credential", {"kubeconfig": KUBECONFIG}
    match = {"If-Match": cluster.etag}
    assert call(olga, "put", at, body).status_code == 428
    assert call(olga, "put", at, body, **match).status_code == 503
    assert call(olga, "put", at, {"kubeconfig": "{"}, **match).status_code == 422
    assert call(vic, "put", at, body, **match).status_code == 403
    assert call(mallory, "put", at, body, **match).status_code == 404
    kept = Cluster.objects.get()
    assert (bytes(kept.credential), kept.version) == (bytes(cluster.credential), 1)


@pytest.mark.django_db(transaction=True)
def test_it_shows_the_refusal_of_a_new_credential_on_the_page(olga, vic):
    cluster = make_cluster()
    address = f"/clusters/{cluster.slug}/credential/"
    assert olga.client.get(address).status_code == 200
    sent = {"kubeconfig": KUBECONFIG, "version": 1}
    answer = olga.client.post(address, sent)
    assert answer.status_code == 422
    assert "The cluster&#x27;s API does not answer" in answer.content.decode()
    assert vic.client.post(address, sent).status_code == 403


@pytest.mark.django_db(transaction=True)
def test_it_says_that_a_cluster_does_not_answer(olga):
    answer = call(olga, "post", "clusters", {"slug": "west", "kubeconfig": KUBECONFIG})
    assert answer.status_code == 503
    assert "https://127.0.0.1:1: The cluster's API does not answer" in answer.json()["detail"]
    assert not Cluster.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_it_refuses_a_kubeconfig_that_runs_commands(olga):
    bad = KUBECONFIG.replace("token: t", "exec: {command: rm}")
    answer = call(olga, "post", "clusters", {"slug": "west", "kubeconfig": bad})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/kubeconfig"


def test_it_registers_a_cluster_and_keeps_its_credential_to_itself(olga):
    with olga.scope():
        cluster = cluster_actions.register(olga.viewer, EXAMINED, slug="west", region="eu-2")
    assert b"secret" not in bytes(cluster.credential)
    with fleet_scope():
        told = AuditEvent.objects.get(verb="cluster.register")
    assert "credential" not in told.after
    shown = call(olga, "get", f"clusters/{cluster.pk}").json()
    assert "kind: ClusterRole" in shown["rbac"]
    assert "secret" not in str(shown).replace("weights_secret", "")
    with olga.scope(), pytest.raises(Conflict):
        cluster_actions.register(olga.viewer, EXAMINED, slug="west")


def test_it_changes_and_removes_a_cluster(world, olga):
    at = f"clusters/{world['cluster']}"
    etag = call(olga, "get", at).headers["ETag"]
    changed = call(olga, "patch", at, {"region": "eu-9", "why": "moved"}, **{"If-Match": etag})
    assert changed.json()["cluster"]["region"] == "eu-9"
    other = {"If-Match": f'"{world["cluster"] + 1}-2"'}
    assert call(olga, "patch", at, {"region": "x"}, **other).status_code == 412
    assert call(olga, "patch", at, {"region": "x"}, **{"If-Match": etag}).status_code == 412
    kept = call(olga, "delete", at, **{"If-Match": changed.headers["ETag"]})
    assert kept.status_code == 409
    assert "1 services are placed there: chat" in kept.json()["detail"]
    Service.objects.update(cluster=None)
    assert call(olga, "delete", at, **other).status_code == 412
    assert call(olga, "delete", at, **{"If-Match": changed.headers["ETag"]}).status_code == 204
    assert call(olga, "get", at).status_code == 404
    removed = Cluster.objects.get()
    assert (bytes(removed.credential), removed.look_again) == (b"", None)
    with olga.scope():
        cluster_actions.register(olga.viewer, EXAMINED, slug="east")


def test_it_names_the_provider_of_a_hosted_cluster(world, olga):
    at = f"clusters/{world['cluster']}"
    etag = call(olga, "get", at).headers["ETag"]
    given = {"hosted": True, "provider": " Example AI ", "why": "rented"}
    changed = call(olga, "patch", at, given, **{"If-Match": etag})
    assert changed.json()["cluster"]["provider"] == "Example AI"
    bad = call(olga, "patch", at, {"provider": "a, b"}, **{"If-Match": changed.headers["ETag"]})
    assert bad.status_code == 422
    assert bad.json()["errors"][0]["pointer"] == "/provider"


def test_it_declares_a_cache_for_weights_and_says_so_in_the_audit(world, olga):
    at = f"clusters/{world['cluster']}"
    given = {"weights_cache": "/srv/w/", "weights_secret": "hub"}
    etag = call(olga, "get", at).headers["ETag"]
    changed = call(olga, "patch", at, given, **{"If-Match": etag})
    assert changed.json()["cluster"]["weights_cache"] == "/srv/w"
    with fleet_scope():
        told = AuditEvent.objects.get(verb="cluster.change")
    assert told.after["weights_cache"] == "/srv/w"
    etag = changed.headers["ETag"]
    bad = call(olga, "patch", at, {"weights_cache": "/etc"}, **{"If-Match": etag})
    assert (bad.status_code, bad.json()["errors"][0]["pointer"]) == (422, "/weights_cache")


def test_it_refuses_actions_of_those_who_only_look(world, vic):
    with vic.scope():
        for act in (
            lambda: service_actions.create(vic.viewer, name="x"),
            lambda: service_actions.change(vic.viewer, world["service"], None, replicas=2),
            lambda: cluster_actions.change(vic.viewer, world["cluster"], None, name="x"),
            lambda: cluster_actions.remove(vic.viewer, world["cluster"], None),
            lambda: cluster_actions.examine(vic.viewer, kubeconfig=KUBECONFIG),
        ):
            with pytest.raises(Forbidden):
                act()


def test_it_tells_stale_from_absent(world, olga):
    with olga.scope():
        with pytest.raises(Stale):
            service_actions.change(olga.viewer, world["service"], 7, replicas=2)
        with pytest.raises(NotFound):
            service_actions.change(olga.viewer, 10**9, None, replicas=2)


def test_it_shows_a_service_with_what_is_wanted_and_live(world, olga):
    shown = call(olga, "get", f"services/{world['service']}").json()["service"]
    assert (shown["sync"], shown["health"], shown["serving"]) == ("in_sync", "degraded", 1)
    assert (shown["findings"], shown["requests"], shown["answered"]) == (1, 30, 0)
    (pod,) = shown["deployments"][0]["pods"]
    assert (pod["name"], pod["load"]) == ("chat-1", None)


def test_it_shows_what_a_replica_does_as_its_metrics_said_last(world, olga):
    pod, now = ObservedPod.objects.get(), timezone.now()
    for seconds, running in ((400, 9), (8, 2), (3, 3)):
        at = now - timedelta(seconds=seconds)
        EngineSample.objects.create(
            pod_uid=pod.uid, service_id=world["service"], release_id=1, at=at, running=running,
            waiting=1, kv_usage=0.5,
        )  # fmt: skip
    shown = call(olga, "get", f"services/{world['service']}").json()["service"]
    load = shown["deployments"][0]["pods"][0]["load"]
    assert (load["running"], load["waiting"], load["kv_usage"]) == (3, 1, 0.5)
    listed = call(olga, "get", "services").json()[0]
    assert "load" not in listed["deployments"][0]["pods"][0]


# --- degradation: also for tenants' own people -------------------------------------


def test_it_shows_a_tenant_its_own_degradation(world, olga, adam, mallory):
    for person in (olga, adam):
        found = call(person, "get", "tenants/acme/degradation").json()
        assert found["totals"] == {"failed": 30}
        assert found["findings"][0]["cause"] == "engine_errors"
        assert sum(found["outcomes"]["failed"]) == 30
    assert call(mallory, "get", "tenants/acme/degradation").status_code == 404
    assert call(mallory, "get", "findings").json()["results"] == []
    assert len(call(adam, "get", "findings?open=true").json()["results"]) == 1


def test_it_refuses_impossible_ranges(world, olga):
    for query in ("start=2026-01-01T00:00:00Z&end=2025-01-01T00:00:00Z", "start=x", "service=nix"):
        assert call(olga, "get", f"tenants/acme/degradation?{query}").status_code == 422


@pytest.mark.parametrize("verb", ["repair", "adopt", "adopt-content"])
def test_it_lets_operators_alone_end_drift(world, olga, vic, fiona, mallory, client, verb):
    more = {"adopt": {"replicas": 1}, "adopt-content": {"edit": "0a"}}
    body = {"why": "by hand"} | more.get(verb, {})
    at = f"deployments/{world['service'] + 1000}/{verb}"
    for person in (vic, fiona, mallory):
        assert call(person, "post", at, body).status_code in {403, 404}
    assert client.post(V1 + at, body, content_type="application/json").status_code == 401
    assert call(olga, "post", at, body).status_code == 404
    assert call(olga, "post", at, {}).status_code == 422
