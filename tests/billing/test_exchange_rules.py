"""Rules of exchange rates: what can be recorded, what a file says, what a conversion gives."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.rules.accounts import faults_of_terms
from billing.rules.exchange import Exchange, Recorded, Wanted, day_of, faults_of_rate, read_file
from billing.rules.focus_checks import fault_of_row
from tests.billing.test_bill_rules import GOOD
from tests.billing.test_exports import good_row

TODAY = date(2026, 11, 20)
RATE = Recorded("USD", "EUR", TODAY, "ECB", Decimal("0.9217"))
HEAD = "base,quote,date,source,rate\n"
amounts = st.decimals(-(10**9), 10**9, places=12)
rates = st.decimals("0.000000000001", 1_000, places=12)


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("base", {"base": "XAU"}),
        ("quote", {"quote": "usd"}),
        ("quote", {"quote": "USD"}),
        ("date", {"on": date(2026, 11, 22)}),
        ("source", {"source": " "}),
        ("source", {"source": "x" * 65}),
        ("rate", {"rate": Decimal(0)}),
        ("rate", {"rate": Decimal("NaN")}),
        ("rate", {"rate": Decimal("0.0000000000001")}),
        ("rate", {"rate": Decimal(10) ** 12}),
    ],
)
def test_it_refuses_a_rate_that_makes_no_sense(field, changes):
    assert faults_of_rate(RATE, TODAY) == {}
    assert set(faults_of_rate(replace(RATE, **changes), TODAY)) == {field}


def test_it_reads_a_file_of_rates():
    text = "\ufeff" + HEAD + 'usd,EUR,2026-11-20,ECB,0.9217\r\n"USD",JPY,2026-11-19,"ECB, noon",150'
    rows = read_file(text, TODAY).rows
    assert rows == [RATE, Recorded("USD", "JPY", date(2026, 11, 19), "ECB, noon", Decimal(150))]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Line 1 must be base,quote,date,source,rate"),
        ("a,b\n1,2", "Line 1 must be"),
        (HEAD, "no rate"),
        (HEAD + "USD,EUR,yesterday,ECB,1", "Line 2 is not like USD,EUR,2026-11-20"),
        (HEAD + "USD,EUR,2026-11-20,ECB,much", "Line 2 is not like"),
        (HEAD + "USD,EUR,2026-11-20,ECB", "Line 2 is not like"),
        (HEAD + "USD,EUR,2026-11-20,ECB,1,2", "Line 2 is not like"),
        (HEAD + "USD,EUR,2026-11-20,ECB,1\nUSD,USD,2026-11-20,ECB,1", "Line 3: Name two different"),
        (HEAD + 'USD,EUR,"2026', "after line 1 is no CSV"),
        (HEAD + "USD,EUR,2026-11-20,ECB,0\n" * 9, "4 more lines are wrong"),
        (HEAD + "USD,EUR,2026-11-20,ECB,1\n" * 5_001, "at most 5,000"),
    ],
)
def test_it_names_the_line_of_a_file_that_is_wrong(text, said):
    assert said in ". ".join(read_file(text, TODAY).faults)


@given(amounts, rates)
def test_what_is_taken_back_is_converted_to_the_same_amount(amount, rate):
    exchange = Exchange("USD", "EUR", rate)
    assert exchange.convert(amount) + exchange.convert(-amount) == 0
    exact = Fraction(amount) * Fraction(rate)
    assert abs(Fraction(exchange.convert(amount)) - exact) <= Fraction(1, 2 * 10**12)


def test_the_day_of_a_rate_is_the_one_on_the_calendar_of_the_period():
    cut_off = datetime(2026, 11, 1, 23, 30, tzinfo=UTC)
    assert day_of(cut_off, "UTC") == date(2026, 11, 1)
    assert day_of(cut_off, "Asia/Tokyo") == date(2026, 11, 2)


def test_it_says_which_rate_is_missing_and_the_way_out():
    wanted = Wanted("USD", "EUR", "ECB", TODAY, None)
    assert wanted.said == "USD/EUR of 2026-11-20 is missing"
    assert "ECB has no rate for USD/EUR of 2026-11-20 or of the 7 days before" in wanted.way_out
    assert "name the source" in replace(wanted, source="").way_out


def test_an_account_in_another_currency_names_its_source():
    terms = replace(GOOD, currency="EUR")
    assert set(faults_of_terms(terms, "USD")) == {"rate_source"}
    assert faults_of_terms(replace(terms, rate_source="ECB"), "USD") == {}


def test_a_converted_row_is_price_times_quantity_in_the_currency_of_prices():
    row = good_row() | {"BillingCurrency": "EUR"}
    quantity = Decimal(row["PricingQuantity"])
    exchange = Exchange("USD", "EUR", Decimal("0.921733"))
    price = exchange.convert(Decimal(row["ListUnitPrice"]))
    cost = exchange.convert(Decimal(row["PricingCurrencyEffectiveCost"]))
    row |= {name: f"{price:f}" for name in ("ListUnitPrice", "ContractedUnitPrice")}
    row |= {n: f"{cost:f}" for n in ("BilledCost", "ListCost", "ContractedCost", "EffectiveCost")}
    assert fault_of_row(row, "1.2") == ""
    off = cost + (quantity + 2) / 10**12
    assert "is not BilledCost" in fault_of_row(row | {"BilledCost": f"{off:.12f}"}, "1.2")
    priced = row | {"PricingCurrencyEffectiveCost": f"{cost + 1:f}"}
    assert "is not PricingCurrencyEffectiveCost" in fault_of_row(priced, "1.2")
