"""Odd days: what strays from its weekday is named with its charges, everything else is quiet."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.actions.anomalies import keep_anomalies
from billing.models import SpendAnomaly
from billing.queries.anomalies import list_anomalies, rows_of
from billing.queries.money import list_charges
from billing.rules.anomalies import WEEKS, find_anomalies
from tenants.base.scope import fleet_scope, scope_of
from tests.billing import factories
from tests.billing.factories import NOW, SYSTEM, load, make_prices, usage

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
TODAY = date(2026, 11, 20)
SPAN = [TODAY - timedelta(days=n) for n in range(1, WEEKS * 7 + 8)]
YESTERDAY = TODAY - timedelta(days=1)


def rhythm(weekday=100, weekend=10):
    return {d: Decimal(weekend if d.weekday() > 4 else weekday) for d in SPAN}


def found(by_model, today=TODAY):
    return list(find_anomalies(by_model, today=today))


def test_a_steady_rhythm_is_quiet():
    assert found({"chat": rhythm()}) == []
    assert found({}) == []


@pytest.mark.parametrize("amount", [Decimal(0), Decimal(74), Decimal(126), Decimal(1000)])
def test_it_names_a_day_that_strays(amount):
    (odd,) = found({"chat": rhythm() | {YESTERDAY: amount}})
    assert (odd.day, odd.model, odd.amount, odd.usual) == (YESTERDAY, "chat", amount, 100)
    assert (odd.low, odd.high) == (75, 125)


def test_a_weekend_is_compared_with_weekends():
    saturday = date(2026, 11, 14)
    (odd,) = found({"chat": rhythm() | {saturday: Decimal(100)}})
    assert (odd.day, odd.usual) == (saturday, 10)


def test_one_odd_day_before_does_not_hide_the_next():
    amounts = rhythm() | {YESTERDAY - timedelta(weeks=1): Decimal(10_000), YESTERDAY: Decimal(300)}
    assert YESTERDAY in {odd.day for odd in found({"chat": amounts})}


def test_cents_of_a_large_tenant_are_quiet():
    small = {d: Decimal("0.01") for d in SPAN} | {YESTERDAY: Decimal(1)}
    assert found({"chat": rhythm(), "small": small}) == []
    assert [odd.model for odd in found({"small": small})] == ["small"]


def test_it_needs_four_weeks_of_a_tenant():
    young = {d: Decimal(1) for d in SPAN if d >= TODAY - timedelta(days=28)}
    assert found({"chat": young | {YESTERDAY: Decimal(99)}}) == []
    old = {d: Decimal(1) for d in SPAN if d >= TODAY - timedelta(days=29)}
    assert [odd.day for odd in found({"chat": old | {YESTERDAY: Decimal(99)}})] == [YESTERDAY]


@patient
@given(st.dictionaries(st.sampled_from(SPAN), st.integers(0, 1000), max_size=12))
def test_what_it_names_lies_outside_of_what_is_ordinary(changed):
    by_day = rhythm() | {day: Decimal(amount) for day, amount in changed.items()}
    odd = {o.day: o for o in found({"chat": by_day})}
    for day, o in odd.items():
        assert o.amount == by_day[day]
        assert o.low <= o.usual <= o.high
        assert not o.low <= o.amount <= o.high or o.amount == o.low == 0


@pytest.mark.django_db
def test_it_leads_to_the_charges_and_is_judged_anew(acme, gateway, mallory):
    make_prices()
    for week in range(1, 7):
        day = NOW - timedelta(days=1, weeks=week)
        load(gateway, usage(acme, at=day, prompt_tokens=2_000_000), now=day)
    load(gateway, usage(acme, at=NOW - timedelta(days=1), prompt_tokens=9_000_000))
    assert keep_anomalies(NOW) == 1
    assert keep_anomalies(NOW) == 1
    with fleet_scope():
        row = list_anomalies(SYSTEM).get()
        charges = list_charges(SYSTEM, rows_of(row))
        assert charges.aggregate(s=Sum("amount"))["s"] == row.amount > row.high
        assert (row.day, row.model) == (YESTERDAY, "chat")
    with scope_of(mallory):
        assert not list_anomalies(mallory)
    own = factories.viewer("finance", acme)
    with scope_of(own):
        assert list_anomalies(own, tenant_id=acme.pk).count() == 1
    later = NOW + timedelta(days=30)
    assert keep_anomalies(later) == 0
    with fleet_scope():
        assert SpendAnomaly.objects.count() == 1, "days that are over stay as they were judged"
