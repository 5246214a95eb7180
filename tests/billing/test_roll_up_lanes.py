"""The roll-up in lanes: workers beside each other, each with days of its own."""

import threading
from collections import Counter
from datetime import timedelta

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.actions.ingest import ingest
from billing.actions.rollup import LANES, LOCK, roll_up
from billing.models import HourHead, HourMark, ModelDay, UsageDay, UsageEvent, UsageHour
from billing.queries.sums import compare
from billing.queries.usage_checks import USAGE
from tenants.base.scope import fleet_scope
from tests.billing.elsewhere import elsewhere
from tests.billing.factories import HOUR, NOW, batch, usage

DAY = timedelta(days=1)


def work():
    try:
        while roll_up(NOW):
            pass
    finally:
        connection.close()


def beside_each_other(count):
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def assert_sums():
    """What is kept of hours and days is what the events say, row by row."""
    with fleet_scope():
        events = list(UsageEvent.objects.values_list("event_time", "tenant_id", "model"))
        hours, days, models = Counter(), Counter(), Counter()
        for at, tenant, model in events:
            hours[at.replace(minute=0, second=0, microsecond=0), tenant] += 1
            days[at.date(), tenant] += 1
            models[at.date(), tenant, model] += 1
        heads = HourHead.objects.values_list("hour", "tenant_id", "events")
        assert {(h, t): n for h, t, n in heads} == dict(hours)
        kept = UsageDay.objects.values_list("day", "tenant_id", "events")
        assert {(d, t): n for d, t, n in kept} == dict(days)
        of_models = ModelDay.objects.values_list("day", "tenant_id", "model", "requests")
        assert {(d, t, m): n for d, t, m, n in of_models if n} == dict(models)
        assert sum(UsageHour.objects.values_list("requests", flat=True)) == len(events)
        assert not HourMark.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_workers_beside_each_other_sum_every_event_once(acme, gateway):
    for day in range(5):
        for hour in range(0, 24, 5):
            at = HOUR - day * DAY - timedelta(hours=hour)
            many = [usage(acme, at=at + timedelta(seconds=s)) for s in range(12)]
            for one in many:  # each leaves a mark of its own: the hour is crowded
                ingest(gateway, batch(one), now=NOW)
    beside_each_other(3)
    assert_sums()


@pytest.mark.django_db(transaction=True)
def test_a_lane_that_is_taken_leaves_the_others_to_work(acme, gateway):
    ingest(gateway, batch(usage(acme), usage(acme, at=NOW - DAY)), now=NOW)
    lane = "SELECT pg_advisory_xact_lock(%s, %s)"
    with elsewhere(lane, [LOCK, 0]):
        assert roll_up(NOW) == 1
        assert roll_up(NOW) == 0
    with elsewhere("SELECT pg_advisory_xact_lock(%s)", [LOCK]):  # a worker without lanes
        assert roll_up(NOW) == 0
    assert roll_up(NOW) == LANES - 1
    assert_sums()


@pytest.mark.django_db
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    ago=st.lists(
        st.tuples(st.integers(0, 50 * 24 * 60), st.sampled_from(("chat", "code"))), max_size=12
    )
)
def test_whatever_comes_the_hours_and_days_agree_with_the_events(acme, gateway, ago):
    found = [usage(acme, at=NOW - timedelta(minutes=m), model=model) for m, model in ago]
    ingest(gateway, batch(*found), now=NOW)
    while roll_up(NOW):
        pass
    assert_sums()
    with fleet_scope():
        for of_usage in USAGE:
            for check in compare(of_usage, {"since": NOW - 60 * DAY}):
                assert check.holds, check
