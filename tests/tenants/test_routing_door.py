"""The door for gateways that lost Redis: the newest routing, to usage sources only."""

from datetime import timedelta

import msgspec
import pytest
from django.test import Client
from django.utils import timezone

from gateway.contract.routing import WORKER_HEADER, RoutingSnapshot
from gateway.snapshots import decode_routing
from tenants.actions.snapshots import KEEP_READERS, ROUTING, forget_readers, publish
from tenants.base.rows import database_now
from tenants.base.scope import fleet_scope
from tenants.clients.redis import ROUTING as NAMES
from tenants.clients.redis import SnapshotStore
from tenants.errors import Unavailable
from tenants.models import RoutingReader, Snapshot, UsageSource
from tenants.queries.snapshots import ASKS, routing_readers
from tenants.rules.secrets import Kind, compose, digest

pytestmark = pytest.mark.django_db
URL = "/api/v1/routing/snapshot"
SECRET = compose(Kind.USAGE_SOURCE, "gateway1", "x" * 43)
EMPTY = RoutingSnapshot(version=0, issued_at=0.0, services={})


@pytest.fixture
def ask():
    with fleet_scope():
        UsageSource.objects.create(name="gw", public_id="gateway1", digest=digest(SECRET))

    def asked(query="", secret=SECRET, worker=""):
        headers = {"Authorization": f"Bearer {secret}"} | (
            {WORKER_HEADER: worker} if worker else {}
        )
        return Client().get(URL + query, headers=headers)

    return asked


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


def test_who_asks_is_known_by_what_it_applies(ask):
    now = timezone.now()
    assert routing_readers(now) == []
    ask("?above=4", worker="gw-1")
    ask("?above=3", worker="gw-0")
    ask("?above=5", worker="gw-0")
    ask("?above=9")  # a gateway of the version before does not say its name
    found = routing_readers(timezone.now())
    assert [(r.worker, r.version) for r in found] == [("gw-0", 5), ("gw-1", 4)]
    assert all(r.age_seconds < 15 for r in found)
    assert routing_readers(now + ASKS + timedelta(minutes=1)) == []


def test_clocks_of_the_web_do_not_count(ask, monkeypatch):
    """Rollouts read by the database's: a gateway would not have been heard."""
    behind = timezone.now() - timedelta(minutes=1)
    monkeypatch.setattr(timezone, "now", lambda: behind)
    ask("?above=4", worker="gw-0")
    assert [r.worker for r in routing_readers(database_now())] == ["gw-0"]


def test_a_reader_is_forgotten_after_an_hour_and_its_name_has_an_end(ask):
    ask("?above=4", worker="g" * 900)
    assert [len(r.worker) for r in routing_readers(timezone.now())] == [128]
    forget_readers()
    assert RoutingReader.objects.exists()
    RoutingReader.objects.update(asked_at=timezone.now() - KEEP_READERS)
    forget_readers()
    assert not RoutingReader.objects.exists()


def test_a_stranger_is_no_reader(ask, olga):
    assert olga.client.get(URL, headers={"x-gateway-worker": "gw-9"}).status_code == 403
    assert ask(secret="wrong", worker="gw-9").status_code == 401
    assert routing_readers(timezone.now()) == []


@pytest.mark.parametrize("query", ["?above=-1", "?above=x", "?beyond=1", f"?above={2**63}"])
def test_it_refuses_what_is_no_version(ask, query):
    assert ask(query).status_code == 422


def test_it_opens_to_usage_sources_only(ask, olga):
    assert olga.client.get(URL).status_code == 403
    assert ask(secret="wrong").status_code == 401
