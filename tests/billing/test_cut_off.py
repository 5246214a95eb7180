"""What comes between the cut-off of a period and its close: of the period, once, and told apart."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db.models import Sum

from billing.actions.calendars import keep_periods
from billing.actions.ingest import ingest
from billing.actions.invoices import issue_invoices
from billing.actions.periods import close, start_closing
from billing.actions.rating import rate_due
from billing.actions.rollup import roll_up
from billing.models import Charge
from billing.queries.billed import billed_totals
from tenants.base.scope import fleet_scope
from tenants.models import AuditEvent
from tests.billing.books import (
    GRACE,
    NOVEMBER,
    OCTOBER,
    engines_agree,
    find_period,
    spend,
)
from tests.billing.factories import SYSTEM, batch, load, make_prices, usage
from tests.billing.test_killed import die_everywhere, in_fleet

pytestmark = pytest.mark.django_db
LATER = NOVEMBER + timedelta(hours=1)
PAID = {"prompt_tokens": 0, "cached_tokens": 0, "completion_tokens": 1_000_000}  # 1.50


@pytest.fixture
def closing(acme, gateway):
    make_prices()
    spend(gateway, acme, **PAID)
    keep_periods(NOVEMBER)
    with fleet_scope():
        return start_closing(SYSTEM, find_period(acme).pk, now=NOVEMBER)


def test_usage_after_the_cut_off_is_of_the_period_and_told_apart(closing, acme, gateway):
    load(gateway, usage(acme, at=OCTOBER + timedelta(days=1), **PAID), now=LATER)
    engines_agree()
    with fleet_scope():
        closed = close(SYSTEM, closing.pk, now=LATER, grace=GRACE)
        (total,) = billed_totals(closed)
        (invoice,) = issue_invoices(SYSTEM, closing.pk, now=LATER)
        said = AuditEvent.objects.get(verb="billing_period.close").after
    assert (total.amount, total.since_cut_off, total.corrects) == (3, Decimal("1.5"), False)
    assert Decimal(said["since_cut_off"]["USD usage"]) == Decimal("1.5")
    assert invoice.total == 3


def test_nothing_came_after_the_cut_off(closing):
    engines_agree()
    with fleet_scope():
        close(SYSTEM, closing.pk, now=LATER, grace=GRACE)
        (total,) = billed_totals(closing)
        said = AuditEvent.objects.get(verb="billing_period.close").after
    assert (total.since_cut_off, said["since_cut_off"]) == (0, {})


def test_whoever_dies_around_the_close_bills_what_came_once(closing, acme, gateway):
    """Before it: in the period. After it: a correction in the next one. Never both."""
    kills = 0
    for now in (LATER, LATER + timedelta(hours=1)):
        late = batch(usage(acme, at=OCTOBER + timedelta(days=1), **PAID))
        kills += die_everywhere(lambda late=late, now=now: ingest(gateway, late, now=now))
        kills += die_everywhere(lambda now=now: roll_up(now))
        kills += die_everywhere(lambda now=now: rate_due(now, early=True))
        if now == LATER:
            engines_agree()
            shut = in_fleet(close, SYSTEM, closing.pk, now=now, grace=GRACE)
            kills += die_everywhere(shut)
    assert kills > 40
    with fleet_scope():
        own, next_ = find_period(acme), find_period(acme, "2026-11")
        sums = {
            period: Charge.objects.filter(correction_period=period).aggregate(s=Sum("amount"))["s"]
            for period in (None, next_)
        }
        assert sums == {None: 3, next_: Decimal("1.5")}
        assert [t.amount for t in billed_totals(own)] == [3]
