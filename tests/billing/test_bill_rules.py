"""Sums of a bill, for any charges, taxes and currencies; and what an account may not say."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.rules.accounts import AccountTerms, faults_of_terms
from billing.rules.documents import amount_text, invoice_lines, name_of
from billing.rules.invoices import (
    ChargeSum,
    LineKind,
    Remains,
    Tax,
    Terms,
    faults_of_taxes,
    make_bill,
    refuse_credit,
    settle,
    tax_of,
    tax_to_credit,
)
from billing.rules.journal import legs_of_credit, legs_of_invoice, legs_of_payment
from billing.rules.periods import Check, CheckKey, Signed, missing_periods, refuse_close
from tenants.rules.currencies import EXPONENTS

AT = datetime(2026, 10, 1, tzinfo=UTC)
amounts = st.decimals(min_value=-10_000, max_value=10_000, places=12)
rates = st.decimals(min_value=0, max_value=1, places=6)
terms_of = st.builds(
    Terms,
    currency=st.sampled_from(["USD", "JPY", "KWD", "CLF"]),
    rounding=st.sampled_from(["HALF_EVEN", "HALF_UP"]),
    taxes=st.lists(rates, max_size=3).map(
        lambda found: tuple(Tax(f"tax {n}", rate) for n, rate in enumerate(found))
    ),
    tax_per=st.sampled_from(["line", "invoice"]),
)


def charged(exact):
    return ChargeSum("chat", "prompt", Decimal(1), exact, exact, 1, "", AT, AT)


@given(st.lists(amounts, max_size=30), terms_of)
def test_exact_and_rounded_rows_have_the_same_sum_which_is_the_total(exact, terms):
    bill = make_bill([charged(e) for e in exact], terms)
    assert sum(r.amount for r in bill.rows) == bill.total
    assert sum(r.exact for r in bill.rows) == bill.total
    assert sum(exact) + bill.rounding == bill.net
    unit = Decimal(1).scaleb(-EXPONENTS[terms.currency])
    assert all(r.amount % unit == 0 for r in bill.rows)
    mode = {"HALF_EVEN": ROUND_HALF_EVEN, "HALF_UP": ROUND_HALF_UP}[terms.rounding]
    lines = [r for r in bill.rows if r.charged]
    assert [r.amount for r in lines] == [e.quantize(unit, mode) for e in exact]
    taxes = [r.amount for r in bill.rows if r.kind == LineKind.TAX]
    by_line = sum(tax_of(r.amount, t, terms) for r in lines for t in terms.taxes)
    if terms.tax_per == "line" and (bill.net < 0 or by_line >= 0 and (bill.net or not by_line)):
        assert sum(r.tax for r in lines) == sum(taxes) == by_line
    assert bill.net < 0 or bill.tax >= 0
    assert bill.net or not bill.tax


@given(st.lists(amounts, min_size=1, max_size=30), terms_of, st.integers(0, 100))
def test_a_bill_below_zero_is_settled_to_the_last_unit(exact, terms, part):
    bill = make_bill([charged(-abs(e)) for e in exact], terms)
    less = -bill.net
    unit = Decimal(1).scaleb(-EXPONENTS[terms.currency])
    first = (less * part / 100).quantize(unit)
    settled = settle(bill, [("a note", first), ("another", less - first)])
    assert (settled.net, settled.tax, settled.total) == (0, 0, 0)
    assert sum(r.amount for r in settled.rows) == sum(r.exact for r in settled.rows) == 0
    assert [r.position for r in settled.rows] == list(range(1, len(settled.rows) + 1))
    legs = legs_of_invoice(
        exact=settled.exact + settled.given_back, net=settled.net, tax=Decimal(0)
    )
    assert sum(leg.amount for leg in legs) == 0
    assert {leg.account for leg in legs} <= {"revenue", "rounding"}
    with pytest.raises(ValueError, match="is given back of"):
        settle(bill, [("a note", less + unit)])


def test_taxes_of_many_small_lines_do_not_outweigh_the_net():
    """Ten lines of 0.02 owe no tax of 19 % each; one of -0.17 takes 0.03 and more back."""
    terms = Terms("USD", "HALF_EVEN", (Tax("VAT", Decimal("0.19")),), "line")
    bill = make_bill([charged(Decimal("0.02"))] * 100 + [charged(Decimal("-1.97"))], terms)
    assert (bill.net, bill.tax) == (Decimal("0.03"), Decimal("0.01"))


def test_nothing_owes_no_tax_and_something_owes_none_below_zero():
    terms = Terms("USD", "HALF_EVEN", (Tax("VAT", Decimal("0.19")),), "line")
    small = [charged(Decimal("0.02"))] * 100
    less = make_bill([*small, charged(Decimal("-1.00"))], terms)
    assert (less.net, less.tax) == (Decimal("1.00"), Decimal("0.19"))
    nothing = make_bill([charged(-e.exact) for e in small] + [charged(Decimal("2.00"))], terms)
    assert (nothing.net, nothing.tax) == (0, 0)


@pytest.mark.parametrize(("currency", "zero"), [("USD", "0.00"), ("JPY", "0"), ("KWD", "0.000")])
def test_no_paper_says_minus_nothing(currency, zero):
    terms = Terms(currency, "HALF_EVEN", (Tax("VAT", Decimal("0.19")),), "line")
    bill = make_bill([charged(Decimal("-0.0004")), charged(Decimal("0.0005"))], terms)
    lines = invoice_lines(bill, currency, AT, AT)
    said = {amount_text(line[name], currency) for line in lines for name in ("amount", "tax")}
    assert said == {zero}


def test_a_line_of_the_account_as_a_whole_is_named_by_what_it_is():
    assert name_of("", "fee", "") == "Monthly fee"
    assert name_of("", "commitment", "2026-10") == "Minimum commitment, correction of 2026-10"
    assert name_of("chat", "gpu_second", "", "H100") == "chat, GPU time on H100"


@given(st.lists(amounts, max_size=10), terms_of)
def test_legs_of_every_document_sum_to_zero(exact, terms):
    bill = make_bill([charged(e) for e in exact], terms)
    for legs in (
        legs_of_invoice(exact=bill.exact, net=bill.net, tax=bill.tax),
        legs_of_credit(net=bill.net, tax=bill.tax),
        legs_of_payment(bill.total),
    ):
        assert sum(leg.amount for leg in legs) == 0


@given(st.integers(1, 10_000), st.lists(st.integers(1, 10_000), min_size=1, max_size=20), rates)
def test_credit_notes_give_back_the_tax_to_the_last_unit_and_no_more(net, parts, rate):
    terms = Terms("USD", "HALF_UP", (Tax("VAT", rate),), "invoice")
    bill = make_bill([charged(Decimal(net) / 100)], terms)
    left, tax_left = bill.net, bill.tax
    for part in [Decimal(p) / 100 for p in parts] + [left]:
        amount = min(part, left)
        remains = Remains(left, left, tax_left)
        if refuse_credit(amount, remains, "USD"):
            assert amount == 0
            continue
        tax = tax_to_credit(amount, remains, terms)
        assert 0 <= tax <= tax_left
        left, tax_left = left - amount, tax_left - tax
    if left == 0:
        assert tax_left == 0


@pytest.mark.parametrize(
    ("amount", "remains", "said"),
    [
        ("0", Remains(Decimal(5), Decimal(5), Decimal(0)), "above 0"),
        ("0.001", Remains(Decimal(5), Decimal(5), Decimal(0)), "more decimals"),
        ("6", Remains(Decimal(5), Decimal(9), Decimal(0)), "remain of this line"),
        ("6", Remains(Decimal(9), Decimal(5), Decimal(0)), "remain of this invoice"),
        ("5", Remains(Decimal(5), Decimal(5), Decimal(0)), ""),
    ],
)
def test_it_caps_a_credit_at_what_remains(amount, remains, said):
    found = refuse_credit(Decimal(amount), remains, "USD")
    assert said in found
    assert bool(said) == bool(found)


GOOD = AccountTerms("Acme", "USD", "", "UTC", "", 30, "HALF_EVEN", "invoice", ())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", " "),
        ("rate_source", "x" * 65),
        ("time_zone", "Mars/Base"),
        ("time_zone", "localtime"),
        ("purchase_order", "x" * 65),
        ("terms_days", 366),
        ("rounding", "UP"),
        ("tax_per", "month"),
        ("taxes", (Tax("VAT", Decimal("1.1")),)),
    ],
)
def test_it_refuses_terms_that_make_no_sense(field, value):
    assert faults_of_terms(GOOD, "USD") == {}
    assert set(faults_of_terms(replace(GOOD, **{field: value}), "USD")) == {field}


def test_it_refuses_a_currency_that_nobody_pays_in():
    gold = replace(GOOD, currency="XAU", rate_source="LBMA")
    assert set(faults_of_terms(gold, "USD")) == {"currency"}


@pytest.mark.parametrize(
    ("taxes", "said"),
    [
        ([Tax("a", Decimal(0))] * 9, "At most 8"),
        ([Tax(" ", Decimal(0))], "has a name"),
        ([Tax("a", Decimal("0.0000001"))], "six decimals"),
        ([Tax("a", Decimal("NaN"))], "between 0 and 1"),
        ([Tax("a", Decimal(0)), Tax("a", Decimal(0))], "same name"),
    ],
)
def test_it_refuses_taxes_that_make_no_sense(taxes, said):
    assert said in faults_of_taxes(taxes)


def test_a_signature_covers_what_was_seen():
    signed = Signed(2, "fiona", "known", AT)
    check = Check(CheckKey.UNPRICED, "Usage without a price", 2, "2 rows", "", signed)
    assert (check.is_green, check.may_sign) == (True, False)
    more = replace(check, number=3)
    assert (more.is_green, more.may_sign) == (False, True)
    assert not replace(more, key=CheckKey.LEDGER).may_sign
    assert "1 of 1 checks" in refuse_close("closing", [more])
    assert refuse_close("closing", [check]) == ""
    assert "begin to close it first" in refuse_close("open", [check])


zones = st.sampled_from(["UTC", "Europe/Amsterdam", "Asia/Kolkata", "Pacific/Kiritimati"])


@given(
    st.datetimes(datetime(2024, 1, 1), datetime(2026, 6, 1)),
    st.lists(zones, min_size=1, max_size=8),
)
def test_months_have_no_gap_and_no_overlap_whatever_the_zone_does(first, seen):
    """The clock goes on a month at a time, and the account changes its zone meanwhile."""
    hour = first.replace(tzinfo=UTC, minute=0, second=0, microsecond=0)
    now, known = hour, []
    for zone in seen:
        edges = (known[0].starts_at, known[-1].ends_at) if known else (None, None)
        found = missing_periods(hour, *edges, time_zone=zone, first_zone=seen[0], now=now)
        known += found
        now = known[-1].ends_at
    assert known[0].starts_at <= hour
    assert all(a.ends_at == b.starts_at for a, b in zip(known, known[1:], strict=False))
    names = [m.name for m in known]
    assert names == sorted(set(names))
