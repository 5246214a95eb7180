"""The journal in queries and API: legs, transactions, and a trial balance that is zero."""

from decimal import Decimal

import pytest

from billing.actions.accounts import record_payment
from billing.actions.credits import Given, issue_credit_note
from billing.models import JournalLeg
from billing.queries.journal import JournalFilter, list_legs, trial_balance
from billing.rules.journal import ACCOUNTS
from tenants.base.scope import fleet_scope, scope_of
from tests.billing.books import NOVEMBER, bill_month, set_account, spend, tax
from tests.billing.factories import SYSTEM, make_prices
from tests.billing.granted import PRICES, granted, person

pytestmark = pytest.mark.django_db


@pytest.fixture
def books(acme, globex, gateway):
    """Both tenants billed; acme's with a tax, a prepaid credit, a credit note and a payment."""
    make_prices(PRICES)
    set_account(acme, taxes=(tax("VAT", "0.19"),))
    fin, vic = person("fin", "finance"), person("vic", "approver")
    granted(fin, vic, acme, paid=True, reference="bank-7", amount=Decimal(50))
    for tenant in (acme, globex):
        spend(gateway, tenant)
    invoice, other = bill_month(acme), bill_month(globex)
    with fleet_scope():
        line = invoice.lines.get(meter="prompt", kind="usage")
        given = [Given(line.position, Decimal(1))]
        note = issue_credit_note(SYSTEM, invoice.number, lines=given, why="x", now=NOVEMBER)
        record_payment(
            SYSTEM, "globex", amount=Decimal(3), currency="USD", reference="R-1", now=NOVEMBER
        )
    return invoice, note, other


def test_the_trial_balance_is_zero_and_has_every_leg(books, fiona):
    with scope_of(fiona):
        found = trial_balance(fiona, JournalFilter())
        legs = list_legs(fiona, JournalFilter())
        assert found.holds and found.totals["USD"].balance == 0
        assert found.totals["USD"].debit == sum(leg.debit for leg in legs) > 0
        for line in found.lines:
            of = JournalLeg.objects.filter(account=line.account, currency=line.currency)
            assert line.balance == sum(of.values_list("amount", flat=True))
    assert [line.account for line in found.lines] == [
        a for a in ACCOUNTS if a in {line.account for line in found.lines}
    ]


def test_it_says_when_the_books_do_not_add_up(books, fiona, monkeypatch):
    with scope_of(fiona):
        rows = list_legs(fiona, JournalFilter()).exclude(account="bank")
        monkeypatch.setattr("billing.queries.journal._visible", lambda *_: rows.order_by())
        assert not trial_balance(fiona, JournalFilter()).holds


def test_it_narrows_legs_and_keeps_the_balance_whole(finance, books, acme):
    invoice, note, other = books
    everything = finance.get("journal?limit=1000")["results"]
    assert [leg["id"] for leg in everything] == sorted((x["id"] for x in everything), reverse=True)
    mine = finance.get("journal?tenant=acme&account=receivable")["results"]
    assert {(x["tenant_id"], x["account"]) for x in mine} == {(acme.pk, "receivable")}
    notes = finance.get("journal?kind=credit_note")["results"]
    assert {x["transaction"]["credit_note"] for x in notes} == {note.number}
    assert {x["transaction"]["invoice"] for x in notes} == {""}
    bills = finance.get(f"journal?document={other.number}")["results"]
    assert {x["transaction"]["invoice"] for x in bills} == {other.number}
    assert finance.get("journal?since=2026-12-01T00:00:00Z")["results"] == []
    for url in ("tenant=acme", "kind=payment", "until=2026-12-01T00:00:00Z"):
        found = finance.get(f"journal/trial-balance?{url}")
        assert found["holds"] and [Decimal(t["balance"]) for t in found["totals"]] == [0], url
        assert found["lines"], url


def test_it_pages_by_cursor(finance, books):
    url, seen = "journal?limit=3", []
    while url:
        page = finance.get(url)
        seen += [leg["id"] for leg in page["results"]]
        url = (page["next"] or "").rpartition("/api/v1/")[2]
    with fleet_scope():
        assert seen == list(JournalLeg.objects.order_by("-id").values_list("id", flat=True))


def test_a_transaction_has_all_its_legs(finance, stranger, books):
    (leg,) = finance.get("journal?kind=payment&account=bank")["results"]
    found = finance.get(f"journal/transactions/{leg['transaction_id']}")
    assert sum(Decimal(x["amount"]) for x in found["legs"]) == 0
    assert (found["document"], found["invoice"]) == ("R-1", "")
    mine = stranger.get("journal")["results"]
    assert leg["id"] in {x["id"] for x in mine}, "the stranger is of globex"
    (theirs,) = finance.get("journal?kind=credit_note&account=revenue")["results"]
    at = f"journal/transactions/{theirs['transaction_id']}"
    assert stranger("get", at).status_code == 404


@pytest.mark.parametrize(
    "url", ["account=cash", "kind=gift", "since=2026-12-01T00:00:00Z&until=2026-11-01T00:00:00Z"]
)
def test_it_refuses_what_no_journal_has(finance, url):
    assert finance("get", f"journal?{url}").status_code == 422
