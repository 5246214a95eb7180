"""The policy that gateways get is what the rows say, and is told once."""

import os
import time

import pytest
import redis
from msgspec import json

from gateway.contract import keys as names
from gateway.contract.policy import PolicySnapshot
from tenants.actions import keys, quotas, tenants
from tenants.actions.policy import keep_policy, publish_policy
from tenants.actions.prices import PublishedPrice, publish_prices
from tenants.actions.quotas import Target
from tenants.base.scope import fleet_scope
from tenants.clients.redis import PolicyStore
from tenants.errors import Forbidden, Unavailable
from tenants.models import Snapshot
from tenants.rules.keys import Wish
from tenants.rules.quotas import Limits

pytestmark = pytest.mark.django_db

WISH = Wish("ci", ("inference",), None, "batch", None)


# Workers of a parallel run share one server: each has a database of its own there.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


@pytest.fixture
def server(settings):
    settings.REDIS_URL = settings.REDIS_URL.replace("db=0", f"db={WORKER % 14 + 1}")
    client = redis.Redis.from_url(settings.REDIS_URL)
    client.flushdb()
    return client


@pytest.fixture
def store(server, settings):
    return PolicyStore(settings.REDIS_URL)


def told(server):
    version = int(server.get(names.POLICY_CURRENT))
    return json.decode(server.get(names.policy_doc(version)), type=PolicySnapshot)


def test_it_tells_gateways_all_they_need(server, store, olga, chat):
    with olga.scope():
        tenants.grant_model(olga.viewer, "acme", "tiny-chat")
        key, secret = keys.create_key(olga.viewer, "acme", "chat", wish=WISH)
        quota = quotas.set_quota(
            olga.viewer,
            Target("acme"),
            limits=Limits(concurrency=3, monthly_budget=12, monthly_tokens=5_000),
        )
    publish_policy(store)
    policy = told(server)
    assert policy.tenants[chat.tenant_id].models == ("tiny-chat",)
    assert policy.keys[key.digest].application == "chat"
    assert secret not in server.get(names.policy_doc(policy.version)).decode()
    (limit,) = policy.limits
    assert (limit.id, limit.concurrency, limit.budget_micros) == (quota.series, 3, 12_000_000)
    assert (limit.budget_tokens, limit.budget_input_tokens) == (5_000, None)
    assert limit.budget_ends_at > time.time()


def test_it_publishes_once_what_did_not_change(server, store, acme):
    bell = server.pubsub(ignore_subscribe_messages=True)
    bell.subscribe(names.POLICY_CHANNEL)
    bell.get_message(timeout=1)
    assert [publish_policy(store) for _ in range(3)] == [1, 1, 1]
    assert Snapshot.objects.count() == 1
    assert bell.get_message(timeout=1)["data"] == b"1"
    assert bell.get_message(timeout=0.1) is None


def test_it_tells_again_what_redis_lost(server, store, acme):
    publish_policy(store)
    server.flushdb()
    publish_policy(store)
    assert told(server).version == 1
    server.delete(names.policy_doc(1))
    publish_policy(store)
    assert told(server).version == 1


def test_it_goes_past_a_redis_that_is_ahead_of_a_restored_database(server, store, acme):
    server.set(names.POLICY_CURRENT, "41")
    assert publish_policy(store) == 42
    assert told(server).version == 42


def test_it_never_moves_the_pointer_back(server, store):
    store.publish(8, b"{}")
    store.publish(7, b"{}")
    assert server.get(names.POLICY_CURRENT) == b"8"
    assert 0 < server.ttl(names.policy_doc(7)) <= names.SNAPSHOT_SECONDS
    assert server.ttl(names.policy_doc(8)) == -1


def test_it_keeps_counting_under_one_series(olga, acme):
    with olga.scope():
        first = quotas.set_quota(olga.viewer, Target("acme"), limits=Limits(concurrency=3))
        second = quotas.set_quota(olga.viewer, Target("acme"), limits=Limits(concurrency=5))
        quotas.clear_quota(olga.viewer, second.series)
        third = quotas.set_quota(olga.viewer, Target("acme"), limits=Limits(concurrency=5))
    assert [q.series for q in (first, second, third)] == [first.pk] * 3
    assert [q.version for q in (first, second, third)] == [1, 2, 3]


def test_it_leaves_out_revoked_keys_and_tells_suspension(server, store, olga, chat):
    with olga.scope():
        key, _ = keys.create_key(olga.viewer, "acme", "chat", wish=WISH)
        keys.revoke_key(olga.viewer, "acme", key.public_id)
        tenants.suspend_tenant(olga.viewer, "acme", why="unpaid")
    publish_policy(store)
    assert told(server).keys == {}
    assert told(server).tenants[chat.tenant_id].suspended


def test_it_rings_for_a_revoked_key_at_once(server, olga, chat, django_capture_on_commit_callbacks):
    bell = server.pubsub(ignore_subscribe_messages=True)
    bell.subscribe(names.REVOKED_CHANNEL)
    bell.get_message(timeout=1)
    with olga.scope():
        key, _ = keys.create_key(olga.viewer, "acme", "chat", wish=WISH)
    started = time.monotonic()
    with django_capture_on_commit_callbacks(execute=True), olga.scope():
        keys.revoke_key(olga.viewer, "acme", key.public_id)
    assert bell.get_message(timeout=5)["data"].decode() == key.digest
    assert time.monotonic() - started < 5


def test_it_tells_prices_and_forgets_those_withdrawn(server, store, fiona, olga):
    price = PublishedPrice(version=3, prompt=150_000, cached=15_000, completion=600_000)
    with fiona.scope():
        publish_prices(fiona.viewer, {"tiny-chat": price, "old": price})
        publish_prices(fiona.viewer, {"tiny-chat": price})
    publish_policy(store)
    assert list(told(server).prices) == ["tiny-chat"]
    assert told(server).prices["tiny-chat"].cached == 15_000
    with olga.scope(), pytest.raises(Forbidden):
        publish_prices(olga.viewer, {})


def test_it_says_when_redis_does_not_answer():
    with pytest.raises(Unavailable):
        PolicyStore("redis://127.0.0.1:1/0").look()


def test_it_makes_the_same_version_of_the_same_rows(acme, globex):
    with fleet_scope():
        assert keep_policy().pk == keep_policy().pk
