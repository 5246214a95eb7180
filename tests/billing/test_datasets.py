"""BillingPeriod, InvoiceDetail, chargeback and ledger: files that agree with books and pages."""

import io
import json
from collections import defaultdict
from datetime import timedelta
from decimal import Decimal

import pyarrow.parquet as pq
import pytest
from django.db.models import Sum

from billing.actions.credits import Given, issue_credit_note
from billing.actions.exports import request_export
from billing.actions.ledger import number_account
from billing.actions.schedules import create_schedule
from billing.drive.exports import run_due
from billing.models import ExportJob, JournalLeg
from billing.queries.accounts import balances
from billing.queries.exports import get_export
from billing.queries.invoices import list_invoices
from billing.queries.ledger import list_ledger_accounts
from billing.queries.periods import list_periods
from billing.rules.datasets import DATASETS
from billing.rules.focus_books import DETAIL_COLUMNS, PERIOD_COLUMNS, fault_of_book_row
from billing.rules.journal import ACCOUNTS
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import Forbidden, Invalid, NotFound, Stale
from tenants.models import Application
from tests.billing.billed import DECEMBER, MONTHS, bill_two_months, export, rows_of_file
from tests.billing.factories import SYSTEM

pytestmark = pytest.mark.django_db
PERIODS, DETAILS = "focus-1.4-billing-period", "focus-1.4-invoice-detail"


@pytest.fixture(autouse=True)
def _folder(settings, tmp_path):
    settings.QM_EXPORTS_DIR = tmp_path / "exports"


@pytest.fixture
def billed(acme, globex, gateway):
    with fleet_scope():
        Application.objects.filter(pk=acme.app.pk).update(cost_centre="4711")
    return bill_two_months(acme, globex, gateway)


@pytest.fixture
def numbered(db):
    with fleet_scope():
        for place, account in enumerate(ACCOUNTS):
            number_account(SYSTEM, account, number=f"{1200 + place}", name="", expected=0)


def total(rows, name="BilledCost", **only):
    return sum(
        Decimal(r[name] or 0) for r in rows if all(r[k] == value for k, value in only.items())
    )


def sums(rows, key, name="BilledCost"):
    found = defaultdict(Decimal)
    for row in rows:
        found[row[key]] += Decimal(row[name])
    return dict(found)


def test_details_add_up_to_the_invoices_of_page_and_costs(billed, fiona):
    """The October invoices were issued in November, the others in December."""
    for month, invoices in ((11, billed[10]), (12, billed[11])):
        details = rows_of_file(export(fiona, month, DETAILS)[1])
        with scope_of(fiona):
            shown = {i.number: i.total for i in list_invoices(fiona) if i in invoices}
        assert sums(details, "InvoiceId") == shown
        costs = rows_of_file(export(fiona, month - 1, "focus-1.4")[1])
        assert sums(costs, "InvoiceId") == shown
        exact = sums(details, "InvoiceDetailId", "x_ExactCost")
        of_lines = {k: v for k, v in sums(costs, "InvoiceDetailId").items() if k}
        assert {k: v for k, v in exact.items() if v} == of_lines


def test_details_say_what_each_line_is(billed, fiona, acme):
    rows = rows_of_file(export(fiona, 11, DETAILS, tenant=acme)[1])
    assert list(rows[0]) == list(DETAIL_COLUMNS)
    assert {r["ChargeCategory"] for r in rows} == {"Usage", "Adjustment", "Tax"}
    prompt = next(r for r in rows if "Prompt" in r["InvoiceDetailDescription"])
    assert json.loads(prompt["InvoiceDetailGrain"])["SkuId"] == "chat/prompt"
    assert (prompt["InvoiceIssueStatus"], prompt["PaymentTerms"]) == ("Issued", "Net 30")
    assert prompt["PaymentDueDate"] == "2026-12-20T00:00:00Z"
    assert prompt["PaymentCurrencyInvoiceDetailId"] == prompt["InvoiceDetailId"]


def test_a_credit_note_names_its_invoice_and_is_below_zero(billed, fiona):
    invoice = billed[10][0]
    with fleet_scope():
        line = invoice.lines.filter(amount__gt=0).order_by("position").first()
        given = [Given(line.position, Decimal("0.01"))]
        note = issue_credit_note(SYSTEM, invoice.number, lines=given, why="w", now=DECEMBER)
    rows = rows_of_file(export(fiona, 12, DETAILS)[1])
    credit = [r for r in rows if r["InvoiceId"] == note.number]
    assert total(credit) == -note.total
    assert {r["ReferenceInvoiceId"] for r in credit} == {invoice.number}
    assert credit[0]["ChargeCategory"] == "Credit"


def test_periods_are_those_of_the_page(billed, fiona, acme, globex):
    rows = rows_of_file(export(fiona, 11, PERIODS)[1])
    assert list(rows[0]) == list(PERIOD_COLUMNS)
    with scope_of(fiona):
        shown = {(p.tenant_id, p.name) for p in list_periods(fiona)}
    ids = {"tenant-acme": acme.pk, "tenant-globex": globex.pk}
    found = {(ids[r["x_BillingAccountId"]], r["x_BillingPeriodName"]) for r in rows}
    assert found == {key for key in shown if key[1] < "2026-12"}
    assert {name for _, name in found} == {"2026-10", "2026-11"}
    assert {r["BillingPeriodStatus"] for r in rows} == {"Closed"}
    december = rows_of_file(export(fiona, 12, PERIODS)[1])
    states = {r["x_BillingPeriodName"]: r["BillingPeriodStatus"] for r in december}
    assert states == {"2026-11": "Closed", "2026-12": "Open"}


def test_chargeback_splits_invoices_by_cost_centre(billed, fiona, acme):
    rows = rows_of_file(export(fiona, 11, "chargeback")[1])
    assert total(rows, "amount") == sum(i.total for i in billed[11])
    assert total(rows, "amount", account="acme") == billed[11][0].total
    mine = [r for r in rows if r["account"] == "acme"]
    assert {(r["kind"], r["cost_centre"]) for r in mine} == {
        ("charge", "4711"), ("correction", "4711"), ("rounding", ""), ("tax", ""),
    }  # fmt: skip
    assert {r["month"] for r in rows} == {"2026-11"}


@pytest.mark.usefixtures("numbered")
def test_ledger_lines_balance_and_are_the_journal(billed, fiona):
    artifact, data = export(fiona, 12, "ledger")
    rows = rows_of_file(data)
    assert total(rows, "debit") == total(rows, "credit") == Decimal(artifact.sums["USD"])
    owed = total(rows, "debit", account="receivable")
    assert owed == sum(i.total for i in billed[11])
    assert {r["account_number"] for r in rows if r["account"] == "receivable"} == {"1200"}
    with fleet_scope():
        revenue = JournalLeg.objects.filter(account="revenue").aggregate(s=Sum("amount"))["s"]
        both = rows + rows_of_file(export(fiona, 11, "ledger")[1])
        assert total(both, "credit", account="revenue") == -revenue
        assert sum(b["USD"] for b in balances(fiona).values()) == total(
            both, "debit", account="receivable"
        )


def test_ledger_lines_wait_for_the_numbers_of_all_accounts(billed, fiona):
    with scope_of(fiona):
        job = request_export(
            fiona, format="ledger", starts_at=MONTHS[11], ends_at=MONTHS[12], now=DECEMBER
        )
    assert run_due(DECEMBER) == 0
    with scope_of(fiona):
        assert get_export(fiona, job.pk).why.startswith("8 accounts have no number: receivable")


@pytest.mark.parametrize("format", [PERIODS, DETAILS, "chargeback", "ledger"])
@pytest.mark.usefixtures("numbered")
def test_each_dataset_has_every_form_and_a_manifest(billed, fiona, format):
    for file_type in ("csv", "parquet", "xlsx"):
        artifact, data = export(fiona, 11, format, file_type)
        _, same = export(fiona, 11, format, file_type)
        assert data == same, file_type
        assert artifact.manifest["schema"] == DATASETS[format].schema
        assert artifact.manifest["columns"] == DATASETS[format].names
        if file_type == "parquet":
            table = pq.read_table(io.BytesIO(data))
            assert table.num_rows == artifact.rows > 0
            assert table.column_names == DATASETS[format].names


def test_a_schedule_makes_a_dataset(billed, fiona):
    with scope_of(fiona):
        create_schedule(
            fiona, name="Invoices", format=DETAILS, local_time=DECEMBER.time(), time_zone="UTC",
            now=DECEMBER,
        )  # fmt: skip
    assert run_due(DECEMBER + timedelta(days=1)) == 1
    with fleet_scope():
        rows = ExportJob.objects.get().artifact.manifest
    assert rows["sums"]["USD"] == f"{sum(i.total for i in billed[11]):.12f}"


def test_a_tenants_people_get_their_own_lines_and_no_ledger(billed, mallory, globex):
    rows = rows_of_file(export(mallory, 11, DETAILS, tenant=globex)[1])
    assert {r["BillingAccountId"] for r in rows} == {"tenant-globex"}
    rows = rows_of_file(export(mallory, 11, PERIODS, tenant=globex)[1])
    assert {r["x_BillingAccountId"] for r in rows} == {"tenant-globex"}
    with pytest.raises(NotFound):
        export(mallory, 11, "ledger", tenant=globex)
    with scope_of(mallory), pytest.raises(NotFound):
        list_ledger_accounts(mallory)


def test_it_numbers_accounts_by_version(fiona, olga):
    with scope_of(fiona):
        number_account(fiona, "bank", number="1800", name="Bank", expected=0)
        for expected in (0, 2):
            with pytest.raises(Stale):
                number_account(fiona, "bank", number="1801", name="", expected=expected)
        assert number_account(fiona, "bank", number="1801", name="", expected=1).version == 2
        with pytest.raises(Invalid):
            number_account(fiona, "bank", number=" ", name="", expected=2)
        with pytest.raises(NotFound, match="it has receivable"):
            number_account(fiona, "cash", number="1", name="", expected=0)
    with scope_of(olga), pytest.raises(Forbidden):
        number_account(olga, "bank", number="1", name="", expected=2)


GOOD = {
    **dict.fromkeys(DETAIL_COLUMNS, "x"),
    **dict.fromkeys(("BillingPeriodStart", "InvoiceDetailCreated"), "2026-10-01T00:00:00Z"),
    **dict.fromkeys(("BillingPeriodEnd", "InvoiceDetailLastUpdated"), "2026-11-01T00:00:00Z"),
    **dict.fromkeys(("InvoiceIssueDate", "PaymentDueDate"), "2026-11-02T00:00:00Z"),
    "InvoiceId": "INV-1",
    "InvoiceDetailId": "INV-1/1",
    "InvoiceDetailGrain": '{"x_LineKind": "credit"}',
}


@pytest.mark.parametrize(
    "change",
    [
        {"BillingAccountId": ""},
        {"InvoiceIssueDate": "2026-11-02"},
        {"BillingPeriodEnd": "2026-10-01T00:00:00Z"},
        {"InvoiceDetailId": "INV-2/1"},
        {"ChargeCategory": "Credit", "ReferenceInvoiceId": ""},
    ],
)
def test_it_finds_a_broken_line(change):
    assert fault_of_book_row(DETAIL_COLUMNS, list(GOOD.values())) == ""
    assert fault_of_book_row(DETAIL_COLUMNS, list((GOOD | change).values()))
