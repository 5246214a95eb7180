"""FOCUS files of billed months: corrections, invoices, taxes and rounding, to the last unit."""

from collections import defaultdict
from datetime import timedelta
from decimal import Decimal

import pytest

from billing.drive.rows import Evidence, batches_of
from billing.models import Charge, Invoice, InvoiceLine
from billing.queries.charged import ChargeFilter
from billing.rules.focus_checks import fault_of_row, faults_of_invoices
from tenants.base.scope import fleet_scope
from tests.billing.billed import MONTHS, bill_two_months, export, rows_of_file
from tests.billing.books import bill_month, spend
from tests.billing.factories import make_prices
from tests.billing.official import validated
from tests.billing.test_exports import good_row

pytestmark = pytest.mark.django_db
VERSIONS = ("1.4", "1.3", "1.2")


@pytest.fixture(autouse=True)
def _folder(settings, tmp_path):
    settings.QM_EXPORTS_DIR = tmp_path / "exports"


@pytest.fixture
def billed(acme, globex, gateway):
    return bill_two_months(acme, globex, gateway)


def by(rows, name):
    found = defaultdict(Decimal)
    for row in rows:
        found[row[name]] += Decimal(row["BilledCost"])
    return dict(found)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("month", [10, 11])
def test_the_rows_of_an_invoice_add_up_to_what_is_to_be_paid(billed, fiona, month, version):
    artifact, data = export(fiona, month, f"focus-{version}")
    rows = rows_of_file(data)
    assert by(rows, "InvoiceId") == {i.number: i.total for i in billed[month]}
    assert Decimal(artifact.sums["USD"]) == sum(i.total for i in billed[month])


def test_each_row_leads_to_its_line_of_the_invoice(billed, fiona):
    _, data = export(fiona, 11, "focus-1.4")
    sums = by(rows_of_file(data), "InvoiceDetailId")
    assert sums.pop("", 0) == 0  # taken back and charged again at the same price: no line
    with fleet_scope():
        lines = InvoiceLine.objects.filter(invoice__in=billed[11]).select_related("invoice")
        assert sums == {f"{x.invoice.number}/{x.position}": x.exact for x in lines if x.exact}


def test_a_correction_is_billed_in_the_later_month_with_its_own_time(billed, fiona):
    _, before = export(fiona, 10, "focus-1.4")
    _, after = export(fiona, 11, "focus-1.4")
    assert {r["ChargeClass"] for r in rows_of_file(before)} == {""}
    fixed = [r for r in rows_of_file(after) if r["ChargeClass"] == "Correction"]
    assert fixed
    assert all(r["ChargePeriodStart"].startswith("2026-10-1") for r in fixed)
    assert {r["BillingPeriodStart"] for r in fixed} == {"2026-11-01T00:00:00Z"}
    assert {r["InvoiceId"] for r in fixed} <= {i.number for i in billed[11]}
    taken_back = [r for r in fixed if Decimal(r["PricingQuantity"]) < 0]
    assert {r["x_PriceBookVersion"] for r in taken_back} == {"list-1"}
    with fleet_scope():
        corrected = Charge.objects.exclude(correction_period=None).values_list("amount", flat=True)
        assert sum(Decimal(r["BilledCost"]) for r in fixed) == sum(corrected)


def test_every_charge_is_in_one_month(billed, fiona):
    charged = Decimal(0)
    for month in (10, 11):
        _, data = export(fiona, month, "focus-1.3")
        rows = rows_of_file(data)
        charged += sum(
            Decimal(r["BilledCost"]) for r in rows if r["ChargeCategory"] in ("Usage", "Purchase")
        )
    with fleet_scope():
        assert charged == sum(Charge.objects.values_list("amount", flat=True))


def test_rounding_and_tax_have_rows_of_their_own(billed, fiona):
    _, data = export(fiona, 10, "focus-1.4")
    rows = rows_of_file(data)
    with fleet_scope():
        lines = InvoiceLine.objects.filter(invoice__in=billed[10])
        (vat,) = lines.filter(kind="tax")
        rounding = sorted(lines.filter(kind="rounding").values_list("exact", flat=True))
    (taxed,) = [r for r in rows if r["ChargeCategory"] == "Tax"]
    assert (taxed["ChargeDescription"], Decimal(taxed["BilledCost"])) == ("VAT 19 %", vat.amount)
    rounded = [r for r in rows if r["ChargeCategory"] == "Adjustment"]
    assert sorted(Decimal(r["BilledCost"]) for r in rounded) == rounding
    assert {r["x_IsRounding"] for r in rounded} == {"true"}
    assert {r["PricingQuantity"] for r in [taxed, *rounded]} == {""}


def test_what_is_not_billed_yet_has_no_invoice(acme, globex, gateway, fiona):
    make_prices()
    spend(gateway, acme)
    spend(gateway, globex)
    invoice = bill_month(acme)
    _, data = export(fiona, 10, "focus-1.4")
    whose = {r["BillingAccountId"]: r["InvoiceId"] for r in rows_of_file(data)}
    assert whose == {"tenant-acme": invoice.number, "tenant-globex": ""}


def test_a_tenants_file_holds_its_invoice_alone(billed, acme, fiona):
    _, data = export(fiona, 11, "focus-1.4", tenant=acme)
    assert by(rows_of_file(data), "InvoiceId") == {billed[11][0].number: billed[11][0].total}


def test_it_gives_no_name_to_a_file_whose_invoice_does_not_add_up(billed, monkeypatch):
    """The rows of one tenant cannot make the total of the other's invoice."""
    monkeypatch.setattr(
        "billing.drive.rows.whole_documents", lambda *_, **__: {"INV-000009": Decimal("1.5")}
    )
    wanted = ChargeFilter(MONTHS[10], MONTHS[11])
    with fleet_scope(), pytest.raises(ValueError, match="INV-000009 add up to 0, its total is 1.5"):
        list(batches_of("focus-1.4", wanted, Evidence()))


def test_it_compares_whole_invoices_only(billed):
    with fleet_scope():
        evidence = Evidence()
        wanted = ChargeFilter(MONTHS[10], MONTHS[10] + timedelta(days=20))
        assert list(batches_of("focus-1.4", wanted, evidence))
        assert Invoice.objects.count() == 4
    assert faults_of_invoices({"a": Decimal(1)}, {}) == []


BROKEN = {
    "usage of another month that is no correction": {
        "ChargePeriodStart": "2026-10-30T00:00:00Z",
        "ChargePeriodEnd": "2026-10-30T01:00:00Z",
    },
    "a negative quantity that corrects nothing": {
        "PricingQuantity": "-3.000000",
        "BilledCost": "-1.500000000000",
        "ListCost": "-1.500000000000",
    },
    "a credit with a quantity": {"ChargeCategory": "Credit", "ChargeClass": "Correction"},
    "a line without its invoice": {"InvoiceDetailId": "INV-1/1"},
    "the line of another invoice": {"InvoiceId": "INV-1", "InvoiceDetailId": "INV-12/1"},
    "a tax with a quantity": {"ChargeCategory": "Tax", "ChargeFrequency": "One-Time"},
    "rounding that is usage": {"x_IsRounding": "true"},
}


@pytest.mark.parametrize("case", BROKEN)
def test_it_finds_a_row_with(case):
    assert fault_of_row(good_row(), "1.4") == ""
    assert fault_of_row(good_row() | BROKEN[case], "1.4")


@pytest.mark.parametrize(("month", "file_type"), [(10, "csv"), (11, "parquet")])
def test_the_official_validator_passes_a_billed_month(billed, fiona, tmp_path, month, file_type):
    artifact, data = export(fiona, month, "focus-1.2", file_type)
    verdict = validated(tmp_path, artifact, data)
    assert verdict.failed == ()
    assert verdict.passed > 250
