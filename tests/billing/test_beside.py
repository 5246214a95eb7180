"""What one worker does while another is in the middle of it: nothing is overlooked."""

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.db import OperationalError, connection
from django.db.models import F

from billing.actions import rating
from billing.actions.allocation import allocate_due
from billing.actions.ingest import ingest
from billing.actions.rating import rate_due
from billing.actions.rollup import roll_up
from billing.drive.checks import check_all
from billing.models import Charge, CostDay, HourHead
from tenants.base.scope import fleet_scope
from tests.billing.damaged import fleet
from tests.billing.factories import HOUR, NOW, batch, load, make_prices, usage
from tests.billing.test_month_rating import owed, price_prompt, sign

OCTOBER = datetime(2026, 10, 1, tzinfo=UTC)
LAST = datetime(2026, 10, 10, 23, tzinfo=UTC)  # of the minimum, once it is cut short
LONG_AFTER = datetime(2026, 12, 11, 10, tzinfo=UTC)
ATTRIBUTED = HOUR + timedelta(hours=1, minutes=5)


def elsewhere(act):
    """Of another worker, to its end."""

    def run():
        act()
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


@pytest.mark.django_db(transaction=True)
def test_usage_that_is_summed_up_while_a_minimum_is_written_into_its_hour_is_charged(
    acme, gateway, monkeypatch
):
    """The hour had no head when the month was read, and has one when the minimum is written."""
    make_prices()
    sign(acme, ("", "commitment", "commitment 31"), starts_at=OCTOBER)
    load(gateway, usage(acme, at=OCTOBER + timedelta(days=4)), now=OCTOBER + timedelta(days=35))
    sign(acme, ("", "", "factor 1"), starts_at=LAST + timedelta(hours=1), now=LONG_AFTER)
    fees = rating.fees

    def late():
        ingest(gateway, batch(usage(acme, at=LAST + timedelta(minutes=5))), now=LONG_AFTER)
        assert roll_up(LONG_AFTER) == 1

    def meanwhile(*given):
        with fleet_scope():
            assert not HourHead.objects.filter(hour=LAST).exists()
        elsewhere(late)
        return fees(*given)

    with monkeypatch.context() as patch:
        patch.setattr(rating, "fees", meanwhile)
        assert rate_due(LONG_AFTER, early=True).charges
    while rate_due(LONG_AFTER, early=True).hours:
        pass
    with fleet_scope():
        rows = Charge.objects.filter(hour=LAST, meter="completion")
        assert [row.quantity for row in rows] == [30]
        assert [c for c in check_all(OCTOBER, LONG_AFTER) if not c.holds] == []
    assert owed(acme) == 10, "the minimum of ten days of 31"


def until_one_waits():
    for _ in range(200):
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return
        time.sleep(0.05)
    raise AssertionError("nobody waits")


@pytest.mark.django_db(transaction=True)
def test_rating_of_a_month_and_the_roll_up_of_its_hours_never_wait_for_each_other(acme, gateway):
    """The roll-up has written the first hour and comes to the second, which is due."""
    price_prompt("tiered 100:1000000 rest:0")
    first, second = HOUR - timedelta(hours=5), HOUR - timedelta(hours=2)
    hours = [usage(acme, at=hour + timedelta(minutes=5)) for hour in (first, second)]
    load(gateway, *hours)
    ingest(gateway, batch(usage(acme, at=second + timedelta(minutes=9))), now=NOW)
    assert roll_up(NOW) == 1
    refused = []

    def rate():
        try:
            rate_due(NOW, early=True)
        except OperationalError as error:
            refused.append(error)
        finally:
            connection.close()

    worker = threading.Thread(target=rate)
    with fleet_scope():
        heads = HourHead.objects.filter(tenant_id=acme.pk)
        heads.filter(hour=first).update(version=F("version") + 1)
        worker.start()
        until_one_waits()
        heads.filter(hour=second).update(version=F("version") + 1)
    worker.join()
    assert refused == []
    assert rate_due(NOW, early=True).hours == 0, "what was written meanwhile is rated"
    assert owed(acme) == 100


@pytest.mark.django_db
def test_cost_follows_usage_whose_roll_up_began_before_attribution_and_ended_after(acme, gateway):
    service = fleet()

    def send():
        ingest(gateway, batch(usage(acme, service_id=service.pk, gpu_ms=600_000)), now=began)

    began = ATTRIBUTED + timedelta(minutes=10)
    load(gateway, usage(acme, service_id=service.pk, gpu_ms=600_000))
    assert allocate_due(ATTRIBUTED) == 1
    send()
    roll_up(began - timedelta(seconds=20))
    send()
    assert allocate_due(began + timedelta(seconds=30)) == 1
    assert roll_up(began) == 1  # it has the time of its beginning
    assert allocate_due(began + timedelta(seconds=90)) == 1
    with fleet_scope():
        assert CostDay.objects.get(kind="tenant").weight == 1_800_000
    for seconds in (150, 210, 270):
        assert allocate_due(began + timedelta(seconds=seconds)) == 0
