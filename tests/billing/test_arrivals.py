"""What gateways said that they wrote against what arrived, by hour and worker."""

from datetime import timedelta

import msgspec
import pytest
import redis
from django.conf import settings

from billing.actions.arrivals import fold_arrivals, keep_gateway_hours
from billing.actions.ingest import ingest
from billing.models import Arrival, EngineHour, GatewayHour, SourceHour
from billing.queries.confidence import compare_hours
from gateway.contract import keys
from gateway.contract.usage import WorkerReport
from tenants.base.scope import fleet_scope
from tests.billing.factories import HOUR, NOW, SYSTEM, batch, load, usage

pytestmark = pytest.mark.django_db
ONE = timedelta(hours=1)
EPOCH_HOUR = int(HOUR.timestamp()) // 3600


@pytest.fixture
def say():
    """Reports as gateways write them, gone afterwards."""
    store = redis.Redis.from_url(settings.REDIS_URL)
    names = []

    def write(worker, events, *, started=100.0, waiting=0, oldest=0.0):
        report = WorkerReport(
            worker=worker, at=NOW.timestamp(), policy_version=1, routing_version=1, in_flight=0,
            spool_events=waiting, spool_oldest_seconds=oldest, pools={}, started=started,
            events_by_hour=events,
        )  # fmt: skip
        names.append(keys.report(worker))
        store.set(names[-1], msgspec.json.encode(report), ex=60)
        keep_gateway_hours(NOW)

    yield write
    store.delete(*names)


def hour():
    with fleet_scope():
        EngineHour.objects.get_or_create(
            hour=HOUR, service_id=4,
            defaults={"prompt_tokens": 200, "completion_tokens": 60, "engines": 1},
        )  # fmt: skip
        (found,) = compare_hours(SYSTEM, HOUR, HOUR + ONE)
    return found


def test_events_that_a_gateway_wrote_and_that_did_not_arrive_are_missing(acme, gateway, say):
    load(gateway, *(usage(acme, service_id=4, worker="w1") for _ in range(2)))
    found = hour()
    assert (found.sent, found.delivery, found.state) == (None, None, "within")
    say("w1", {EPOCH_HOUR: 3}, waiting=1, oldest=40.0)
    found = hour()
    assert (found.sent, found.missing, found.waiting, found.oldest_seconds) == (3, 1, 1, 40.0)
    assert (found.state, found.faults) == ("off", ("delivery",))
    load(gateway, usage(acme, service_id=4, worker="w1"))
    EngineHour.objects.update(prompt_tokens=300, completion_tokens=90)
    assert (hour().missing, hour().state) == (0, "within")


def test_what_waits_in_quarantine_is_not_missing(acme, gateway, say):
    load(gateway, *(usage(acme, service_id=4, worker="w1") for _ in range(2)))
    ingest(gateway, batch(usage(acme, worker="w1", application_id=999_999)), now=NOW)
    say("w1", {EPOCH_HOUR: 3})
    assert (hour().missing, hour().quarantined) == (0, 1)


def test_a_gateway_that_began_again_counts_anew_and_others_do_not_make_up_for_it(
    acme, gateway, say
):
    load(gateway, *(usage(acme, service_id=4, worker=w) for w in ("w1", "elsewhere")))
    say("w1", {EPOCH_HOUR: 1})
    say("w1", {EPOCH_HOUR: 1}, started=200.0)
    say("w1", {EPOCH_HOUR: 1}, started=200.0)
    assert GatewayHour.objects.count() == 2
    assert (hour().sent, hour().missing) == (2, 1)


def test_a_gateway_that_does_not_count_says_nothing(acme, gateway, say):
    say("old", {}, started=0.0)
    assert not GatewayHour.objects.exists()


def test_folding_changes_no_sum(acme, gateway):
    late, soon = NOW - timedelta(minutes=20), NOW + timedelta(seconds=30)
    for at in (late, soon, late - ONE):
        ingest(gateway, batch(usage(acme, at=at, worker="w1")), now=NOW)
    event = usage(acme, worker="w1")
    for _ in range(2):  # the second time nothing is new
        ingest(gateway, batch(event), now=NOW)
    assert Arrival.objects.count() == 4
    assert fold_arrivals(NOW) == 2
    assert fold_arrivals(NOW) == 0
    ingest(gateway, batch(usage(acme, worker="w1")), now=NOW)
    assert fold_arrivals(NOW) == 1
    kept = SourceHour.objects.order_by("hour").values_list("events", "least_ms", "most_ms")
    assert list(kept) == [(1, 4_800_000, 4_800_000), (4, -30_000, 1_200_000)]
