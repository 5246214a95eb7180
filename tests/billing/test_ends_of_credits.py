"""Credits at their end: whichever worker looks first, the same money stays with the same person."""

from datetime import timedelta
from decimal import Decimal

import pytest

from billing.actions.credits import Given, issue_credit_note
from billing.actions.grants import expire_due
from billing.queries.accounts import balances
from billing.queries.grants import list_entries
from tenants.base.scope import fleet_scope
from tenants.errors import Invalid
from tests.billing.books import NOVEMBER, OCTOBER, bill_month, set_account
from tests.billing.factories import SYSTEM, make_prices
from tests.billing.granted import PRICES, all_checks_hold, ask, buy, decide, fresh, granted, legs

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("priced")]
END = NOVEMBER + timedelta(days=1)


def credit(invoice, amount, *, now):
    with fleet_scope():
        given = [Given(1, Decimal(amount))]
        return issue_credit_note(SYSTEM, invoice.number, lines=given, why="outage", now=now)


@pytest.mark.parametrize("is_swept", [True, False])
def test_what_is_given_back_after_a_prepaid_credit_ended_stays_with_the_customer(
    fin, vic, acme, gateway, is_swept
):
    """Not with us: given to a credit whose time is over, it would end with it."""
    buy(gateway, acme, 30)
    grant = granted(
        fin, vic, acme, paid=True, reference="bank-7", amount=Decimal(100), expires_at=END
    )
    invoice = bill_month(acme)
    if is_swept:
        expire_due(END)
    note = credit(invoice, 5, now=END + timedelta(seconds=1))
    expire_due(END + timedelta(minutes=1))
    assert (note.net, fresh(grant).state, fresh(grant).rest) == (5, "expired", 0)
    with fleet_scope():
        assert (legs("breakage"), legs("prepaid_credits")) == (-70, 0)
        assert balances(SYSTEM)[acme.pk] == {"USD": Decimal(-5)}
        assert [e.kind for e in list_entries(SYSTEM, grant)] == ["expired", "used", "granted"]
    all_checks_hold()


@pytest.mark.parametrize("is_swept", [True, False])
def test_of_a_promotion_that_ended_nothing_is_given_back_whoever_looks_first(
    fin, vic, acme, gateway, is_swept
):
    buy(gateway, acme, 30)
    granted(fin, vic, acme, expires_at=END)
    invoice = bill_month(acme)
    if is_swept:
        expire_due(END)
    with pytest.raises(Invalid, match="20 USD remain of this line .10 were paid by promotions"):
        credit(invoice, 21, now=END)
    assert credit(invoice, 20, now=END).net == 20
    all_checks_hold()


@pytest.mark.parametrize("is_swept", [True, False])
def test_a_month_that_is_charged_less_finds_credits_as_they_are(fin, vic, acme, gateway, is_swept):
    """Credit notes of a bill below zero come after the end of what had paid."""
    buy(gateway, acme, 30)
    granted(fin, vic, acme, paid=True, reference="bank-7", amount=Decimal(100), expires_at=END)
    bill_month(acme)
    later = NOVEMBER + timedelta(days=15)
    cheaper = {m: {k: v / 2 for k, v in p.items()} for m, p in PRICES.items()}
    make_prices(cheaper, now=NOVEMBER)
    buy(gateway, acme, 0, at=OCTOBER + timedelta(days=31), now=later)
    if is_swept:
        expire_due(later)
    invoice = bill_month(acme, "2026-11", now=later)
    expire_due(later + timedelta(minutes=1))
    assert invoice.total == 0
    with fleet_scope():
        assert (legs("breakage"), legs("prepaid_credits")) == (-70, 0)
        assert balances(SYSTEM)[acme.pk] == {"USD": Decimal(-15)}
    all_checks_hold()


def test_a_credit_that_is_approved_after_its_end_is_refused_and_no_payment_is_booked(
    fin, vic, acme
):
    grant = ask(fin, acme, paid=True, reference="bank-7", expires_at=END)
    assert decide(vic, grant, now=END).state == "refused"
    with fleet_scope():
        assert legs("bank") == legs("breakage") == 0
    later = END + timedelta(days=9)
    again = granted(fin, vic, acme, paid=True, reference="bank-7", expires_at=later, now=END)
    assert (again.state, again.rest) == ("active", 10)


def test_a_credit_whose_currency_is_the_accounts_no_more_is_refused(fin, vic, acme):
    """It was asked for before the account changed: no invoice could ever use it."""
    grant = ask(fin, acme, paid=True, reference="bank-7")
    set_account(acme, currency="EUR", rate_source="ECB")
    assert decide(vic, grant).state == "refused"
    with fleet_scope():
        assert legs("bank") == 0
