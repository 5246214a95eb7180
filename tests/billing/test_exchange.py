"""Accounts that are invoiced in another currency than their prices: one recorded rate each."""

import json
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, transaction
from django.db.models import Sum

from billing.actions.calendars import keep_periods
from billing.actions.credits import Given, issue_credit_note
from billing.actions.exchange import Imported, import_rates, record_rate
from billing.actions.invoices import issue_invoices
from billing.actions.periods import close, start_closing, stop_closing
from billing.drive.rows import Evidence, batches_of
from billing.models import ExchangeRate, Invoice, JournalLeg
from billing.queries.billed import charges_of_line
from billing.queries.charged import ChargeFilter
from billing.queries.checks import run_checks
from billing.queries.exchange import list_rates
from billing.queries.periods import period_checks
from billing.rules.exchange import Recorded
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import Conflict, Forbidden, Invalid, NotFound
from tests.billing.billed import MONTHS, export, rows_of_file
from tests.billing.books import (
    GRACE,
    NOVEMBER,
    OCTOBER,
    ODD_PRICES,
    bill_month,
    close_month,
    engines_agree,
    find_period,
    set_account,
    spend,
    tax,
)
from tests.billing.factories import SYSTEM, make_prices, viewer
from tests.billing.granted import granted

pytestmark = pytest.mark.django_db
RATE = Decimal("0.921733")
CUT_OFF = NOVEMBER.date()
HEAD = "base,quote,date,source,rate\n"


def note_rate(quote="EUR", rate=RATE, *, on=CUT_OFF, source="ECB", now=NOVEMBER, base="USD"):
    with fleet_scope():
        return record_rate(SYSTEM, Recorded(base, quote, on, source, rate), now=now)


def checks_of(tenant, now=NOVEMBER):
    with fleet_scope():
        found = period_checks(SYSTEM, find_period(tenant), now=now, grace=GRACE)
    return {c.key.value: c for c in found}


@pytest.fixture
def spent(acme, gateway):
    """Prices in dollars, invoices in euros by the rates of ECB."""
    make_prices(ODD_PRICES)
    set_account(acme, currency="EUR", rate_source="ECB")
    spend(gateway, acme)
    spend(gateway, acme, at=OCTOBER + timedelta(days=3), prompt_tokens=1_001, cached_tokens=7)
    return acme


@pytest.fixture(autouse=True)
def _folder(settings, tmp_path):
    settings.QM_EXPORTS_DIR = tmp_path / "exports"


def test_it_converts_each_line_and_rounds_once(spent):
    note_rate()
    invoice = bill_month(spent)
    with fleet_scope():
        rows = {line.meter or line.kind: line for line in invoice.lines.all()}
        exact = 1_054 * Decimal("0.001234567") * RATE
        assert rows["prompt"].exact == exact.quantize(Decimal("0.000000000001"))
        assert rows["prompt"].unit_price == Decimal("0.001234567")  # of the book
        assert rows["prompt"].amount == Decimal("1.20")
        sums = invoice.lines.aggregate(exact=Sum("exact"), amount=Sum("amount"))
        assert sums["exact"] == sums["amount"] == invoice.total
        charges = charges_of_line(rows["prompt"], invoice)
        assert charges.aggregate(s=Sum("amount"))["s"] == 1_054 * Decimal("0.001234567")
        legs = JournalLeg.objects.filter(txn__document=invoice.number)
        assert {leg.currency for leg in legs} == {"EUR"}
        assert [c for c in run_checks(OCTOBER - timedelta(days=20)) if not c.holds] == []


def test_rate_date_and_source_are_frozen_in_the_invoice(spent):
    note_rate()
    invoice = bill_month(spent)
    note_rate(rate=Decimal(2))  # later, for the same day
    with fleet_scope():
        row = Invoice.objects.get(pk=invoice.pk)
    assert (row.currency, row.priced_in, row.rate) == ("EUR", "USD", RATE)
    assert (row.rate_on, row.rate_source) == (CUT_OFF, "ECB")
    document = json.loads(row.snapshot)
    assert document["priced_in"] == "USD"
    assert document["exchange"] == {
        "base": "USD",
        "quote": "EUR",
        "rate": "0.921733",
        "date": "2026-11-20",
        "source": "ECB",
    }


def test_an_invoice_in_the_currency_of_its_prices_has_no_rate(acme, gateway):
    make_prices(ODD_PRICES)
    spend(gateway, acme)
    document = json.loads(bill_month(acme).snapshot)
    assert (document["priced_in"], document["exchange"]) == ("USD", None)


@pytest.mark.parametrize(
    ("currency", "rate", "units"), [("JPY", "151.37", "1"), ("BHD", "0.37709", "0.001")]
)
def test_it_rounds_to_what_the_currency_of_the_invoice_has(spent, currency, rate, units):
    set_account(spent, currency=currency, taxes=(tax("VAT", "0.1"),))
    note_rate(currency, Decimal(rate))
    invoice = bill_month(spent)
    with fleet_scope():
        for line in invoice.lines.all():
            assert line.amount % Decimal(units) == 0, line
    assert json.loads(invoice.snapshot)["total"] == f"{invoice.total.quantize(Decimal(units)):f}"


def test_a_missing_rate_keeps_the_period_from_closing(spent):
    note_rate(on=CUT_OFF - timedelta(days=8))  # too old
    note_rate(source="Fed")
    note_rate("JPY", Decimal(150))
    keep_periods(NOVEMBER)
    with fleet_scope():
        engines_agree()
        pk = start_closing(SYSTEM, find_period(spent).pk, now=NOVEMBER).pk
    check = checks_of(spent)["exchange"]
    assert (check.number, check.may_sign) == (1, False)
    assert check.said == "USD/EUR of 2026-11-20 is missing"
    said = "Exchange rates: USD/EUR of 2026-11-20 is missing"
    with fleet_scope(), pytest.raises(Conflict, match=said):
        close(SYSTEM, pk, now=NOVEMBER, grace=GRACE)
    note_rate(on=CUT_OFF - timedelta(days=3))
    check = checks_of(spent)["exchange"]
    assert check.is_green
    assert check.said == "1 USD = 0.921733 EUR of 2026-11-17 (ECB)"
    with fleet_scope():
        close(SYSTEM, pk, now=NOVEMBER, grace=GRACE)
        assert issue_invoices(SYSTEM, pk, now=NOVEMBER)[0].rate == RATE


def test_nothing_to_convert_is_green(acme, gateway):
    make_prices(ODD_PRICES)
    spend(gateway, acme)
    keep_periods(NOVEMBER)
    assert checks_of(acme)["exchange"].said == "every charge is in USD"


def test_the_rate_is_of_the_cut_off_and_not_of_the_day_of_the_invoice(spent):
    early = datetime(2026, 11, 3, 9, tzinfo=NOVEMBER.tzinfo)
    note_rate(on=early.date(), now=early)
    close_month(spent, now=early)
    note_rate(rate=Decimal(3), on=CUT_OFF)
    note_rate(rate=Decimal(4), on=early.date())  # corrected after the close
    with fleet_scope():
        (invoice,) = issue_invoices(SYSTEM, find_period(spent).pk, now=NOVEMBER)
    assert (invoice.rate, invoice.rate_on) == (RATE, early.date())


def test_a_correction_before_the_close_holds(spent):
    note_rate()
    note_rate(rate=Decimal("0.95"))
    assert bill_month(spent).rate == Decimal("0.95")


def test_an_account_that_changed_its_currency_after_the_close_waits_for_a_rate(spent):
    note_rate()
    period = close_month(spent)
    set_account(spent, currency="JPY")
    with fleet_scope(), pytest.raises(Conflict, match="ECB has no rate for USD/JPY of 2026-11-20"):
        issue_invoices(SYSTEM, period.pk, now=NOVEMBER)
    later = NOVEMBER + timedelta(hours=1)
    note_rate("JPY", Decimal(155), now=later)
    with fleet_scope():
        (invoice,) = issue_invoices(SYSTEM, period.pk, now=later)
        assert (invoice.currency, invoice.rate) == ("JPY", 155)
        assert [c for c in run_checks(OCTOBER - timedelta(days=20)) if not c.holds] == []


def test_credits_pay_in_the_currency_of_the_invoice_and_keep_it(spent, fin, vic):
    granted(
        fin, vic, spent, now=OCTOBER, amount=Decimal("0.50"), currency="EUR", name="Welcome",
        paid=False, reference="",
    )  # fmt: skip
    with pytest.raises(Invalid, match="0.5.* EUR of credits are left"):
        set_account(spent, currency="USD")
    note_rate()
    invoice = bill_month(spent)
    with fleet_scope():
        assert invoice.lines.get(kind="promotion").amount == Decimal("-0.50")
        note = issue_credit_note(
            SYSTEM, invoice.number, lines=[Given(1, Decimal("0.01"))], why="-", now=NOVEMBER
        )
    assert note.currency == "EUR"


@pytest.mark.parametrize("version", ["1.4", "1.3", "1.2"])
def test_files_have_both_currencies_and_add_up_to_the_invoice(spent, fiona, version):
    note_rate()
    open_month = rows_of_file(export(fiona, 10, f"focus-{version}")[1])
    assert {r["BillingCurrency"] for r in open_month} == {"USD"}, "no rate is taken yet"
    set_account(spent, taxes=(tax("VAT", "0.19"),))
    invoice = bill_month(spent)
    artifact, data = export(fiona, 10, f"focus-{version}")
    rows = rows_of_file(data)
    assert {r["BillingCurrency"] for r in rows} == {"EUR"}
    assert sum(Decimal(r["BilledCost"]) for r in rows) == invoice.total
    assert Decimal(artifact.sums["EUR"]) == invoice.total
    sold = [r for r in rows if r["PricingQuantity"]]
    assert {r["PricingCurrency"] for r in sold} == {"USD"}
    for r in sold:
        priced = Decimal(r["PricingCurrencyEffectiveCost"])
        assert Decimal(r["PricingCurrencyListUnitPrice"]) * Decimal(r["PricingQuantity"]) == priced
        assert abs(Decimal(r["BilledCost"]) - priced * RATE) <= Decimal("0.0000000000005")


def test_details_and_chargeback_are_in_the_currency_of_the_invoice(spent, fiona):
    note_rate()
    invoice = bill_month(spent)
    wanted = ChargeFilter(MONTHS[10], MONTHS[12])
    with scope_of(fiona):
        for format in ("focus-1.4-invoice-detail", "chargeback"):
            evidence = Evidence()
            assert list(batches_of(format, wanted, evidence))
            assert dict(evidence.sums) == {"EUR": invoice.total}


def test_what_converting_row_by_row_leaves_is_a_row_of_its_own(spent, gateway, fiona):
    """Also of lines that net to nothing, and stand on no invoice."""
    note_rate()
    bill_month(spent)
    late = NOVEMBER + timedelta(hours=1)
    for tokens in (3, 5, 7, 11):
        spend(gateway, spent, at=OCTOBER + timedelta(hours=tokens), now=late, prompt_tokens=tokens,
              cached_tokens=0, completion_tokens=0)  # fmt: skip
    dearer = ODD_PRICES["chat"] | {"prompt": Decimal("1300.1")}
    make_prices({"chat": dearer}, now=late)
    spend(gateway, spent, at=late)
    december = datetime(2026, 12, 3, 9, tzinfo=NOVEMBER.tzinfo)
    note_rate(rate=Decimal("0.333333333333"), on=december.date(), now=december)
    invoice = bill_month(spent, "2026-11", now=december)
    rows = rows_of_file(export(fiona, 11, "focus-1.4")[1])
    assert sum(Decimal(r["BilledCost"]) for r in rows) == invoice.total
    (left,) = [r for r in rows if r["ChargeDescription"] == "Conversion of each row"]
    assert (left["ChargeCategory"], left["x_IsRounding"]) == ("Adjustment", "true")
    assert 0 < abs(Decimal(left["BilledCost"])) < Decimal("0.00000000002")
    with fleet_scope():
        assert [c for c in run_checks(OCTOBER - timedelta(days=20)) if not c.holds] == []


def test_a_file_of_rates_is_taken_whole_or_not_at_all():
    text = HEAD + "USD,EUR,2026-11-19,ECB,0.92\nUSD,EUR,2026-11-20,ECB,0.93\n"
    with fleet_scope():
        with pytest.raises(Invalid) as refused:
            import_rates(SYSTEM, text + "USD,USD,2026-11-20,ECB,1", now=NOVEMBER)
        assert "Line 4: Name two different" in refused.value.fields["csv"]
        assert not ExchangeRate.objects.exists()
        assert import_rates(SYSTEM, text, now=NOVEMBER) == Imported(2, 0, 0)
        assert import_rates(SYSTEM, text, now=NOVEMBER) == Imported(0, 0, 2)
        changed = text.replace("0.93", "0.94")
        assert import_rates(SYSTEM, changed, now=NOVEMBER) == Imported(1, 1, 1)
        found = list_rates(SYSTEM, base="USD", quote="EUR")
        assert [r.rate for r in found] == [Decimal("0.94"), Decimal("0.93"), Decimal("0.92")]


@pytest.mark.parametrize("change", [{"rate": 1}, {"source": "Fed"}])
def test_a_recorded_rate_is_never_changed(change):
    note_rate()
    with fleet_scope(), transaction.atomic():
        rows = ExchangeRate.objects.all()
        with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
            rows.update(**change)
        with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
            rows.delete()


def test_only_the_operators_finance_records_rates(acme, mallory):
    given = Recorded("USD", "EUR", date(2026, 11, 20), "ECB", RATE)
    for who in (mallory, viewer("finance", acme), viewer("viewer")):
        with scope_of(who), pytest.raises((Forbidden, NotFound)):
            record_rate(who, given, now=NOVEMBER)
        with scope_of(who), pytest.raises((Forbidden, NotFound)):
            import_rates(who, HEAD + "USD,EUR,2026-11-20,ECB,1", now=NOVEMBER)


def test_a_period_that_goes_back_to_open_takes_the_rate_of_its_next_cut_off(spent):
    note_rate()
    keep_periods(NOVEMBER)
    later = NOVEMBER + timedelta(days=10)
    with fleet_scope():
        pk = find_period(spent).pk
        start_closing(SYSTEM, pk, now=NOVEMBER)
        stop_closing(SYSTEM, pk, why="a price is missing", now=NOVEMBER)
        start_closing(SYSTEM, pk, now=later)
    assert checks_of(spent, now=later)["exchange"].said == "USD/EUR of 2026-11-30 is missing"
