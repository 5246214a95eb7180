"""Charges that became less: a credit note gives the difference back, no invoice is below zero."""

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.actions.credits import Given, issue_credit_note
from billing.actions.exchange import record_rate
from billing.actions.invoices import issue_invoices
from billing.actions.periods import apply_decisions, ask_to_reopen
from billing.models import CreditNote, Invoice, JournalLeg
from billing.queries.accounts import balances
from billing.queries.book_lines import document_totals, read_details
from billing.queries.charged import ChargeFilter
from billing.queries.extras import newest_documents, read_extras
from billing.queries.invoices import get_invoice
from billing.rules.exchange import Recorded
from billing.rules.focus_books import DETAIL_COLUMNS, detail_row, fault_of_book_row
from billing.rules.giving_back import Creditable, Sku, share_out
from billing.rules.grants import Use
from tenants.actions.changes import decide
from tenants.base.scope import fleet_scope
from tenants.errors import Conflict
from tenants.models import ChangeRequest, User
from tests.billing.books import (
    NOVEMBER,
    OCTOBER,
    ODD_PRICES,
    bill_month,
    close_month,
    set_account,
    spend,
    tax,
)
from tests.billing.damaged import check, damaged
from tests.billing.factories import SYSTEM, make_prices, settle
from tests.billing.granted import all_checks_hold, granted, person
from tests.console.visitors import browser

pytestmark = pytest.mark.django_db
SPAN = ChargeFilter(OCTOBER - timedelta(days=200), NOVEMBER + timedelta(days=200))
DECEMBER = NOVEMBER + timedelta(days=20)


@pytest.fixture
def people():
    return person("fiona", "finance"), person("vic", "approver")


def reopen(people, invoice):
    fiona, vic = people
    with fleet_scope():
        ask_to_reopen(fiona, invoice.period_id, why="the price was wrong")
        change = ChangeRequest.objects.get(state="waiting")
        decide(vic, change.pk, digest=change.digest, approve=True)
    assert apply_decisions(NOVEMBER) == 1


def charge_half(now=NOVEMBER):
    make_prices({"chat": {m: price / 2 for m, price in ODD_PRICES["chat"].items()}}, now=now)
    settle(now)


@pytest.fixture
def halved(people, acme, gateway):
    """October is billed with a tax, opened again, and charged half."""
    set_account(acme, taxes=(tax("VAT", "0.19"),))
    make_prices(ODD_PRICES)
    spend(gateway, acme, prompt_tokens=5_000)
    first = bill_month(acme)
    reopen(people, first)
    charge_half()
    return first


def test_a_lower_price_is_a_credit_note_of_the_first_invoice(halved, acme):
    second = bill_month(acme)
    with fleet_scope():
        (note,) = CreditNote.objects.all()
        charged = second.lines.filter(quantity__isnull=False)
        less = -sum(line.amount for line in charged)
        (given_back,) = second.lines.filter(kind="given_back")
        assert (second.net, second.tax, second.total) == (0, 0, 0)
        assert given_back.name == f"Given back by {note.number} of {halved.number}"
        assert note.invoice == halved and note.why == "Less is charged for 2026-10"
        assert note.net == given_back.amount == less > 0
        assert note.tax == round(less * Decimal("0.19"), 2)
        for line in note.lines.all():
            same = charged.filter(meter=line.line.meter)
            assert line.amount == -sum(x.amount for x in same)
        assert balances(SYSTEM)[acme.pk]["USD"] == halved.total - note.total
    all_checks_hold()


def test_files_and_papers_say_it_once(halved, acme):
    second = bill_month(acme)
    with fleet_scope():
        (note,) = CreditNote.objects.all()
        details = list(read_details(SPAN))
        extras = list(read_extras(SPAN, known=newest_documents()))
        totals = document_totals(SPAN)
        record = get_invoice(SYSTEM, second.number).row
    assert totals == {halved.number: halved.total, second.number: 0, note.number: -note.total}
    for number, total in totals.items():
        assert sum(d.amount for d in details if d.document == number) == total
    (made_up,) = (e for e in extras if e.kind == "given_back")
    assert (made_up.invoice, made_up.amount, made_up.period) == (second.number, note.net, "2026-10")
    rows = [detail_row(d) for d in details]
    assert [fault_of_book_row(DETAIL_COLUMNS, row) for row in rows] == [""] * len(rows)
    assert f'"name":"Given back by {note.number} of {halved.number}"' in record.snapshot
    assert bytes(record.pdf).startswith(b"%PDF")


def test_pages_lead_from_one_to_the_other(halved, acme):
    second = bill_month(acme)
    with fleet_scope():
        note = CreditNote.objects.get()
        user = User.objects.get(email="fiona@example.com")
    fiona = browser(user)
    page = fiona.get(f"/invoices/{second.number}/").content.decode()
    assert f"Given back by {note.number} of {halved.number}" in page
    assert "this invoice asks for nothing" in page
    assert (
        f"/credit-notes/{note.number}/" in fiona.get(f"/invoices/{halved.number}/").content.decode()
    )


def test_the_journal_takes_revenue_back_once(halved, acme):
    bill_month(acme)
    with fleet_scope():
        (note,) = CreditNote.objects.all()
        legs = JournalLeg.objects.filter(account="revenue")
        by_document = {}
        for document, amount in legs.values_list("txn__document", "amount"):
            by_document[document] = by_document.get(document, 0) + amount
        assert by_document[note.number] == note.net
        assert abs(by_document.get("INV-000002", 0)) < Decimal("0.02"), "rounding alone"


def test_what_credits_paid_goes_back_to_them(people, acme, gateway):
    make_prices(ODD_PRICES)
    free = granted(*people, acme, amount=Decimal(3))
    paid = granted(*people, acme, amount=Decimal(2), paid=True, reference="bank-7")
    spend(gateway, acme, prompt_tokens=5_000)
    first = bill_month(acme)
    reopen(people, first)
    charge_half()
    second = bill_month(acme)
    with fleet_scope():
        (note,) = CreditNote.objects.all()
        back = note.credit_entries.filter(kind="undone")
        promoted = sum(e.amount for e in back if e.grant_id == free.pk)
        assert {e.grant_id for e in back} == {free.pk, paid.pk}
        assert promoted + note.net == second.lines.get(kind="given_back").amount
    all_checks_hold()


def test_a_correction_that_outweighs_a_month_is_given_back_of_the_month_before(acme, gateway):
    """October stays closed: its lower price is a correction, billed in November."""
    make_prices(ODD_PRICES)
    spend(gateway, acme)
    first = bill_month(acme)
    charge_half()
    second = bill_month(acme, "2026-11", now=DECEMBER)
    with fleet_scope():
        (note,) = CreditNote.objects.all()
        assert note.invoice == first and second.total == 0
        assert {line.corrects for line in second.lines.filter(kind="correction")} == {"2026-10"}
    all_checks_hold()


def test_what_was_given_back_already_is_not_given_back_again(halved, acme):
    with fleet_scope():
        found = get_invoice(SYSTEM, halved.number)
        everything = [Given(x.row.position, x.remains) for x in found.lines if x.may_credit]
        issue_credit_note(SYSTEM, halved.number, lines=everything, why="gift", now=NOVEMBER)
    second = bill_month(acme)
    with fleet_scope():
        (line,) = second.lines.filter(kind="given_back")
        assert line.name == "Not given back: nothing is left of what was invoiced"
        assert second.total == 0 and CreditNote.objects.count() == 1
    all_checks_hold()


@pytest.mark.django_db(transaction=True)
def test_the_check_names_a_note_that_gives_back_something_else(halved, acme):
    bill_month(acme)
    assert check()[1] == 0
    less = "UPDATE credit_note_line SET amount = amount - 0.01 WHERE id ="
    first = "(SELECT min(id) FROM credit_note_line)"
    with damaged([f"{less} {first}"], ["credit_note_line"]):
        lines, status = check()
    assert status == 1
    said = "given back by lines of invoices = credit notes that they name"
    assert any(said in x and "DIFFERS" in x and "CN-000001" in x for x in lines)
    assert check()[1] == 0


def test_a_month_that_is_not_billed_yet_comes_first(acme, gateway):
    make_prices(ODD_PRICES)
    spend(gateway, acme)
    october = close_month(acme)
    charge_half()
    november = close_month(acme, "2026-11", now=DECEMBER)
    with fleet_scope():
        with pytest.raises(Conflict, match="2026-10, which is not billed yet: bill it first"):
            issue_invoices(SYSTEM, november.pk, now=DECEMBER)
        issue_invoices(SYSTEM, october.pk, now=DECEMBER)
        issue_invoices(SYSTEM, november.pk, now=DECEMBER)
        assert [i.total > 0 for i in Invoice.objects.order_by("id")] == [True, False]
    all_checks_hold()


def test_a_later_invoice_in_another_currency_gives_nothing_back(halved, acme, people):
    period = close_month(acme)
    make_rate(acme)
    said = f"{halved.number}, of which something is given back"
    with fleet_scope(), pytest.raises(Conflict, match=said):
        issue_invoices(SYSTEM, period.pk, now=NOVEMBER)
    set_account(acme, currency="USD", rate_source="")
    with fleet_scope():
        (second,) = issue_invoices(SYSTEM, period.pk, now=NOVEMBER)
    assert second.total == 0


def make_rate(acme):
    with fleet_scope():
        rate = Recorded("USD", "EUR", NOVEMBER.date(), "ECB", Decimal("0.9"))
        record_rate(SYSTEM, rate, now=NOVEMBER)
    set_account(acme, currency="EUR", rate_source="ECB")


CENTS = st.integers(0, 900).map(lambda n: Decimal(n).scaleb(-2))
SKUS = st.builds(
    Sku, st.sampled_from(["2026-09", "2026-10"]), st.sampled_from("ab"), st.just("prompt"),
    st.just(""),
)  # fmt: skip
USES = st.builds(Use, st.integers(1, 3), st.just("x"), st.booleans(), st.booleans(), CENTS)
LINES = st.lists(
    st.builds(
        Creditable, st.sampled_from(["INV-1", "INV-2"]), st.integers(1, 5), SKUS, CENTS,
        st.lists(USES, max_size=2).map(tuple),
    ),
    unique_by=lambda x: (x.invoice, x.position),
)  # fmt: skip


@given(
    owed=st.dictionaries(SKUS, CENTS.filter(bool), min_size=1),
    part=st.integers(0, 100),
    lines=LINES,
    lefts=st.fixed_dictionaries({"INV-1": CENTS, "INV-2": CENTS}),
)
def test_never_more_than_is_left_and_all_of_it_is_told(owed, part, lines, lefts):
    most = (sum(owed.values()) * part / 100).quantize(Decimal("0.01"))
    taken, rest = share_out(owed, most, lines, lefts)
    by_key = {(x.invoice, x.position): x for x in lines}
    assert sum(taken.values()) + rest == most and rest >= 0
    assert all(0 < amount <= by_key[key].remains for key, amount in taken.items())
    for number, left in lefts.items():
        mine = [(by_key[k], amount) for k, amount in taken.items() if k[0] == number]
        assert sum(amount - line.promoted(amount) for line, amount in mine) <= max(left, 0)
