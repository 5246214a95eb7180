"""Adapters in the console: one meaning a name, who uses them, and what a rollout would take."""

from datetime import timedelta

import pytest
from django.utils import timezone

from fleet.actions.traffic import record
from fleet.actions.trimming import trim
from fleet.models import AdapterUse, Deployment, Placement, Service
from fleet.queries.adapters import adapter_names
from fleet.queries.routing import build_routing
from fleet.rules.traffic import TrafficSample
from tenants.base.scope import fleet_scope
from tests.fleet.makers import make_deployment, make_pod_row, make_release, make_service
from tests.fleet.test_pins import V1, A, make, post, service

__all__ = ["service"]

pytestmark = pytest.mark.django_db
POLITE = {"name": "polite", "path": "/adapters/polite", "digest": A}
PINS = {"adapters": [POLITE]}


@pytest.fixture
def served(service):
    """A service whose release has the adapter."""
    release = make_release(service, digest="e" * 64, pins=PINS, arguments=["--enable-lora"])
    service.current_release = release
    service.save(update_fields=["current_release"])
    row = make_deployment(service, release, service.cluster)
    make_pod_row(row)
    return service


def use(of, tenant, n=3, **changes):
    fields = {
        "at": timezone.now(), "tenant_id": tenant.pk, "service_id": of.pk, "release_id": 1,
        "traffic_class": "interactive", "outcome": "served", "adapter": "polite",
    }  # fmt: skip
    with fleet_scope():
        record([TrafficSample(**(fields | changes))] * n)


def test_the_snapshot_tells_gateways_which_releases_have_it(served):
    plain = make_release(served, 2, digest="f" * 64)
    make_deployment(served, plain, served.cluster, weight=1)
    pools = build_routing(timezone.now()).services["chat"].pools
    assert sorted(pool.adapters for pool in pools) == [(), ("polite",)]


def test_a_name_means_one_thing_in_the_whole_fleet(olga, served):
    other = make_service("code", cluster=served.cluster)
    taken = make(olga, other, pins=PINS)
    assert taken.status_code == 422
    assert "polite is an adapter of chat" in taken.json()["errors"][0]["detail"]
    named = make(olga, other, pins={"adapters": [POLITE | {"name": "chat"}]})
    assert "chat is the name of a service" in named.json()["errors"][0]["detail"]
    body = {"name": "polite", "cluster_id": served.cluster_id}
    answer = post(olga, "services", body)
    assert answer.status_code == 409, answer.content
    assert "polite is an adapter of chat" in answer.json()["detail"]


def test_placements_of_one_name_share_its_adapters(olga, served):
    west = make_service("chat-west", cluster=served.cluster)
    Placement.objects.create(service=served, member=west, position=1)
    assert make(olga, west, pins=PINS).status_code == 201


def test_a_comparison_says_who_would_miss_it(olga, served, acme, globex):
    use(served, acme, 3)
    use(served, globex, 1200)
    use(served, acme, 9, at=timezone.now() - timedelta(days=8))
    use(served, acme, 5, adapter="")
    without = make(olga, served).json()["release"]["id"]
    old = served.current_release_id
    found = olga.client.get(f"{V1}releases/{old}/compare?to={without}").json()
    said = "polite is in use and no longer answered: 1,203 requests in the last 7 days, of globex,"
    assert found["visible"][0].startswith(said)
    back = olga.client.get(f"{V1}releases/{without}/compare?to={old}").json()
    assert not any("in use" in text for text in back["visible"])


def test_a_plan_says_it_before_the_button(olga, served, acme):
    use(served, acme, 1)
    without = make(olga, served).json()["release"]["id"]
    body = {"service_id": served.pk, "release_id": without}
    plan = post(olga, "plans", body)
    assert plan.status_code == 200, plan.content
    text = "polite is in use and no longer answered: 1 request in the last 7 days, of acme"
    assert plan.json()["visible"][0].startswith(text)
    assert any(text in c["text"] and c["verdict"] == "warn" for c in plan.json()["checks"])


def test_operators_may_grant_adapters_and_tenants_do_not_see_those_of_others(olga, mallory, served):
    assert adapter_names(olga.viewer) == ["polite"]
    assert adapter_names(mallory.viewer) == []
    Deployment.objects.update(weight=0, replicas=0)
    Service.objects.update(current_release=None)
    assert adapter_names(olga.viewer) == []


def test_uses_end_with_the_dashboards(served, acme):
    use(served, acme, 1)
    use(served, acme, 1, at=timezone.now() - timedelta(days=121))
    assert trim(timezone.now())["adapters"] == 1
    with fleet_scope():
        assert AdapterUse.objects.count() == 1
