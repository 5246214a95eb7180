"""Factors never make a price that no table holds: rating of everybody would stop at it."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.rules.prices import LARGEST, faults_of_prices, read_line
from billing.rules.prices.bounds import MOST_OF_CONTRACT, faults_of_factors
from billing.rules.prices.terms import Kind
from billing.rules.tariffs import Tariff, version_of
from tests.billing.factories import NOW

STORED = Decimal(10) ** 12
METERS = ("prompt", "cached", "completion")
MODELS, CLASSES = ("chat", "code"), ("interactive", "batch")


def listed(price="1", *factors):
    prices = [read_line(model, meter, price) for model in MODELS for meter in METERS]
    return prices + [read_line(m, t, f"factor {f}", c) for m, t, c, f in factors]


@pytest.mark.parametrize("contract", [False, True])
@pytest.mark.parametrize(
    ("price", "factors"),
    [
        ("1", []),
        ("1000000000", []),
        ("1000000000", [("", "", "", "0.5")]),
        ("10", [("", "", "", "10"), ("chat", "", "", "10")]),
        ("10", [("chat", "", "", "100"), ("code", "", "", "100")]),  # of no request both
    ],
)
def test_prices_that_people_write_are_taken(price, factors, contract):
    lines = listed(price, *factors)
    assert not faults_of_prices(lines, contract=contract)
    assert not faults_of_factors(lines, contract=contract)


def test_a_unit_that_its_factors_make_too_dear_is_named():
    lines = [*listed(), read_line("chat", "request", "1000000000")]
    lines += [read_line("", "", "factor 100"), read_line("", "", "factor 100", "batch")]
    found = faults_of_factors(lines, contract=False)
    assert found == {"prices/6": "With its factors, 10,000 together, a unit costs more than"
                                 " 1,000,000,000"}  # fmt: skip


def test_factors_of_a_contract_raise_the_list_too_and_have_an_end():
    lines = listed("1", ("chat", "", "", "20"), ("", "prompt", "", "20"))
    assert not faults_of_factors(lines, contract=False)
    said = faults_of_factors(lines, contract=True)["prices"]
    assert said == "Factors of a contract raise a price by 100 at most; these come to 400"


@given(
    price=st.decimals(0, LARGEST, places=0),
    factors=st.lists(
        st.tuples(
            st.sampled_from(("", *MODELS)),
            st.sampled_from(("", *METERS, "request")),
            st.sampled_from(("", *CLASSES)),
            st.decimals(0, 100, places=2),
        ),
        max_size=8,
        unique_by=lambda f: f[:3],
    ),
    agreed=st.lists(
        st.tuples(
            st.sampled_from(("", *MODELS)),
            st.sampled_from(("", *METERS, "request")),
            st.sampled_from(("", *CLASSES)),
            st.decimals(0, 100, places=2),
        ),
        max_size=4,
        unique_by=lambda f: f[:3],
    ),
)
def test_what_is_taken_is_a_price_that_is_stored(price, factors, agreed):
    listing = [*listed("1", *factors), read_line("chat", "request", f"{price}")]
    contract = [read_line(m, t, f"factor {f}", c) for m, t, c, f in agreed]
    if faults_of_factors(listing, contract=False) or faults_of_factors(contract, contract=True):
        return
    book, ours = (
        version_of(
            n, "USD", (NOW, None), {(name_of(p), p.terms.kind == "factor"): p.terms for p in of}
        )
        for n, of in enumerate((listing, contract), start=1)
    )
    tariff = Tariff([book], [ours])
    for of_class in CLASSES:
        asked = ("chat", "request", of_class, "")
        found = tariff.find(NOW, *asked)
        assert tariff.with_factors(found, found.terms.unit_price, NOW, asked) < STORED
    assert STORED > LARGEST * MOST_OF_CONTRACT


def is_factor(line):
    return line.terms.kind == Kind.FACTOR


def name_of(line):
    return line.model, line.meter, line.traffic_class, line.runs_on
