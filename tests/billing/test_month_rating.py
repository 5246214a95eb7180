"""Prices that depend on the month: rated as a whole, charged by the hour, only ever added to."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db.models import Sum

from billing.actions.calendars import keep_periods
from billing.actions.contracts import create_contract
from billing.actions.prices import draft_version
from billing.actions.publication import publish_version
from billing.actions.rating import rate_due
from billing.models import BillingPeriod, Charge, HourHead, Price, PriceBook, UnpricedUsage
from billing.queries.charged import ChargeFilter, sum_amounts
from billing.queries.checks import run_checks
from billing.queries.money import list_charges, parts, tenant_month
from billing.rules.prices import read_line
from tenants.base.scope import fleet_scope, tenant_scope
from tenants.errors import Invalid
from tenants.models import Tenant
from tenants.queries.directory import tenant_refs
from tests.billing.books import set_account
from tests.billing.factories import (
    NOW,
    PRICES,
    SYSTEM,
    at,
    load,
    make_prices,
    make_tenant,
    settle,
    usage,
)

pytestmark = pytest.mark.django_db
MILLION = 1_000_000
START = datetime(2026, 1, 1, tzinfo=UTC)


def price_prompt(text, **changes):
    """Prompt tokens of chat at `text`; the rest free."""
    rest = {"chat": {"cached": Decimal(0), "completion": Decimal(0)}}
    make_prices(rest, more=[read_line("chat", "prompt", text)], **changes)


def sign(tenant, *lines, starts_at=START, ends_at=None, now=NOW):
    with fleet_scope():
        book = PriceBook.objects.filter(tenant_id=tenant.pk).first()
        book = book or create_contract(SYSTEM, tenant_refs([tenant.pk])[tenant.pk])
        prices = [read_line(*line) for line in lines]
        draft = draft_version(SYSTEM, book.slug, prices=prices, why="agreed")
        return publish_version(
            SYSTEM, book.slug, draft.number, starts_at=starts_at, ends_at=ends_at, now=now, why="-"
        )


def tokens(tenant, prompt, **changes):
    return usage(tenant, prompt_tokens=prompt, cached_tokens=0, **changes)


def owed(tenant=None, **wanted):
    with fleet_scope():
        rows = Charge.objects.filter(**wanted)
        rows = rows.filter(tenant_id=tenant.pk) if tenant else rows
        return rows.aggregate(s=Sum("amount"))["s"] or Decimal(0)


def count():
    with fleet_scope():
        return Charge.objects.count()


def test_it_cuts_a_month_into_tiers_in_the_order_of_its_hours(acme, gateway):
    price_prompt("tiered 1000000:1 rest:0.1")
    load(gateway, tokens(acme, 600_000, at=at(hours=5)), tokens(acme, 600_000, at=at(hours=2)))
    with fleet_scope():
        rows = Charge.objects.filter(meter="prompt").order_by("hour", "-unit_price")
        found = [(r.hour.hour, r.quantity, r.unit_price * MILLION) for r in rows]
    assert found == [(7, 600_000, 1), (10, 400_000, 1), (10, 200_000, Decimal("0.1"))]


def test_it_shifts_tiers_by_differences_when_usage_comes_late(acme, gateway):
    price_prompt("tiered 1000000:1 rest:0.1")
    load(gateway, tokens(acme, 600_000, at=at(hours=5)), tokens(acme, 600_000, at=at(hours=2)))
    before = count()
    load(gateway, tokens(acme, 500_000, at=at(hours=9)))
    assert owed() == Decimal("1") + Decimal("0.07")
    with fleet_scope():
        late = Charge.objects.order_by("id")[before:]
        assert {(r.hour.hour, r.quantity > 0) for r in late} >= {(3, True), (7, False), (10, False)}


def test_it_gives_the_same_rows_however_usage_arrives(acme, globex, gateway):
    price_prompt("tiered 1000000:1 rest:0.1")
    hours = (9, 5, 2)
    load(gateway, *[tokens(acme, 500_000, at=at(hours=h)) for h in hours])
    for h in reversed(hours):
        load(gateway, tokens(globex, 500_000, at=at(hours=h)))

    def rows(tenant):
        with fleet_scope():
            found = Charge.objects.filter(tenant_id=tenant.pk, meter="prompt")
            sums = found.values_list("hour", "unit_price").annotate(q=Sum("quantity"))
            return sorted(row for row in sums if row[2])

    assert rows(acme) == rows(globex)


def test_it_begins_the_tiers_anew_with_the_tenants_month(acme, gateway):
    price_prompt("tiered 1000000:1 rest:0.1")
    load(gateway, tokens(acme, MILLION, at=at(days=25)), tokens(acme, MILLION))
    assert owed() == 2


def test_it_prices_all_of_the_month_by_its_volume(acme, gateway):
    price_prompt("volume 1000000:1 rest:0.5")
    load(gateway, tokens(acme, MILLION, at=at(hours=5)))
    assert owed() == 1
    load(gateway, tokens(acme, MILLION))
    assert owed() == 1  # 2 million at half the price
    with fleet_scope():
        rows = Charge.objects.filter(meter="prompt", hour=at(hours=5).replace(minute=0))
        assert sorted(r.quantity for r in rows) == [-MILLION, MILLION, MILLION]


def test_it_sells_whole_packages_where_they_are_opened(acme, gateway):
    price_prompt("package 1000000:2")
    load(gateway, *[tokens(acme, 400_000, at=at(hours=h)) for h in (6, 5, 4)])
    with fleet_scope():
        found = Charge.objects.filter(meter="prompt").order_by("hour")
        assert [(r.hour.hour, r.amount) for r in found] == [(6, 2), (8, 2)]
        assert all(c.holds for c in run_checks(START)), [
            c for c in run_checks(START) if not c.holds
        ]


def test_it_rates_a_month_again_without_writing_anything(acme, gateway):
    price_prompt("tiered 1000000:1 rest:0.1")
    sign(acme, ("", "fee", "flat 500"))
    load(gateway, tokens(acme, 3 * MILLION), tokens(acme, MILLION, at=at(days=3)))
    before = count()
    with fleet_scope():
        HourHead.objects.update(rated_version=0)
    settle()
    assert count() == before


def test_it_multiplies_factors_by_hour_and_class(acme, gateway):
    factors = [
        read_line("", "", "factor UTC 12-13:2"),
        read_line("chat", "", "factor 0.5", "batch"),
    ]
    make_prices(more=factors)
    load(
        gateway,
        usage(acme),
        usage(acme, at=at(hours=2)),
        usage(acme, at=at(hours=2), traffic_class="batch"),
    )
    with fleet_scope():
        rows = Charge.objects.filter(meter="completion").values_list(
            "hour__hour", "traffic_class", "unit_price"
        )
        found = {(h, cls): price * MILLION for h, cls, price in rows}
    assert found == {
        (12, "interactive"): 3,
        (10, "interactive"): Decimal("1.5"),
        (10, "batch"): Decimal("0.75"),
    }


def test_it_takes_the_contract_before_the_list(acme, globex, gateway):
    make_prices()
    sign(acme, ("chat", "completion", "1"), starts_at=at(hours=1).replace(minute=0))
    load(gateway, usage(acme), usage(globex), usage(acme, at=at(hours=4)))
    price = PRICES["chat"]["completion"]
    assert owed(acme, meter="completion") == 30 * (1 + price) / MILLION
    assert owed(globex, meter="completion") == 30 * price / MILLION
    assert owed(acme, meter="cached") == 80 * PRICES["chat"]["cached"] / MILLION


def test_a_contracts_factor_is_a_discount_on_the_list(acme, gateway):
    make_prices()
    load(gateway, usage(acme))
    before = owed()
    sign(acme, ("", "", "factor 0.9"))
    settle()
    assert owed() == before * Decimal("0.9")


def test_a_contract_ends_and_the_list_holds_again(acme, gateway):
    make_prices()
    end = at(hours=1).replace(minute=0)
    sign(acme, ("chat", "completion", "0"), ends_at=end)
    load(gateway, usage(acme, at=at(hours=3)), usage(acme))
    assert owed(acme, meter="completion") == 30 * PRICES["chat"]["completion"] / MILLION


def test_a_contract_that_takes_the_place_of_another_frees_the_hours_after_its_end(acme, gateway):
    make_prices()
    sign(acme, ("chat", "completion", "0"))
    load(gateway, usage(acme, at=at(hours=3)), usage(acme))
    end = at(hours=1).replace(minute=0)
    sign(acme, ("chat", "completion", "1"), starts_at=end - timedelta(hours=9), ends_at=end)
    settle()
    listed = PRICES["chat"]["completion"]
    assert owed(acme, meter="completion") == 30 * (1 + listed) / MILLION


def test_it_charges_the_fee_of_a_month_without_usage(acme):
    sign(acme, ("", "fee", "flat 500"), starts_at=datetime(2026, 10, 1, tzinfo=UTC))
    settle()
    with fleet_scope():
        found = [(c.hour, c.quantity, c.amount) for c in Charge.objects.order_by("hour")]
        assert found == [
            (datetime(2026, 10, 1, tzinfo=UTC), 1, 500),
            (datetime(2026, 11, 1, tzinfo=UTC), 1, 500),
        ]
        assert all(c.holds for c in run_checks(START))
    settle(NOW + timedelta(days=1))
    assert count() == 2


def test_a_fee_leads_to_its_own_charge(acme, gateway, fiona):
    make_prices()
    sign(acme, ("", "fee", "flat 500"), starts_at=datetime(2026, 11, 1, tzinfo=UTC))
    load(gateway, usage(acme))
    with fleet_scope():
        whole = ChargeFilter(datetime(2026, 11, 1, tzinfo=UTC), NOW, tenant_id=acme.pk)
        for by in ("model", "application_id", "meter"):
            found = {p.amount: p for p in parts(fiona, whole, by)}[Decimal(500)]
            assert [c.amount for c in list_charges(fiona, found.wanted)] == [500], by
            assert sum_amounts(found.wanted) == {(): 500}, by


def test_it_charges_a_fee_for_the_part_of_the_month_that_is_agreed(acme):
    sign(acme, ("", "fee", "flat 500"), starts_at=datetime(2026, 11, 16, tzinfo=UTC))
    settle()
    assert owed() == 250
    sign(acme, ("", "fee", "flat 100"), starts_at=datetime(2026, 11, 19, tzinfo=UTC))
    settle()
    assert owed() == 50 + 40
    with fleet_scope():
        assert min(c.amount for c in Charge.objects.all()) == -200


def test_a_part_of_a_month_counts_the_hours_that_its_clocks_made():
    berlin = make_tenant("berlin", time_zone="Europe/Berlin")
    start, end = (datetime(2026, 9, 30, 22, tzinfo=UTC), datetime(2026, 10, 16, 10, tzinfo=UTC))
    sign(berlin, ("", "fee", "flat 500"), starts_at=start, ends_at=end)
    settle()
    assert owed() == Decimal("249.664429530201")  # 372 hours of 745
    with fleet_scope():
        wrong = [c for c in run_checks(START) if not c.holds]
        assert wrong == [], "its first hour is on the day before by UTC"


def test_thirds_of_a_month_owe_thirds_of_a_fee(acme):
    thirds = [datetime(2026, 11, day, tzinfo=UTC) for day in (1, 11, 21)]
    for start in thirds:
        sign(acme, ("", "fee", "flat 300000"), starts_at=start)
    settle(datetime(2026, 11, 30, tzinfo=UTC))
    assert [owed(acme, meter="fee", hour=start) for start in thirds] == [100_000] * 3


def test_a_month_of_before_keeps_what_it_was_charged(acme, gateway):
    """Its rows were made when parts had 6 decimals: usage that comes late changes none of them."""
    make_prices()
    load(gateway, usage(acme))
    keep_periods(NOW)
    with fleet_scope():
        BillingPeriod.objects.filter(tenant_id=acme.pk, name="2026-11").update(cuts_shares=True)
    sign(acme, ("", "fee", "flat 300000"), starts_at=datetime(2026, 11, 11, tzinfo=UTC))
    settle()
    load(gateway, usage(acme))
    assert owed(acme, meter="fee") == Decimal("200000.1")
    with fleet_scope():
        fee = Charge.objects.get(meter="fee")
        assert (fee.quantity, fee.unit_price) == (Decimal("0.666667"), 300_000)
        assert [c for c in run_checks(START) if not c.holds] == []


def test_a_fee_is_owed_once_it_begins_and_then_once(acme, gateway):
    make_prices()
    sign(acme, ("", "fee", "flat 300"), starts_at=datetime(2026, 11, 25, tzinfo=UTC))
    for hours in (5, 4):
        load(gateway, usage(acme, at=at(hours=hours)))
    assert owed(acme, meter="fee") == 0
    for days in (5, 6):
        load(gateway, usage(acme, at=at(hours=days)), now=NOW + timedelta(days=days))
    assert owed(acme, meter="fee") == 60


def test_a_fee_stands_once_when_the_zone_changes(acme, gateway):
    """New York's November begins five hours later: the hour of the fee lay in October then."""
    price_prompt("1")
    sign(acme, ("", "fee", "flat 500"), starts_at=datetime(2026, 10, 1, tzinfo=UTC))
    settle()
    with fleet_scope():
        Tenant.objects.filter(pk=acme.pk).update(time_zone="America/New_York")
    load(gateway, tokens(acme, MILLION), tokens(acme, MILLION, at=at(days=30)))
    assert owed(acme, meter="fee") == 1000
    december = datetime(2026, 12, 20, tzinfo=UTC)
    settle(december)
    assert owed(acme, meter="fee") == 1500
    keep_periods(december)
    with fleet_scope():
        for period in BillingPeriod.objects.filter(tenant_id=acme.pk):
            within = {"hour__gte": period.starts_at, "hour__lt": period.ends_at}
            assert owed(acme, meter="fee", **within) == 500, period
        assert [c for c in run_checks(START) if not c.holds] == []


def test_tiers_begin_with_the_accounts_month_and_not_with_the_tenants(acme, gateway):
    """Tokyo is nine hours ahead: 16:00 UTC of the last of October is in November there."""
    price_prompt("tiered 1000000:1 rest:0.1")
    set_account(acme, time_zone="Asia/Tokyo")
    border = datetime(2026, 10, 31, 15, 30, tzinfo=UTC)
    load(gateway, tokens(acme, MILLION, at=border - timedelta(hours=1)))
    load(gateway, tokens(acme, MILLION, at=border))
    assert owed() == 2
    set_account(acme, time_zone="UTC")
    load(gateway, tokens(acme, MILLION, at=border + timedelta(minutes=5)))
    assert owed() == Decimal("2.1")


def test_a_minimum_that_is_cut_short_long_after_is_owed_once(acme, gateway):
    make_prices()
    sign(acme, ("", "commitment", "commitment 31"), starts_at=datetime(2026, 10, 1, tzinfo=UTC))
    settle()
    assert owed(acme, meter="commitment") == 31
    later = datetime(2026, 12, 20, tzinfo=UTC)
    sign(acme, ("", "", "factor 1"), starts_at=datetime(2026, 10, 11, tzinfo=UTC), now=later)
    for hour in (9, 10):
        load(gateway, usage(acme, at=datetime(2026, 10, 20, hour, tzinfo=UTC)), now=later)
    assert owed(acme, meter="commitment") == 10  # days of 31


def test_it_charges_what_is_missing_to_the_minimum_when_the_month_is_over(acme, gateway):
    make_prices()
    sign(acme, ("", "commitment", "commitment 10"), starts_at=datetime(2026, 11, 1, tzinfo=UTC))
    load(gateway, tokens(acme, 4 * MILLION))
    spent = owed()
    assert 2 < spent < 3
    over = datetime(2026, 12, 1, 0, 5, tzinfo=UTC)
    settle(over)
    assert owed() == 10
    assert owed(meter="commitment") == 10 - spent
    load(gateway, tokens(acme, 2 * MILLION, at=at(days=2)), now=over)
    assert owed() == 10
    load(gateway, tokens(acme, 20 * MILLION, at=at(days=2)), now=over)
    assert owed() > 10
    assert owed(meter="commitment") == 0


def test_it_lists_what_a_monthly_tariff_does_not_price(acme, gateway):
    price_prompt("tiered 1000000:1 rest:0.1")
    load(gateway, usage(acme, model="unheard-of"))
    with fleet_scope():
        assert UnpricedUsage.objects.count() == 3
    assert owed() == 0


def test_it_shows_what_the_next_rating_adds_to_a_month(acme, gateway, fiona):
    price_prompt("tiered 1000000:1 rest:0.1")
    load(gateway, tokens(acme, MILLION, at=at(hours=5)))
    with fleet_scope():
        HourHead.objects.update(version=9)
        before = tenant_month(fiona, "acme", now=NOW)
        assert (before.charged, before.waiting) == (1, 0)
    assert rate_due(NOW, early=True).charges == 0


def test_a_contract_is_in_a_currency_that_invoices_can_be_in(gateway):
    odd = make_tenant("odd", currency="UDS")
    with pytest.raises(Invalid, match="not a currency of this console"):
        sign(odd, ("", "fee", "flat 500"))


def test_a_strangers_contract_is_not_there(acme, globex):
    make_prices()
    sign(acme, ("", "fee", "flat 500"))
    with tenant_scope(globex.pk):
        assert [b.slug for b in PriceBook.objects.all()] == ["list"]
        assert set(Price.objects.values_list("meter", flat=True)) == set(PRICES["chat"])
    with tenant_scope(acme.pk):
        assert PriceBook.objects.count() == 2
