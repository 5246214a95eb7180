"""The operator bills under another name: numbers begin anew and still name one document."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, transaction

from billing.actions.credits import Given, issue_credit_note
from billing.models import CreditNote, DocumentSeries, Invoice
from billing.queries.invoices import get_invoice
from tenants.base.scope import fleet_scope
from tests.billing.books import NOVEMBER, OCTOBER, bill_month, spend
from tests.billing.factories import SYSTEM
from tests.billing.granted import all_checks_hold
from tests.billing.test_exports import export

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("priced")]


@pytest.fixture
def renamed(acme, globex, gateway, settings, tmp_path):
    """Acme is billed by the old name, globex by the new one."""
    settings.QM_EXPORTS_DIR = tmp_path
    for tenant in (acme, globex):
        spend(gateway, tenant, prompt_tokens=10, cached_tokens=0, completion_tokens=0)
    old = bill_month(acme)
    settings.QM_ISSUER = "Another name"
    return old, bill_month(globex)


def credit(number, amount="1"):
    with fleet_scope():
        given = [Given(1, Decimal(amount))]
        return issue_credit_note(SYSTEM, number, lines=given, why="outage", now=NOVEMBER)


def test_each_number_names_one_document(renamed):
    old, new = renamed
    assert (old.sequence, new.sequence) == (1, 1), "each issuer's numbers begin at one"
    assert old.number == "INV-000001"
    assert new.number == "INV2-000001"
    with fleet_scope():
        assert get_invoice(SYSTEM, new.number).row == new
        assert get_invoice(SYSTEM, old.number).row == old


def test_a_credit_note_is_of_the_invoice_that_it_names(renamed, globex):
    _, new = renamed
    note = credit(new.number)
    assert (note.invoice, note.tenant_id, note.number) == (new, globex.pk, "CN-000001")
    all_checks_hold()


def test_files_add_up_to_the_documents_of_both_names(renamed, fiona, monkeypatch):
    for invoice in renamed:
        credit(invoice.number)
    with fleet_scope():
        assert sorted(CreditNote.objects.values_list("number", flat=True)) == [
            "CN-000001", "CN-000002",
        ]  # fmt: skip
    first = OCTOBER.replace(day=1, hour=0, minute=0)
    monkeypatch.setattr("tests.billing.test_exports.START", first)
    for format in ("focus-1.4", "focus-1.4-invoice-detail", "chargeback"):
        export(fiona, format)
    all_checks_hold()


def test_who_goes_back_to_the_old_name_goes_on_with_its_numbers(renamed, acme, gateway, settings):
    settings.QM_ISSUER = renamed[0].issuer
    spend(gateway, acme, at=OCTOBER + timedelta(days=31))
    third = bill_month(acme, "2026-11", now=NOVEMBER + timedelta(days=15))
    assert third.number == "INV-000002"
    all_checks_hold()


def test_the_database_refuses_a_number_of_another_series(renamed):
    _, new = renamed
    with fleet_scope():
        series = DocumentSeries.objects.get(kind="invoice", issuer=new.issuer)
        series.last_number += 1
        row = Invoice.objects.get(pk=new.pk)
        row.pk, row.sequence, row.number = None, 2, "INV-000002"
        refused = pytest.raises(DatabaseError, match="was not taken from its series")
        with refused, transaction.atomic():
            series.save()
            row.after_charge = row.upto_charge
            row.save(force_insert=True)
            transaction.get_connection().check_constraints()
