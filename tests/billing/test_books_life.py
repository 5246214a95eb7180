"""Any course of late usage, price fixes, closes and invoices: every sum agrees to the last unit.

What is owed in the end is reckoned apart from the ledger: tokens x the prices that hold last,
because each price fix here holds from the year's first hour on.
"""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import transaction
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.actions.calendars import keep_periods
from billing.actions.invoices import issue_invoices
from billing.actions.periods import close, start_closing
from billing.models import BillingPeriod, Charge, CreditNote, Invoice, InvoiceLine, JournalLeg
from billing.queries.checks import run_checks
from tenants.base.scope import fleet_scope
from tenants.errors import Conflict
from tests.billing.books import GRACE, engines_agree
from tests.billing.factories import PRICES, SYSTEM, load, make_prices, usage

pytestmark = [
    pytest.mark.django_db,
    # Months of the ledger in each example: slow on a machine that does other things as well.
    pytest.mark.timeout(900),
]
FIRST = datetime(2026, 10, 6, 10, 15, tzinfo=UTC)
NOW = datetime(2026, 12, 5, 9, tzinfo=UTC)
MILLION = 1_000_000

spends = st.tuples(
    st.just("spend"),
    st.integers(0, 55),  # days after FIRST
    st.integers(1, 3_000_000),
    st.integers(0, 500_000),
)
fixes = st.tuples(st.just("fix"), st.decimals("0.001", "9.999", places=3))
closes = st.tuples(st.just("close"))
lives = st.lists(st.one_of(spends, spends, fixes, closes), min_size=2, max_size=9)


@settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(life=lives)
def test_all_sums_agree_whatever_happened(acme, gateway, life):
    with transaction.atomic():
        live(acme, gateway, life)
        transaction.set_rollback(True)


def live(tenant, gateway, life):
    factor, prompt, completion = Decimal(1), 0, 0
    make_prices(now=NOW)
    for step, *values in [*life, ("close",), ("spend", 1, 7, 3), ("close",)]:
        if step == "spend":
            days, asked, answered = values
            event = usage(
                tenant, at=FIRST + timedelta(days=days), prompt_tokens=asked, cached_tokens=0,
                completion_tokens=answered,
            )  # fmt: skip
            load(gateway, event, now=NOW)
            prompt, completion = prompt + asked, completion + answered
        elif step == "fix":
            (factor,) = values
            fixed = {m: {k: p * factor for k, p in v.items()} for m, v in PRICES.items()}
            make_prices(fixed, now=NOW)
            load(gateway, usage(tenant, at=FIRST, outcome="failed"), now=NOW)
        else:
            close_next()
    owed = (prompt * PRICES["chat"]["prompt"] + completion * PRICES["chat"]["completion"]) * factor
    with fleet_scope():
        compare(owed / MILLION)


def close_next():
    """Close and bill the first month that is open and over, if there is one."""
    keep_periods(NOW)
    with fleet_scope():
        over = BillingPeriod.objects.exclude(state="closed").filter(ends_at__lte=NOW - GRACE)
        period = over.order_by("starts_at").first()
        if period is None:
            return
        engines_agree()
        start_closing(SYSTEM, period.pk, now=NOW)
        close(SYSTEM, period.pk, now=NOW, grace=GRACE)
        with suppress(Conflict):  # nothing was used, or all of it took itself back
            issue_invoices(SYSTEM, period.pk, now=NOW)


def compare(owed):
    assert Charge.objects.aggregate(s=Sum("amount"))["s"] == owed
    lines = InvoiceLine.objects.aggregate(exact=Sum("exact"), amount=Sum("amount"))
    total = Invoice.objects.aggregate(s=Sum("total"))["s"]
    assert lines["exact"] == lines["amount"] == total
    assert not Invoice.objects.filter(total__lt=0).exists()
    given_back = CreditNote.objects.aggregate(s=Sum("total"))["s"] or 0
    receivable = JournalLeg.objects.filter(account="receivable").aggregate(s=Sum("amount"))["s"]
    assert (receivable or 0) == (total or 0) - given_back >= 0
    wrong = [c for c in run_checks(FIRST - timedelta(days=9)) if not c.holds]
    assert wrong == []
