"""Traffic statistics: slots, histograms, and two writers at once."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from fleet.actions.traffic import record
from fleet.models import LatencySlot, TrafficSlot
from fleet.queries.traffic import window
from fleet.rules.histogram import BOUNDS, LAST, Histogram, bucket_of, lower, merge, of_values, upper
from fleet.rules.traffic import TrafficSample, slot_of
from tenants.base.scope import fleet_scope, tenant_scope

NOW = datetime(2026, 11, 20, 12, 0, 7, tzinfo=UTC)


def sample(**changes):
    return TrafficSample(
        **{
            "at": NOW,
            "tenant_id": 1,
            "service_id": 2,
            "release_id": 3,
            "traffic_class": "interactive",
            "outcome": "served",
            "ttft_ms": 100.0,
            "itl_ms": 10.0,
            "queue_ms": 0.2,
            "prompt_tokens": 7,
            "cached_tokens": 2,
            "completion_tokens": 5,
        }
        | changes
    )


@given(st.floats(min_value=0, max_value=1e7))
def test_it_puts_every_value_between_the_bounds_of_its_bucket(value):
    bucket = bucket_of(value)
    assert lower(bucket) <= value <= upper(bucket)


def test_it_takes_impossible_values_into_the_outermost_buckets():
    assert bucket_of(-5.0) == 0
    assert bucket_of(1e12) == LAST


@given(st.lists(st.floats(min_value=1.01, max_value=1e6), min_size=1), st.floats(0.01, 1))
def test_it_finds_quantiles_within_the_resolution(values, q):
    ordered = sorted(values)
    exact = ordered[max(0, -int(-q * len(ordered) // 1) - 1)]
    assert of_values(values).quantile(q) == pytest.approx(exact, rel=0.1001)


def test_it_says_nothing_about_no_samples():
    assert Histogram().quantile(0.95) is None
    assert Histogram().share_above(10) is None


def test_it_merges_as_if_all_values_came_together():
    first, second = [3.0, 40.0, 41.0], [7.0, 40.0, 900.0]
    assert merge([of_values(first), of_values(second)]) == of_values(first + second)
    assert of_values(first) + of_values(second) == of_values(first + second)


def test_it_tells_the_share_above_a_limit():
    histogram = of_values([10.0] * 75 + [1000.0] * 25)
    assert histogram.share_above(200) == pytest.approx(0.25)
    assert histogram.share_above(BOUNDS[LAST]) == 0


def test_it_cuts_slots_on_the_clock():
    assert slot_of(NOW, 300) == datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
    assert slot_of(NOW, 10) == datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
    assert slot_of(NOW + timedelta(seconds=3), 10).second == 10


@pytest.mark.django_db
def test_it_gives_a_gate_what_one_release_answered():
    with fleet_scope():
        record([sample(), sample(tenant_id=9, ttft_ms=None, outcome="failed")], now=NOW)
        record([sample(release_id=4), sample(ttft_ms=200.0)], now=NOW)
    found = window(2, 3, NOW - timedelta(seconds=10), NOW + timedelta(seconds=10))
    assert found.outcomes == {"served": 2, "failed": 1}
    assert (found.requests, found.answered) == (3, 2)
    assert found.ttft == of_values([100.0, 200.0])
    assert found.itl.total == 3
    assert (found.prompt_tokens, found.cached_tokens, found.completion_tokens) == (21, 6, 15)


@pytest.mark.django_db
def test_it_leaves_out_what_ended_outside_the_window():
    with fleet_scope():
        record([sample()], now=NOW)
    assert window(2, 3, NOW + timedelta(seconds=10), NOW + timedelta(seconds=60)).requests == 0


@pytest.mark.django_db
def test_it_keeps_old_requests_in_the_coarse_slots_only():
    with fleet_scope():
        record([sample(at=NOW - timedelta(days=3))], now=NOW)
        assert set(TrafficSlot.objects.values_list("seconds", flat=True)) == {300}
        assert set(LatencySlot.objects.values_list("seconds", flat=True)) == {300}


@pytest.mark.django_db
def test_it_shows_a_tenant_only_its_own_slots():
    with fleet_scope():
        record([sample(tenant_id=1), sample(tenant_id=2)], now=NOW)
    with tenant_scope(2):
        assert set(TrafficSlot.objects.values_list("tenant_id", flat=True)) == {2}
        assert set(LatencySlot.objects.values_list("tenant_id", flat=True)) == {2}


@pytest.mark.django_db(transaction=True)
def test_it_loses_and_locks_nothing_when_writers_meet():
    batch = [sample(tenant_id=t, ttft_ms=float(10 * t)) for t in range(1, 40)]
    failures = []

    def write(samples):
        try:
            for _ in range(5):
                with fleet_scope():
                    record(samples, now=NOW)
        except Exception as error:  # noqa: BLE001  # the thread's failure is the test's
            failures.append(error)
        finally:
            connection.close()

    threads = [
        threading.Thread(target=write, args=(batch if i % 2 else batch[::-1],)) for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert window(2, 3, NOW - timedelta(seconds=10), NOW).requests == 39 * 5 * 4
