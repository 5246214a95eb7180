"""What a close must not overlook: hours that are lost whole, and what a signature did not cover."""

from datetime import timedelta

import pytest

from billing.actions.calendars import keep_periods
from billing.actions.periods import sign_off, start_closing
from billing.models import EngineHour, UnpricedUsage, UsageQuarantine
from billing.queries import confidence as confidence_queries
from billing.queries.periods import period_checks
from tenants.base.scope import fleet_scope
from tests.billing.books import GRACE, NOVEMBER, OCTOBER, engines_agree, find_period, spend
from tests.billing.factories import SYSTEM, batch, ingest, make_prices, usage

pytestmark = pytest.mark.django_db


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
