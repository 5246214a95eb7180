"""Credit notes undo what credits paid of a line: once, in the recorded order, and no more."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, transaction

from billing.actions.credits import Given, issue_credit_note
from billing.actions.grants import expire_due
from billing.drive.rows import Evidence, batches_of
from billing.models import CreditEntry
from billing.queries.accounts import balances, statement
from billing.queries.charged import ChargeFilter
from billing.queries.grants import list_entries, undone_by
from billing.queries.invoices import get_invoice
from billing.rules.grants import Use, lost_of, undo
from tenants.base.scope import fleet_scope
from tenants.errors import Invalid
from tests.billing.books import NOVEMBER, OCTOBER, bill_month, set_account, tax
from tests.billing.factories import SYSTEM
from tests.billing.granted import all_checks_hold, buy, fresh, granted, legs

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("priced")]


def credit(invoice, amount, *, line=1, now=NOVEMBER):
    with fleet_scope():
        given = [Given(line, Decimal(amount))]
        return issue_credit_note(SYSTEM, invoice.number, lines=given, why="outage", now=now)


def prepaid(fin, vic, tenant, **fields):
    return granted(fin, vic, tenant, paid=True, reference="bank-7", name="Prepaid", **fields)


def use(grant_id, amount, *, paid=False, has_ended=False):
    return Use(grant_id, f"credit {grant_id}", paid, has_ended, Decimal(amount))


@pytest.mark.parametrize(
    ("uses", "amount", "back"),
    [
        ([], 5, []),
        ([use(2, 3), use(1, 4)], 5, [(2, 3), (1, 2)]),
        ([use(2, 3), use(1, 4)], 100, [(2, 3), (1, 4)]),
        ([use(2, 3, has_ended=True), use(1, 4)], 5, [(1, 4)]),
        ([use(2, 3, paid=True, has_ended=True)], 5, []),
    ],
)
def test_it_undoes_in_the_recorded_order_what_has_not_ended(uses, amount, back):
    assert [(u.grant_id, u.amount) for u in undo(uses, Decimal(amount))] == back


def test_only_what_ended_promotions_paid_is_lost():
    ended = [use(1, 3, has_ended=True), use(2, 4, paid=True, has_ended=True), use(3, 5)]
    assert lost_of(ended) == 3


def test_a_promotion_gets_back_what_it_paid_and_the_customer_gets_no_money(fin, vic, acme, gateway):
    set_account(acme, taxes=(tax("VAT", "0.10"),))
    buy(gateway, acme, 30)
    grant = granted(fin, vic, acme)
    invoice = bill_month(acme)
    note = credit(invoice, 4)
    assert (note.net, note.tax, note.total) == (0, 0, 0)
    assert fresh(grant).rest == 4
    with fleet_scope():
        assert (legs("promotions"), legs("revenue"), legs("receivable")) == (6, -26, 22)
        (entry, *_) = list_entries(SYSTEM, grant)
        assert (entry.kind, entry.amount, entry.note.number) == ("undone", 4, note.number)
        assert [(u.grant_id, u.amount) for u in undone_by(note)] == [(grant.pk, 4)]
    (back,) = json.loads(note.snapshot)["given_back"]
    assert (back["name"], back["amount"], back["prepaid"]) == ("Welcome", "4.00", False)
    all_checks_hold()


def test_a_line_that_is_credited_as_a_whole_leaves_nothing_of_net_tax_and_promotion(
    fin, vic, acme, gateway
):
    set_account(acme, taxes=(tax("VAT", "0.10"),))
    buy(gateway, acme, 30)
    grant = granted(fin, vic, acme)
    invoice = bill_month(acme)
    note = credit(invoice, 30)
    assert (note.net, note.tax, note.total) == (20, 2, 22)
    assert fresh(grant).rest == 10
    with fleet_scope():
        found = get_invoice(SYSTEM, invoice.number)
        assert (found.remains, found.lines[0].remains) == (0, 0)
        for account in ("promotions", "revenue", "receivable", "tax_payable"):
            assert legs(account) == 0
    with pytest.raises(Invalid, match="0 USD remain of this line"):
        credit(invoice, 1)
    all_checks_hold()


def test_what_was_paid_ahead_is_owed_ahead_again(fin, vic, acme, gateway):
    set_account(acme, taxes=(tax("VAT", "0.10"),))
    buy(gateway, acme, 30)
    grant = prepaid(fin, vic, acme, amount=Decimal(100))
    invoice = bill_month(acme)
    note = credit(invoice, 5)
    assert (note.net, note.tax, note.total) == (5, Decimal("0.5"), Decimal("5.5"))
    assert fresh(grant).rest == 75
    with fleet_scope():
        assert legs("prepaid_credits") == -75
        # The tax was not paid ahead: of the 3.00 that were to be paid, 0.50 are not any more.
        assert balances(SYSTEM)[acme.pk] == {"USD": Decimal("2.5")}
        entries = {e.txn.kind: e.amount for e in statement(SYSTEM, acme.pk)}
    assert entries == {
        "invoice": 33, "prepaid_use": -30, "credit_note": Decimal("-5.5"), "prepaid_back": 5
    }  # fmt: skip
    all_checks_hold()


def test_money_comes_after_all_that_credits_paid(fin, vic, acme, gateway):
    buy(gateway, acme, 30)
    paid = prepaid(fin, vic, acme, priority=1)
    free = granted(fin, vic, acme, priority=2)
    invoice = bill_month(acme)
    credit(invoice, 12)
    assert (fresh(paid).rest, fresh(free).rest) == (10, 2), "the prepaid one paid first"
    note = credit(invoice, 18)
    assert (note.net, fresh(free).rest) == (10, 10)
    with fleet_scope():
        assert legs("receivable") == 0
    all_checks_hold()


def test_what_came_back_pays_on_the_next_invoice(fin, vic, acme, gateway):
    buy(gateway, acme, 6)
    buy(gateway, acme, 9, at=OCTOBER + timedelta(days=31))
    granted(fin, vic, acme)
    credit(bill_month(acme), 6)
    assert bill_month(acme, "2026-11", now=NOVEMBER + timedelta(days=15)).total == 0
    all_checks_hold()


def test_a_promotion_that_has_ended_takes_nothing_back_and_no_money_takes_its_place(
    fin, vic, acme, gateway
):
    buy(gateway, acme, 30)
    end = NOVEMBER + timedelta(days=1)
    grant = granted(fin, vic, acme, expires_at=end)
    invoice = bill_month(acme)
    expire_due(end)
    with pytest.raises(Invalid, match="20 USD remain of this line .10 were paid by promotions"):
        credit(invoice, 21, now=end)
    note = credit(invoice, 20, now=end)
    assert (note.net, fresh(grant).rest, fresh(grant).state) == (20, 0, "expired")
    all_checks_hold()


def test_of_a_prepaid_credit_that_has_ended_the_statement_keeps_the_money(fin, vic, acme, gateway):
    buy(gateway, acme, 30)
    end = NOVEMBER + timedelta(days=1)
    grant = prepaid(fin, vic, acme, expires_at=end)
    invoice = bill_month(acme)
    expire_due(end)
    credit(invoice, 30, now=end)
    assert fresh(grant).rest == 0
    with fleet_scope():
        assert balances(SYSTEM)[acme.pk] == {"USD": Decimal(-10)}
    all_checks_hold()


def test_the_database_refuses_to_give_back_more_than_was_paid(fin, vic, acme, gateway):
    buy(gateway, acme, 6)
    grant = granted(fin, vic, acme)
    note = credit(bill_month(acme), 6)
    with fleet_scope():
        entry = CreditEntry.objects.get(note=note)
        entry.pk, entry.amount = None, Decimal(1)
        with pytest.raises(DatabaseError), transaction.atomic():
            entry.save(force_insert=True)
    assert fresh(grant).rest == 10


@pytest.mark.parametrize(
    "format", ["focus-1.4", "focus-1.2", "focus-1.4-invoice-detail", "chargeback"]
)
def test_files_add_up_with_what_went_back(fin, vic, acme, gateway, format):
    """Rows that break a rule, or do not sum to a document's total, would raise."""
    set_account(acme, taxes=(tax("VAT", "0.10"),))
    buy(gateway, acme, 30)
    granted(fin, vic, acme)
    prepaid(fin, vic, acme, amount=Decimal(5))
    invoice = bill_month(acme)
    credit(invoice, 4)  # all of it to the promotion: the note's total is 0
    credit(invoice, 14)
    evidence = Evidence()
    with fleet_scope():
        wanted = ChargeFilter(datetime(2026, 10, 1, tzinfo=UTC), NOVEMBER + timedelta(days=11))
        assert list(batches_of(format, wanted, evidence))
    all_checks_hold()
