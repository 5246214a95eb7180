"""Workers rating beside each other: other tenants, the same money, numbers never going back."""

import threading
from datetime import timedelta

import pytest
from django.db import connection

from billing.actions.ingest import ingest
from billing.actions.rating import LOCK, open_due, rate_due
from billing.actions.rollup import roll_up
from billing.drive.checks import check_all
from billing.models import Charge, ChargeRelease, HourHead, RatingMark
from billing.queries.by_release import CUT
from billing.queries.charged import ChargeFilter
from billing.queries.streams import begin
from billing.rules.lanes import LANES
from tenants.base.scope import fleet_scope
from tests.billing.elsewhere import elsewhere
from tests.billing.factories import NOW, SYSTEM, batch, load, make_prices, make_tenant, usage

pytestmark = pytest.mark.django_db(transaction=True)
WEEK = ChargeFilter(NOW - timedelta(days=7), NOW + timedelta(hours=1))
DAYS = "SELECT (hour AT TIME ZONE 'UTC')::date AS day, {table}.* FROM {table}"


def of_lane(lane, tenants):
    return {t.pk for t in tenants if t.pk % lane.of == lane.number}


@pytest.fixture
def tenants(gateway):
    make_prices()
    made = [make_tenant(f"t{n}") for n in range(4)]
    events = [usage(t, at=NOW - timedelta(hours=h)) for t in made for h in range(3, 6)]
    ingest(gateway, batch(*events), now=NOW)
    while roll_up(NOW):
        pass
    open_due(NOW)
    return made


def test_a_lane_rates_its_tenants_while_the_other_is_at_work(tenants):
    with elsewhere("SELECT pg_advisory_xact_lock(%s, %s)", [LOCK, LANES[0].number]):
        assert rate_due(NOW, lane=LANES[0]).hours == 0
        assert rate_due(NOW, lane=LANES[1]).hours > 0
        with fleet_scope():
            rated = set(Charge.objects.values_list("tenant_id", flat=True))
            assert rated == of_lane(LANES[1], tenants) != set()
            assert RatingMark.objects.exists()
    assert rate_due(NOW, lane=LANES[0]).hours > 0
    with fleet_scope():
        assert set(Charge.objects.values_list("tenant_id", flat=True)) == {t.pk for t in tenants}
        assert not RatingMark.objects.exists()
        assert all(check.holds for check in check_all(NOW - timedelta(days=30), NOW))


def test_both_at_once_leave_what_one_would_have_left(tenants):
    lanes = [threading.Thread(target=run, args=(lane,)) for lane in LANES]
    for thread in lanes:
        thread.start()
    for thread in lanes:
        thread.join()
    while rate_due(NOW).hours:  # marks that one found while the other had not ended
        pass
    with fleet_scope():
        assert Charge.objects.count() == 3 * 3 * len(tenants)
        assert not RatingMark.objects.exists()
        for check in check_all(NOW - timedelta(days=30), NOW):
            assert check.holds, check


def run(lane):
    while rate_due(NOW, lane=lane).hours:
        pass
    connection.close()


def test_no_lane_runs_while_books_are_closed(tenants):
    with elsewhere("SELECT pg_advisory_xact_lock(%s)", [LOCK]):
        assert [rate_due(NOW, lane=lane).hours for lane in LANES] == [0, 0]


def test_a_download_waits_for_a_lane_that_may_still_write_lower_numbers(tenants):
    begun = threading.Event()

    def download():
        with fleet_scope():
            begin(SYSTEM, WEEK)
        begun.set()
        connection.close()

    with elsewhere("SELECT pg_advisory_xact_lock(%s, %s)", [LOCK, LANES[1].number]):
        thread = threading.Thread(target=download)
        thread.start()
        assert not begun.wait(0.3)
    thread.join()
    assert begun.is_set()


def test_an_hour_that_changes_again_is_marked_again(tenants, gateway):
    while rate_due(NOW).hours:
        pass
    with fleet_scope():
        assert not RatingMark.objects.exists()
        HourHead.objects.filter(tenant_id=tenants[0].pk).update(rated_version=0)
        assert RatingMark.objects.count() == 3
    assert rate_due(NOW).hours == 3


def test_days_of_one_release_and_of_two_have_what_sharing_every_hour_gives(acme, gateway):
    """The short way of days with one release, against the cut of all their hours."""
    make_prices()
    load(
        gateway,
        *(
            usage(acme, at=NOW - timedelta(hours=h), model=model, release=release)
            for h in range(0, 60, 5)
            for model, release in (
                ("chat", "rel-1" if h > 20 else "rel-2"),
                ("chat", "rel-1"),
                ("code", "rel-9"),
                ("ghost", ""),
            )
        ),
    )
    whole = CUT.format(charges=DAYS.format(table="charge"), usage="SELECT * FROM usage_hour")
    with fleet_scope(), connection.cursor() as cursor:
        cursor.execute(whole)
        kept = ("day", "tenant_id", "model", "release", "currency", "amount")
        assert set(ChargeRelease.objects.values_list(*kept)) == set(cursor.fetchall())
