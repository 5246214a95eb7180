"""Invoices: rounded once, numbered without a gap, frozen; credit notes; the journal."""

import hashlib
import json
import os
import threading
from datetime import timedelta
from decimal import Decimal
from urllib.parse import urlsplit

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models import Sum

from billing.actions.accounts import record_payment
from billing.actions.credits import Given, issue_credit_note
from billing.actions.invoices import issue_invoices
from billing.actions.journal import post
from billing.models import Charge, CreditNote, Invoice, InvoiceLine, JournalLeg
from billing.queries.accounts import balances, statement
from billing.queries.billed import charges_of_line
from billing.queries.invoices import get_invoice, list_invoices
from billing.rules.currencies import to_units
from billing.rules.journal import Leg
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import Conflict, Forbidden, Invalid, NotFound
from tests.billing import factories
from tests.billing.books import (
    NOVEMBER,
    OCTOBER,
    ODD_PRICES,
    bill_month,
    close_month,
    find_period,
    set_account,
    spend,
    tax,
)
from tests.billing.factories import SYSTEM, make_prices, make_tenant
from tests.plugins.database import superuser

pytestmark = pytest.mark.django_db


@pytest.fixture
def priced(db):
    make_prices(ODD_PRICES)


@pytest.fixture
def invoice(priced, acme, gateway):
    spend(gateway, acme)
    spend(gateway, acme, at=OCTOBER + timedelta(days=3), prompt_tokens=1_001, cached_tokens=7)
    return bill_month(acme)


def test_it_rounds_each_line_once_and_shows_the_difference(invoice):
    """1,054 prompt tokens at 0.001234567, 47 cached, 60 completion tokens."""
    with fleet_scope():
        rows = {line.meter or line.kind: line for line in invoice.lines.all()}
        assert rows["prompt"].quantity == 1_054
        assert rows["prompt"].exact == Decimal("1.301233618")
        assert rows["prompt"].amount == Decimal("1.30")
        assert rows["cached"].amount == Decimal("0.02")  # 0.01566651
        assert rows["completion"].amount == Decimal("0.47")  # 0.46666662
        assert rows["rounding"].amount == 0
        sums = invoice.lines.aggregate(exact=Sum("exact"), amount=Sum("amount"))
    assert sums["exact"] == sums["amount"] == invoice.total == Decimal("1.79")
    assert rows["rounding"].exact == Decimal("1.79") - Decimal("1.783566748")


def test_it_gives_back_the_charges_of_each_line(invoice):
    with fleet_scope():
        for line in invoice.lines.filter(kind="usage"):
            charges = charges_of_line(line, invoice)
            assert charges.aggregate(s=Sum("amount"))["s"] == line.exact
            assert charges.count() == line.charges == 2
            text = "\n".join(f"{c.pk} {c.amount}" for c in charges.order_by("id"))
            assert hashlib.sha256(text.encode()).hexdigest() == line.charges_sha256


def test_it_freezes_a_record_and_a_pdf_with_their_digests(invoice):
    with fleet_scope():
        row = Invoice.objects.get(pk=invoice.pk)
    document = json.loads(row.snapshot)
    assert document["number"] == "INV-000001"
    assert document["period"]["ends_at"] == "2026-11-01T00:00:00Z"
    assert document["total"] == "1.79"
    assert row.due_on.isoformat() == "2026-12-20"
    assert hashlib.sha256(row.snapshot.encode()).hexdigest() == row.sha256
    assert hashlib.sha256(bytes(row.pdf)).hexdigest() == row.pdf_sha256
    assert bytes(row.pdf).startswith(b"%PDF-")


@pytest.mark.parametrize(("per", "want"), [("line", "0.36"), ("invoice", "0.34")])
def test_it_adds_tax_by_the_line_or_by_the_invoice(priced, acme, gateway, per, want):
    """Net 1.30 + 0.02 + 0.47 at 19 %: by line 0.25 + 0.00 + 0.09; on 1.79 together 0.34."""
    set_account(acme, taxes=(tax("VAT", "0.19"), tax("City", "0.001")), tax_per=per)
    spend(gateway, acme)
    spend(gateway, acme, at=OCTOBER + timedelta(days=3), prompt_tokens=1_001, cached_tokens=7)
    invoice = bill_month(acme)
    with fleet_scope():
        taxes = {line.name: line.amount for line in invoice.lines.filter(kind="tax")}
    assert taxes["City 0.1 %"] == 0
    assert taxes["VAT 19 %"] == Decimal("0.34")
    assert invoice.total == Decimal("1.79") + invoice.tax


def test_it_rounds_to_what_the_currency_has():
    assert to_units(Decimal("2.5"), "JPY", "HALF_EVEN") == 2
    assert to_units(Decimal("2.5"), "JPY", "HALF_UP") == 3
    assert to_units(Decimal("1.00049"), "KWD", "HALF_EVEN") == Decimal("1.000")
    assert to_units(Decimal("0.005"), "MGA", "HALF_UP") == Decimal("0.01")


def test_it_bills_every_charge_once(invoice):
    with fleet_scope(), pytest.raises(Conflict, match="Nothing of 2026-10 is left to bill"):
        issue_invoices(SYSTEM, invoice.period_id, now=NOVEMBER)


def test_it_bills_closed_periods_only(priced, acme, gateway):
    spend(gateway, acme)
    period = close_month(acme)
    with fleet_scope():
        later = find_period(acme, "2026-11")
        with pytest.raises(Conflict, match="close it, then bill it"):
            issue_invoices(SYSTEM, later.pk, now=NOVEMBER)
        assert period.state == "closed"


@pytest.mark.parametrize("table", ["invoice", "invoice_line", "journal_leg", "charge"])
@pytest.mark.parametrize("verb", ["UPDATE {} SET tenant_id = tenant_id", "DELETE FROM {}"])
def test_it_refuses_to_change_what_was_issued(invoice, table, verb):
    with (
        fleet_scope(),
        pytest.raises(DatabaseError, match="never changed or deleted"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(verb.format(table))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("table", ["invoice", "invoice_line", "credit_note", "charge"])
def test_it_refuses_the_tables_owner_as_well(acme, gateway, table):
    make_prices(ODD_PRICES)
    spend(gateway, acme)
    credit(bill_month(acme), Given(1, Decimal("0.01")))
    owner = urlsplit(os.environ["DATABASE_OWNER_URL"]).username
    for verb in ("UPDATE {} SET tenant_id = tenant_id", "DELETE FROM {}"):
        with superuser() as server:
            server.execute(f"SET ROLE {owner}")
            server.execute("SELECT set_config('app.fleet', 'on', false)")
            with pytest.raises(psycopg.errors.RestrictViolation):
                server.execute(verb.format(table))


def test_it_refuses_a_line_that_joins_an_issued_invoice(invoice):
    with fleet_scope(), pytest.raises(DatabaseError, match="do not add up"), transaction.atomic():
        InvoiceLine.objects.create(
            tenant_id=invoice.tenant_id,
            invoice=invoice,
            position=99,
            kind="usage",
            name="more",
            exact=1,
            amount=1,
            starts_at=OCTOBER,
            ends_at=OCTOBER,
        )


def test_it_refuses_a_number_without_a_document(invoice):
    with fleet_scope(), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE document_series SET last_number = last_number + 1")
        with pytest.raises(DatabaseError, match="number 2 has no document"), transaction.atomic():
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        transaction.set_rollback(True)


def test_it_credits_a_line_up_to_what_remains(priced, acme, gateway):
    set_account(acme, taxes=(tax("VAT", "0.19"),))
    spend(gateway, acme, prompt_tokens=1_000_040)
    invoice = bill_month(acme)  # prompt 1234.57, cached 0.01, completion 0.23
    assert (invoice.net, invoice.tax) == (Decimal("1234.81"), Decimal("234.61"))
    with fleet_scope():
        found = get_invoice(SYSTEM, invoice.number)
        prompt = next(x.row.position for x in found.lines if x.row.meter == "prompt")
        first = credit(invoice, Given(prompt, Decimal("1000")))
        assert (first.number, first.tax, first.total) == (
            "CN-000001",
            Decimal("190.00"),
            Decimal("1190.00"),
        )
        with pytest.raises(Invalid, match=r"234\.57.* USD remain of this line"):
            credit(invoice, Given(prompt, Decimal("234.58")))
        rest = [Given(x.row.position, x.remains) for x in refreshed(invoice) if x.may_credit]
        credit(invoice, *rest)
        assert get_invoice(SYSTEM, invoice.number).remains == 0, "the tax as well"
        with pytest.raises(Invalid, match="remain of this line"):
            credit(invoice, Given(prompt, Decimal("0.01")))
        document = json.loads(CreditNote.objects.get(number="CN-000001").snapshot)
    assert document["invoice"] == invoice.number
    assert document["lines"][0]["line"] == prompt


def credit(invoice, *given):
    with fleet_scope():
        return issue_credit_note(SYSTEM, invoice.number, lines=given, why="goodwill", now=NOVEMBER)


def refreshed(invoice):
    return get_invoice(SYSTEM, invoice.number).lines


def test_it_keeps_the_journal_in_balance(invoice, acme):
    with fleet_scope():
        record_payment(
            SYSTEM, "acme", amount=Decimal("1.00"), currency="USD", reference="bank-1", now=NOVEMBER
        )
        with pytest.raises(Conflict, match="bank-1 stands in the books"):
            record_payment(
                SYSTEM, "acme", amount=Decimal("1.00"), currency="USD", reference="bank-1",
                now=NOVEMBER,
            )  # fmt: skip
        assert JournalLeg.objects.aggregate(s=Sum("amount"))["s"] == 0
        assert [row.balance for row in statement(SYSTEM, acme.pk)] == [
            Decimal("0.79"),
            Decimal("1.79"),
        ]
        assert balances(SYSTEM)[acme.pk] == {"USD": Decimal("0.79")}


def test_it_refuses_legs_that_do_not_balance(acme):
    with (
        fleet_scope(),
        pytest.raises(DatabaseError, match="sum to zero"),
        transaction.atomic(),
    ):
        post(
            acme.pk, key="k", kind="payment", document="d", currency="USD",
            legs=[Leg("bank", Decimal(1))], at=NOVEMBER, by="olga",
        )  # fmt: skip


def test_it_posts_a_key_once(acme):
    legs = [Leg("bank", Decimal(1)), Leg("receivable", Decimal(-1))]
    with fleet_scope():
        given = {"key": "k", "kind": "payment", "document": "d", "currency": "USD", "legs": legs}
        assert post(acme.pk, **given, at=NOVEMBER, by="olga") is not None
        assert post(acme.pk, **given, at=NOVEMBER, by="olga") is None
        assert JournalLeg.objects.count() == 2


def test_a_stranger_finds_no_invoice(invoice, mallory, acme):
    with scope_of(mallory):
        assert not list_invoices(mallory).exists()
        with pytest.raises(NotFound):
            get_invoice(mallory, invoice.number)
        with pytest.raises(NotFound):
            list_invoices(mallory, tenant_id=acme.pk)


def test_a_tenants_own_people_read_their_invoice_and_issue_none(invoice, acme):
    own = factories.viewer("finance", acme, email="ann@example.com")
    with scope_of(own):
        assert get_invoice(own, invoice.number).row.total == Decimal("1.79")
        with pytest.raises(Forbidden):
            issue_invoices(own, invoice.period_id, now=NOVEMBER)
        with pytest.raises(Forbidden):
            issue_credit_note(
                own, invoice.number, lines=[Given(1, Decimal(1))], why="me", now=NOVEMBER
            )


@pytest.mark.django_db(transaction=True)
def test_fifty_invoices_at_once_get_the_numbers_one_to_fifty(gateway):
    make_prices(ODD_PRICES)
    tenants = [make_tenant(f"t{n}") for n in range(50)]
    for tenant in tenants:
        spend(gateway, tenant)
    periods = [close_month(t).pk for t in tenants]
    gate, faults = threading.Barrier(10), []

    def work(mine):
        gate.wait()
        try:
            for pk in mine:
                with fleet_scope():
                    issue_invoices(SYSTEM, pk, now=NOVEMBER)
        except Exception as error:  # noqa: BLE001  # told by the main thread
            faults.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(periods[n::10],)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    with fleet_scope():
        assert sorted(Invoice.objects.values_list("sequence", flat=True)) == list(range(1, 51))
        assert Charge.objects.count() == 150
