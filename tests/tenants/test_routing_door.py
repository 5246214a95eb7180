"""The door for gateways that lost Redis: the newest routing, to usage sources only."""

import msgspec
import pytest
from django.test import Client

from gateway.contract.routing import RoutingSnapshot
from gateway.snapshots import decode_routing
from tenants.actions.snapshots import ROUTING, publish
from tenants.base.scope import fleet_scope
from tenants.clients.redis import ROUTING as NAMES
from tenants.clients.redis import SnapshotStore
from tenants.errors import Unavailable
from tenants.models import Snapshot, UsageSource
from tenants.rules.secrets import Kind, compose, digest

pytestmark = pytest.mark.django_db
URL = "/api/v1/routing/snapshot"
SECRET = compose(Kind.USAGE_SOURCE, "gateway1", "x" * 43)
EMPTY = RoutingSnapshot(version=0, issued_at=0.0, services={})


@pytest.fixture
def ask():
    with fleet_scope():
        UsageSource.objects.create(name="gw", public_id="gateway1", digest=digest(SECRET))
    return lambda query="", secret=SECRET: Client().get(
        URL + query, headers={"Authorization": f"Bearer {secret}"}
    )


def test_what_is_published_while_redis_is_away_is_kept_and_given(ask):
    with pytest.raises(Unavailable):
        publish(ROUTING, lambda now: EMPTY, SnapshotStore("redis://127.0.0.1:1", NAMES))
    newest = Snapshot.objects.filter(kind="routing").latest("version").version
    found = ask(f"?above={newest - 1}").json()
    assert found["version"] == newest
    taken = decode_routing(msgspec.json.encode(found["document"]))
    assert taken.document.version == newest
    assert ask(f"?above={newest}").json() == {"version": newest, "document": None}


def test_nothing_was_made_yet(ask):
    Snapshot.objects.filter(kind="routing").delete()
    assert ask().json() == {"version": 0, "document": None}


@pytest.mark.parametrize("query", ["?above=-1", "?above=x", "?beyond=1", f"?above={2**63}"])
def test_it_refuses_what_is_no_version(ask, query):
    assert ask(query).status_code == 422


def test_it_opens_to_usage_sources_only(ask, olga):
    assert olga.client.get(URL).status_code == 403
    assert ask(secret="wrong").status_code == 401
