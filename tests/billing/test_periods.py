"""Periods: opened by themselves, closed by people; what comes after the close is a correction."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models import Sum
from django.utils import timezone

from billing.actions.calendars import keep_periods
from billing.actions.invoices import issue_invoices
from billing.actions.periods import (
    apply_decisions,
    ask_to_reopen,
    close,
    sign_off,
    start_closing,
    stop_closing,
)
from billing.models import BillingPeriod, Charge, Invoice
from billing.queries.billed import billed_totals
from billing.queries.book_lines import read_periods
from billing.queries.calendars import read_calendars
from billing.queries.charged import ChargeFilter
from billing.queries.periods import get_period, list_periods, period_checks
from billing.rules.periods import next_period
from tenants.actions.changes import decide
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import Conflict, Forbidden, Invalid, NotFound
from tenants.models import ChangeRequest
from tenants.queries.directory import tenant_refs
from tenants.rules.quotas import month_of
from tests.billing.books import (
    GRACE,
    NOVEMBER,
    OCTOBER,
    bill_month,
    close_month,
    engines_agree,
    find_period,
    set_account,
    spend,
)
from tests.billing.factories import PRICES, SYSTEM, batch, ingest, load, make_prices, settle, usage
from tests.billing.granted import person

pytestmark = pytest.mark.django_db


@pytest.fixture
def spent(acme, gateway):
    make_prices()
    spend(gateway, acme)
    return acme


def checks_of(period, now=NOVEMBER):
    return {c.key.value: c for c in period_checks(SYSTEM, period, now=now, grace=GRACE)}


def test_it_opens_the_months_from_the_first_usage_until_now(spent):
    assert keep_periods(NOVEMBER) == 2
    assert keep_periods(NOVEMBER) == 0
    with fleet_scope():
        rows = list(BillingPeriod.objects.order_by("starts_at"))
    assert [(p.name, p.state) for p in rows] == [("2026-10", "open"), ("2026-11", "open")]
    assert rows[0].ends_at == rows[1].starts_at


def test_it_opens_months_for_usage_that_came_late_for_earlier_ones(spent, gateway):
    keep_periods(NOVEMBER)
    spend(gateway, spent, at=NOVEMBER - timedelta(days=60), now=NOVEMBER)
    assert keep_periods(NOVEMBER) == 1
    with fleet_scope():
        assert find_period(spent, "2026-09").ends_at == find_period(spent, "2026-10").starts_at


@pytest.mark.parametrize(
    ("first", "then"),
    [("Europe/Amsterdam", "UTC"), ("UTC", "Europe/Amsterdam"), ("Asia/Kolkata", "Pacific/Midway")],
)
def test_usage_comes_later_and_later_for_months_before_the_zone_changed(acme, gateway, first, then):
    """Month after month is opened backwards; each knows the zone that cut it."""
    make_prices()
    set_account(acme, time_zone=first)
    now = OCTOBER - timedelta(days=5)
    spend(gateway, acme, at=now)
    keep_periods(now)
    set_account(acme, time_zone=then)
    for days in (25, 55):
        spend(gateway, acme, at=now - timedelta(days=days), now=now)
        assert keep_periods(now) == 1
    with fleet_scope():
        rows = list(BillingPeriod.objects.order_by("starts_at"))
        calendar = read_calendars([tenant_refs()[acme.pk]])[acme.pk]
    assert [(p.name, p.time_zone) for p in rows] == [
        (name, first) for name in ("2026-08", "2026-09", "2026-10")
    ]
    assert [p.ends_at for p in rows[:-1]] == [p.starts_at for p in rows[1:]]
    assert all(p.starts_at == month_of(p.starts_at, first).starts_at for p in rows)
    july = calendar.month_at(rows[0].starts_at - timedelta(hours=1))
    assert (july.name, july.ends_at) == ("2026-07", rows[0].starts_at)


def test_it_cuts_months_by_the_accounts_zone(spent):
    """Amsterdam's October has a clock change: 745 hours."""
    set_account(spent, time_zone="Europe/Amsterdam")
    keep_periods(NOVEMBER)
    with fleet_scope():
        october = find_period(spent)
    assert october.starts_at == datetime(2026, 9, 30, 22, tzinfo=UTC)
    assert october.ends_at == datetime(2026, 10, 31, 23, tzinfo=UTC)


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Midway", "Asia/Kolkata"])
def test_months_follow_each_other_when_the_zone_changes(zone):
    start = datetime(2026, 10, 31, 23, tzinfo=UTC)
    month = next_period(start, zone)
    assert (month.name, month.starts_at) == ("2026-11", start)
    assert next_period(month.ends_at, "UTC").name == "2026-12"


def test_it_closes_a_month_whose_checks_are_green(spent):
    period = close_month(spent)
    assert (period.state, period.cut_off, period.closed_by) == ("closed", NOVEMBER, SYSTEM.email)


def test_it_closes_no_month_that_still_runs_and_none_before_an_earlier_one(spent):
    keep_periods(NOVEMBER)
    with fleet_scope():
        later = find_period(spent, "2026-11")
        with pytest.raises(Conflict, match="runs until 2026-12-01 00:00 UTC"):
            start_closing(SYSTEM, later.pk, now=NOVEMBER)
        with pytest.raises(Conflict, match="2026-10 comes first"):
            start_closing(SYSTEM, later.pk, now=datetime(2026, 12, 3, tzinfo=UTC))


def test_it_waits_for_the_grace(spent):
    now = datetime(2026, 11, 1, 6, 30, tzinfo=UTC)
    keep_periods(now)
    with fleet_scope():
        period = find_period(spent)
        start_closing(SYSTEM, period.pk, now=now)
        with pytest.raises(Conflict, match="Grace after the end: 18 h left"):
            close(SYSTEM, period.pk, now=now, grace=GRACE)


def test_it_waits_for_usage_that_is_not_summed_up(spent, gateway):
    ingest(gateway, batch(usage(spent, at=OCTOBER)), now=OCTOBER)
    keep_periods(NOVEMBER)
    with fleet_scope():
        period = find_period(spent)
        assert checks_of(period)["rolled"].number == 1
        start_closing(SYSTEM, period.pk, now=NOVEMBER)
        with pytest.raises(Conflict, match="Hours to sum up: 1 wait"):
            close(SYSTEM, period.pk, now=NOVEMBER, grace=GRACE)


def test_a_person_takes_unpriced_usage_upon_himself_and_no_more(spent, gateway):
    spend(gateway, spent, model="unheard-of")
    keep_periods(NOVEMBER)
    with fleet_scope():
        period = start_closing(SYSTEM, find_period(spent).pk, now=NOVEMBER)
        given = {"key": "unpriced", "now": NOVEMBER, "grace": GRACE}
        with pytest.raises(Invalid, match="Say why"):
            sign_off(SYSTEM, period.pk, why=" ", **given)
        sign_off(SYSTEM, period.pk, why="a test of ours", **given)
        assert checks_of(period)["unpriced"].is_green
        with pytest.raises(Conflict, match="nothing that a person can sign off"):
            sign_off(SYSTEM, period.pk, why="again", **given)
    spend(gateway, spent, model="another")
    with fleet_scope():
        assert not checks_of(period)["unpriced"].is_green, "the signature covers what was seen"


def test_it_goes_back_to_open_before_it_is_closed(spent):
    keep_periods(NOVEMBER)
    with fleet_scope():
        period = start_closing(SYSTEM, find_period(spent).pk, now=NOVEMBER)
        assert (
            stop_closing(SYSTEM, period.pk, why="a price is missing", now=NOVEMBER).state == "open"
        )


def test_late_usage_is_a_correction_in_the_open_month(spent, gateway):
    invoice = bill_month(spent)
    spend(gateway, spent, now=NOVEMBER)
    with fleet_scope():
        october, november = find_period(spent), find_period(spent, "2026-11")
        late = Charge.objects.filter(correction_period=november)
        assert late.count() == 3
        assert set(late.values_list("hour", flat=True)) == {OCTOBER.replace(minute=0)}
        (total,) = billed_totals(october)
        assert (total.corrects, total.charges) == (False, 3)
        (total,) = billed_totals(november)
        assert (total.corrects, total.amount) == (True, Decimal("0.000077"))
        with pytest.raises(Conflict, match="Nothing of 2026-10"):
            issue_invoices(SYSTEM, invoice.period_id, now=NOVEMBER)


def test_a_price_fix_is_a_reversal_and_a_corrected_row_on_the_next_invoice(spent, gateway):
    bill_month(spent)
    dearer = {m: {k: p * 2_000_000 for k, p in prices.items()} for m, prices in PRICES.items()}
    make_prices(dearer, now=NOVEMBER)
    load(gateway, usage(spent, at=NOVEMBER), now=NOVEMBER)
    invoice = bill_month(spent, "2026-11", now=datetime(2026, 12, 3, tzinfo=UTC))
    with fleet_scope():
        lines = list(invoice.lines.filter(kind="correction"))
        assert len(lines) == 6
        assert {line.corrects for line in lines} == {"2026-10"}
        assert sum(line.quantity for line in lines) == 0
        assert sum(line.exact for line in lines) == Decimal("0.000077") * 1_999_999
        charged = Charge.objects.filter(tenant_id=spent.pk).aggregate(s=Sum("amount"))["s"]
        billed = sum(i.net for i in spent_invoices(spent))
        rounding = sum(
            i.lines.filter(kind="rounding").aggregate(s=Sum("exact"))["s"] or 0
            for i in spent_invoices(spent)
        )
    assert billed - rounding == charged


def spent_invoices(tenant):
    return list(Invoice.objects.filter(tenant_id=tenant.pk))


def test_the_database_takes_no_charge_into_a_closed_month(spent):
    close_month(spent)
    with (
        fleet_scope(),
        pytest.raises(DatabaseError, match="no charge joins a closed billing period"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(
            "INSERT INTO charge (run_id, hour, tenant_id, application_id, model, traffic_class,"
            " meter, quantity, unit_price, amount, currency, book_version_id)"
            " SELECT run_id, hour, tenant_id, application_id, model, traffic_class, meter,"
            " quantity, unit_price, amount, currency, book_version_id FROM charge LIMIT 1"
        )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE billing_period SET state = 'open' WHERE state = 'closed'", "approved change"),
        ("UPDATE billing_period SET ends_at = now()", "never moves"),
        ("UPDATE billing_period SET state = 'closed' WHERE state = 'open'", "by way of closing"),
        ("DELETE FROM billing_period", "never deleted"),
    ],
)
def test_the_database_keeps_a_closed_month_closed(spent, change, said):
    close_month(spent)
    with (
        fleet_scope(),
        pytest.raises(DatabaseError, match=said),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(change)


def test_another_person_opens_it_again_and_the_rest_is_billed_apart(spent, gateway):
    fiona, vic = person("fiona", "finance", "approver"), person("vic", "approver")
    first = bill_month(spent)
    with fleet_scope():
        ask_to_reopen(fiona, first.period_id, why="a day of usage is missing")
        change = ChangeRequest.objects.get()
        with pytest.raises(Forbidden, match="Somebody else must decide"):
            decide(fiona, change.pk, digest=change.digest, approve=True)
        assert apply_decisions(NOVEMBER) == 0, "nobody decided yet"
        decide(vic, change.pk, digest=change.digest, approve=True)
    assert apply_decisions(NOVEMBER) == 1
    spend(gateway, spent, prompt_tokens=50_040, now=NOVEMBER)
    with fleet_scope():
        assert not Charge.objects.filter(correction_period__isnull=False).exists()
    second = bill_month(spent)
    with fleet_scope():
        assert second.after_charge == first.upto_charge
        assert second.lines.get(meter="prompt").quantity == 50_000
        assert first.lines.get(meter="prompt").quantity == 60


def test_prices_that_were_published_and_not_applied_yet_keep_their_month_open(spent):
    """Else it closes at the prices of before, and the next month corrects what was just billed."""
    keep_periods(NOVEMBER)
    engines_agree()
    make_prices({"chat": {name: 2 * price for name, price in PRICES["chat"].items()}}, now=NOVEMBER)
    with fleet_scope():
        period = start_closing(SYSTEM, find_period(spent).pk, now=NOVEMBER)
        with pytest.raises(Conflict, match="prices not applied yet: list v2"):
            close(SYSTEM, period.pk, now=NOVEMBER, grace=GRACE)
        later = make_prices(now=NOVEMBER, starts_at=NOVEMBER + timedelta(days=9, minutes=30))
        assert later.applied_at is None, "it holds for no hour of the month"
    settle(NOVEMBER)
    with fleet_scope():
        assert close(SYSTEM, period.pk, now=NOVEMBER, grace=GRACE).state == "closed"
        assert not Charge.objects.filter(correction_period__isnull=False).exists()


def test_an_approval_that_nobody_acted_on_yet_is_not_asked_over(spent):
    """A second question took the place of the first: what was approved was forgotten."""
    fiona, vic = person("fiona", "finance"), person("vic", "approver")
    period = close_month(spent)
    with fleet_scope():
        ask_to_reopen(fiona, period.pk, why="a day of usage is missing")
        change = ChangeRequest.objects.get()
        decide(vic, change.pk, digest=change.digest, approve=True)
        with pytest.raises(Conflict, match="asked for already"):
            ask_to_reopen(fiona, period.pk, why="is anybody there?")
    assert apply_decisions(NOVEMBER) == 1
    with fleet_scope():
        assert find_period(spent).state == "open"


def test_a_rejected_change_leaves_it_closed(spent):
    fiona, vic = person("fiona", "finance"), person("vic", "approver")
    period = close_month(spent)
    with fleet_scope():
        ask_to_reopen(fiona, period.pk, why="let me")
        change = ChangeRequest.objects.get()
        decide(vic, change.pk, digest=change.digest, approve=False, why="no")
    assert apply_decisions(NOVEMBER) == 1
    with fleet_scope():
        assert find_period(spent).state == "closed"
        assert find_period(spent).change_id is None


def test_a_stranger_finds_no_period(spent, mallory):
    period = close_month(spent)
    with scope_of(mallory):
        assert not list_periods(mallory).exists()
        with pytest.raises(NotFound):
            get_period(mallory, period.pk)
        with pytest.raises(NotFound):
            ask_to_reopen(mallory, period.pk, why="mine")


def test_the_last_change_in_files_never_goes_back(spent):
    """Opening it again and giving up a close forget the cut-off, not that something changed."""
    fiona, vic = person("fiona", "finance"), person("vic", "approver")
    times = [timezone.now() + timedelta(hours=n) for n in range(1, 6)]  # created now
    seen = []

    def look():
        with fleet_scope():
            wanted = ChargeFilter(OCTOBER, OCTOBER + timedelta(days=1))
            seen.append(next(p.changed_at for p in read_periods(wanted) if p.name == "2026-10"))

    keep_periods(NOVEMBER)
    engines_agree()
    look()
    with fleet_scope():
        period = start_closing(SYSTEM, find_period(spent).pk, now=times[0])
        look()
        stop_closing(SYSTEM, period.pk, why="a price is missing", now=times[1])
        look()
        start_closing(SYSTEM, period.pk, now=times[2])
        close(SYSTEM, period.pk, now=times[3], grace=GRACE)
        look()
        ask_to_reopen(fiona, period.pk, why="a day is missing")
        change = ChangeRequest.objects.get()
        decide(vic, change.pk, digest=change.digest, approve=True)
    apply_decisions(times[4])
    look()
    assert seen[1:] == [times[0], times[1], times[3], times[4]]
    with fleet_scope():
        BillingPeriod.objects.filter(pk=period.pk).update(changed_at=times[0])
    look()
    assert seen[-1] == times[4], "not even by hand"
