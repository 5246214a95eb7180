"""How credits are drawn: in order, never more than there is, and what a grant may say."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.rules.grants import Balance, Item, Scope, draw_down, faults_of_grant
from billing.rules.invoices import ChargeSum, LineKind, Tax, Terms, make_bill
from billing.rules.journal import legs_of_invoice
from tests.billing.books import (
    NOVEMBER,
)
from tests.billing.granted import (
    TERMS,
)

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
AT = datetime(2026, 10, 1, tzinfo=UTC)


amounts = st.decimals(min_value=-1_000, max_value=1_000, places=2)
items = st.lists(
    st.builds(
        Item, st.sampled_from(["chat", "code"]), st.sampled_from(["prompt", "cached"]), amounts
    ),
    max_size=8,
)
scopes = st.builds(Scope, st.sampled_from(["", "chat"]), st.sampled_from(["", "prompt"]))
balances_of = st.lists(
    st.builds(
        Balance,
        id=st.integers(1, 99),
        name=st.just("credit"),
        paid=st.booleans(),
        priority=st.integers(1, 3),
        expires_at=st.sampled_from([None, AT, AT + timedelta(days=1)]),
        scope=scopes,
        rest=st.decimals(min_value=0, max_value=500, places=2),
    ),
    max_size=5,
    unique_by=lambda g: g.id,
)


def sum_of(found):
    return sum(found, Decimal(0))


@patient
@given(items, balances_of)
def test_it_draws_never_more_than_the_credit_the_line_and_the_charges_in_scope(lines, grants):
    draws = draw_down(lines, grants)
    assert all(d.amount > 0 for d in draws)
    for grant in grants:
        mine = [d for d in draws if d.grant is grant]
        assert sum_of(d.amount for d in mine) <= grant.rest
        assert all(grant.scope.covers(lines[d.place].model, lines[d.place].meter) for d in mine)
        inside = sum_of(i.amount for i in lines if grant.scope.covers(i.model, i.meter))
        assert sum_of(d.amount for d in mine) <= max(inside, 0)
    for place, line in enumerate(lines):
        assert sum_of(d.amount for d in draws if d.place == place) <= max(line.amount, 0)
    assert sum_of(d.amount for d in draws) <= max(sum_of(i.amount for i in lines), 0)


@patient
@given(items, balances_of)
def test_it_draws_all_it_may_of_what_comes_first(lines, grants):
    """A grant that is not used up leaves nothing in its scope for a later one of that scope."""
    draws = draw_down(lines, grants)
    ordered = sorted(grants, key=lambda g: g.order)
    assert [d.grant.id for d in draws] == sorted(
        (d.grant.id for d in draws), key=[g.id for g in ordered].index
    )
    for n, grant in enumerate(ordered):
        if sum_of(d.amount for d in draws if d.grant is grant) < grant.rest:
            later = [g for g in ordered[n + 1 :] if g.scope == grant.scope]
            assert not [d for d in draws if d.grant in later]


@patient
@given(items, balances_of)
def test_the_order_in_which_grants_are_named_changes_nothing(lines, grants):
    assert draw_down(lines, grants) == draw_down(lines, grants[::-1])


@patient
@given(items, balances_of, st.sampled_from(["line", "invoice"]))
def test_a_bill_with_credits_adds_up_in_rows_and_legs(lines, grants, per):
    terms = Terms("USD", "HALF_EVEN", (Tax("VAT", Decimal("0.19")),), per)
    sums = [
        ChargeSum(
            i.model, i.meter, Decimal(1), i.amount, i.amount + Decimal("0.001"), 1, "", AT, AT
        )
        for i in lines
    ]
    bill = make_bill(sums, terms, grants)
    assert sum(r.amount for r in bill.rows) == sum(r.exact for r in bill.rows) == bill.total
    assert bill.net == sum_of(r.amount for r in bill.rows if r.kind != LineKind.TAX)
    assert bill.prepaid <= max(bill.net, 0)
    found = legs_of_invoice(exact=bill.exact, net=bill.net, tax=bill.tax, promoted=bill.promoted)
    assert sum(leg.amount for leg in found) == 0


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("name", {"name": " "}),
        ("currency", {"currency": "EUR"}),
        ("amount", {"amount": Decimal(0)}),
        ("amount", {"amount": Decimal("0.001")}),
        ("amount", {"amount": Decimal("NaN")}),
        ("reference", {"paid": True}),
        ("reference", {"reference": "bank-1"}),
        ("priority", {"priority": 0}),
        ("meter", {"scope": Scope("", "water")}),
        ("expires_at", {"expires_at": NOVEMBER}),
    ],
)
def test_it_refuses_a_credit_that_makes_no_sense(field, changed):
    assert faults_of_grant(TERMS, "USD", NOVEMBER) == {}
    assert set(faults_of_grant(replace(TERMS, **changed), "USD", NOVEMBER)) == {field}
