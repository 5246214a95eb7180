"""What a close must not overlook: hours that are lost whole, and what a signature did not cover."""

from datetime import UTC, datetime, timedelta

import pytest

from billing.actions.calendars import keep_periods
from billing.actions.invoices import issue_invoices
from billing.actions.periods import close, sign_off, start_closing
from billing.models import EngineHour, UnpricedUsage, UsageQuarantine
from billing.queries import confidence as confidence_queries
from billing.queries.periods import period_checks
from tenants.base.scope import fleet_scope
from tenants.errors import Conflict
from tests.billing.books import GRACE, NOVEMBER, OCTOBER, engines_agree, find_period, spend
from tests.billing.factories import SYSTEM, batch, ingest, make_prices, settle, usage
from tests.billing.test_month_rating import sign as sign_contract

pytestmark = pytest.mark.django_db
FIRST = datetime(2026, 10, 1, tzinfo=UTC)


def checks_of(period, now=NOVEMBER):
    return {c.key.value: c for c in period_checks(SYSTEM, period, now=now, grace=GRACE)}


def sign(period, key):
    sign_off(SYSTEM, period.pk, key=key, why="small", now=NOVEMBER, grace=GRACE)


def test_a_signature_for_unpriced_usage_covers_no_larger_amount(acme, gateway):
    make_prices()
    spend(gateway, acme, model="unheard-of", prompt_tokens=100)
    keep_periods(NOVEMBER)
    with fleet_scope():
        period = start_closing(SYSTEM, find_period(acme).pk, now=NOVEMBER)
        sign(period, "unpriced")
    spend(gateway, acme, model="unheard-of", prompt_tokens=2_000_000_000, now=NOVEMBER)
    with fleet_scope():
        assert UnpricedUsage.objects.get(meter="prompt").quantity > 1_000_000_000
        assert not checks_of(period)["unpriced"].is_green


def test_a_signature_for_quarantine_covers_no_other_event(acme, gateway):
    make_prices()
    spend(gateway, acme)
    bad = usage(acme, at=NOVEMBER, cached_tokens=1_000)
    ingest(gateway, batch(bad), now=NOVEMBER)
    keep_periods(NOVEMBER)
    with fleet_scope():
        period = start_closing(SYSTEM, find_period(acme).pk, now=NOVEMBER)
        sign(period, "quarantine")
        UsageQuarantine.objects.all().delete()  # as a decision leaves it
    worse = usage(acme, at=NOVEMBER, prompt_tokens=10**9, cached_tokens=2 * 10**9)
    ingest(gateway, batch(worse), now=NOVEMBER)
    with fleet_scope():
        assert UsageQuarantine.objects.count() == 1
        assert not checks_of(period)["quarantine"].is_green


def test_a_minimum_that_no_rating_saw_since_the_month_ended_holds_the_period(acme, gateway):
    """The worker went home on the tenth; no hour waits for it, and it owes the fee of the month."""
    make_prices()
    sign_contract(acme, ("", "commitment", "commitment 100"), starts_at=FIRST, now=OCTOBER)
    spend(gateway, acme)
    keep_periods(NOVEMBER)
    engines_agree()
    with fleet_scope():
        period = start_closing(SYSTEM, find_period(acme).pk, now=NOVEMBER)
        rated = checks_of(period)["rated"]
        assert (rated.number, rated.is_green, rated.may_sign) == (1, False, False)
        with pytest.raises(Conflict, match="Hours to rate: 1 wait"):
            close(SYSTEM, period.pk, now=NOVEMBER, grace=GRACE)
    settle(NOVEMBER)
    with fleet_scope():
        assert checks_of(period)["rated"].is_green
        close(SYSTEM, period.pk, now=NOVEMBER, grace=GRACE)
        (invoice,) = issue_invoices(SYSTEM, period.pk, now=NOVEMBER)
        assert invoice.net == 100


def test_an_hour_lost_whole_holds_the_period_of_the_only_tenant_of_a_service(acme, gateway):
    make_prices()
    spend(gateway, acme, service_id=4)
    keep_periods(NOVEMBER)
    engines_agree()
    EngineHour.objects.create(
        hour=OCTOBER.replace(minute=0) + timedelta(hours=1),
        service_id=4,
        prompt_tokens=9_000_000,
        completion_tokens=900_000,
        engines=1,
    )
    with fleet_scope():
        check = checks_of(find_period(acme))["confidence"]
    assert check.number == 1, check.said


def test_confidence_looks_at_every_hour_of_a_period(acme, gateway, monkeypatch):
    """50,000 hours of services in a month are 68 services; here the bound is lowered to one."""
    make_prices()
    spend(gateway, acme, service_id=4)
    spend(gateway, acme, service_id=4, at=OCTOBER + timedelta(hours=5))
    keep_periods(NOVEMBER)
    engines_agree()
    EngineHour.objects.filter(hour=OCTOBER.replace(minute=0)).update(prompt_tokens=900)
    monkeypatch.setattr(confidence_queries, "MOST", 1)
    with fleet_scope():
        assert checks_of(find_period(acme))["confidence"].number == 1
