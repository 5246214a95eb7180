"""What gateway workers say about themselves, compared with what they ought to have applied."""

from datetime import UTC, datetime

import msgspec
import pytest
import redis
from django.conf import settings

from fleet.clients.reports import read_reports
from fleet.queries.gateways import read_gateways
from gateway.contract import keys
from gateway.contract.usage import PoolReport, WorkerReport
from tenants.models import Snapshot

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture
def store():
    client = redis.Redis.from_url(settings.REDIS_URL)
    client.flushdb()
    return client


def report(store, worker, **changes):
    fields = {
        "worker": worker, "at": NOW.timestamp() - 1, "policy_version": 7, "routing_version": 3,
        "in_flight": 2, "spool_events": 5, "spool_oldest_seconds": 0.5,
        "pools": {"d1": PoolReport(in_flight=2, queued=1, limit=8)}, "flags": ("degraded:quota",),
    }  # fmt: skip
    document = msgspec.json.encode(WorkerReport(**(fields | changes)))
    store.set(keys.report(worker), document, ex=keys.REPORT_SECONDS)


@pytest.mark.django_db
def test_it_shows_who_is_behind(store):
    for kind, version in (("policy", 6), ("policy", 7), ("routing", 4)):
        Snapshot.objects.create(kind=kind, version=version, digest="", document=b"")
    report(store, "w1", routing_version=4)
    report(store, "w2")
    found = read_gateways(NOW)
    assert [(w.worker, w.policy_behind, w.routing_behind) for w in found.workers] == [
        ("w1", 0, 0), ("w2", 0, 1),
    ]  # fmt: skip
    assert (found.drifted, found.spool_events, found.workers[0].age_seconds) == (1, 10, 1.0)


def test_it_leaves_out_what_cannot_be_read(store):
    store.set(keys.report("bad"), b"{")
    report(store, "good")
    assert [r.worker for r in read_reports(settings.REDIS_URL).reports] == ["good"]


def test_it_tells_an_unknown_gateway_from_none(store):
    assert read_reports(settings.REDIS_URL).trouble == ""
    assert "does not answer" in read_reports("redis://127.0.0.1:1/0").trouble
