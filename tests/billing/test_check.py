"""manage.py billing check: silent when sums agree, loud when something was lost."""

from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from billing.models import ChargeDay, UsageHour
from tenants.base.scope import fleet_scope
from tests.billing.books import bill_month, spend
from tests.billing.factories import batch, ingest, load, make_prices, usage


def check():
    out = StringIO()
    call_command("billing", "check", stdout=out)
    return out.getvalue()


@pytest.fixture
def books(acme, gateway):
    now = timezone.now()
    make_prices(now=now)
    load(
        gateway,
        usage(acme, at=now),
        usage(acme, at=now, outcome="failed"),
        usage(acme, at=now, model="unheard-of"),
        now=now,
    )
    ingest(gateway, batch(usage(acme, at=now)), now=now)  # not rolled up yet: no difference


@pytest.mark.django_db(transaction=True)
def test_it_finds_all_sums_equal(books):
    text = check()
    assert "All sums agree" in text
    assert "money: charges = hours as rated: 0.000077000000" in text


@pytest.mark.django_db(transaction=True)
def test_it_finds_an_hour_that_lost_a_request(acme, gateway):
    now = timezone.now()
    make_prices(now=now)
    load(gateway, usage(acme, at=now), usage(acme, at=now, outcome="shed"), now=now)
    with fleet_scope():
        UsageHour.objects.filter(outcome="shed").delete()
    with pytest.raises(SystemExit):
        check()


@pytest.mark.django_db(transaction=True)
def test_it_finds_money_that_a_day_lost(acme, gateway):
    now = timezone.now()
    make_prices(now=now)
    load(gateway, usage(acme, at=now), now=now)
    with fleet_scope():
        ChargeDay.objects.filter(meter="cached").delete()
    with pytest.raises(SystemExit):
        check()


@pytest.fixture
def billed(acme, gateway):
    make_prices()
    spend(gateway, acme)
    return bill_month(acme)


@pytest.mark.django_db(transaction=True)
def test_it_finds_the_books_in_order(billed):
    text = check()
    assert "All sums agree" in text
    assert "money: charges of invoices = their lines before rounding: 0.000077000000" in text
