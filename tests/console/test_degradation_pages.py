"""Pages of degradation: the fleet's people see all tenants, a tenant's people their own."""

import csv
import io
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from fleet.actions.degradation import find
from fleet.actions.traffic import record
from fleet.rules.traffic import TrafficSample
from tenants.base.scope import fleet_scope
from tests.fleet.makers import (
    make_cluster,
    make_deployment,
    make_pod_row,
    make_release,
    make_service,
)
from tests.tenants.conftest import (
    _cheap_passwords,
    acme,
    adam,
    globex,
    mallory,
    olga,
    vic,
)

__all__ = ["_cheap_passwords", "acme", "adam", "globex", "mallory", "olga", "vic"]
pytestmark = pytest.mark.django_db


@pytest.fixture
def hurt(acme, globex):
    """Acme's requests fail, globex's are shed while its neighbour bursts."""
    now = timezone.now()
    cluster = make_cluster(observed_at=now)
    service = make_service(cluster=cluster)
    deployment = make_deployment(service, make_release(service), cluster)
    make_pod_row(deployment)

    def send(tenant, n, **changes):
        one = {
            "at": now, "tenant_id": tenant.pk, "service_id": service.pk,
            "release_id": deployment.release_id, "traffic_class": "interactive",
            "outcome": "served", "ttft_ms": 90.0, "itl_ms": 9.0, "queue_ms": 1.0,
        }  # fmt: skip
        record([TrafficSample(**(one | changes))] * n)

    with fleet_scope():
        send(acme, 60)
        send(acme, 40, outcome="failed", reason="upstream_error")
        send(acme, 9000, traffic_class="batch", prompt_tokens=900)
        send(globex, 30, outcome="shed", reason="pool_full")
        find(now + timedelta(seconds=1))


def get(person, address):
    return person.client.get(address)


def test_it_lists_the_hurt_ones_first(hurt, olga):
    page = get(olga, "/degradation/").content.decode()
    assert page.index("tenants/acme/degradation") < page.index("tenants/globex/degradation")
    assert "fails acme&#x27;s interactive requests" in page
    only = get(olga, "/degradation/?q=glob").content.decode()
    assert "tenants/acme/degradation" not in only
    assert "No tenant fits" in get(olga, "/degradation/?q=nobody").content.decode()


def test_it_shows_a_tenants_people_only_their_own(hurt, adam, mallory):
    page = get(adam, "/degradation/").content.decode()
    assert "tenants/acme/degradation" in page
    assert "tenants/globex/degradation" not in page
    assert get(mallory, "/tenants/acme/degradation/").status_code == 404


def test_it_names_the_neighbour_to_the_fleets_people_only(hurt, olga, mallory):
    address = "/tenants/globex/degradation/?service=chat&class=interactive"
    told, own = (get(p, address).content.decode() for p in (olga, mallory))
    assert "another tenant&#x27;s batch traffic" in own
    assert "acme, batch" in told
    assert "acme" not in own


def test_it_shows_causes_outcomes_and_the_way_to_the_requests(hurt, vic):
    page = get(vic, "/tenants/acme/degradation/?service=chat&class=interactive").content.decode()
    assert "Engines answered with errors" in page
    assert "upstream error 40" in page
    assert "outcome=failed" in page and "tenant=acme" in page
    assert "objective p95" in page


def test_it_gives_the_same_rows_as_a_file(hurt, olga):
    answer = get(olga, "/tenants/acme/degradation/?format=csv")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert sum(int(r["failed"]) for r in rows) == 40
    assert sum(int(r["served"]) for r in rows) == 9060
    assert answer.headers["Content-Type"].startswith("text/csv")
    listed = get(olga, "/degradation/?format=json").json()
    assert {r["tenant"]: r["failed"] for r in listed} == {"acme": 40, "globex": 0}


def test_it_says_that_there_was_nothing(acme, olga):
    page = get(olga, "/tenants/acme/degradation/").content.decode()
    assert "No requests in this range" in page


WRONG = {
    "an unknown service": ("service=nix", 422),
    "an unknown class": ("class=gold", 404),
    "a range that ends before it starts": ("from=now&to=now-1h", 422),
    "no time at all": ("from=yesterday", 422),
}


@pytest.mark.parametrize(("query", "want"), WRONG.values(), ids=WRONG)
def test_it_refuses(hurt, olga, query, want):
    assert get(olga, f"/tenants/acme/degradation/?{query}").status_code == want


def test_it_sends_strangers_to_the_sign_in_page(client):
    assert client.get("/degradation/").status_code == 302
    assert client.get("/tenants/acme/degradation/").status_code == 302


@pytest.mark.parametrize("address", ["/degradation/", "/tenants/acme/degradation/?service=chat"])
def test_it_asks_the_database_at_most_thirty_times(hurt, olga, address):
    get(olga, address)  # the session's first visit writes the session down
    with CaptureQueriesContext(connection) as asked:
        get(olga, address)
    # In production the outermost savepoints are BEGIN and COMMIT.
    assert len([q for q in asked if "SAVEPOINT" not in q["sql"]]) <= 30
