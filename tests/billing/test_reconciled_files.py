"""A month's files, read by DuckDB as an analyst does: what the API, a page and invoices say."""

from decimal import Decimal

import duckdb
import pytest

from billing.models import Invoice
from tenants.base.scope import fleet_scope
from tenants.models import Tenant, User
from tests.billing.billed import MONTHS, bill_two_months, export
from tests.console.visitors import browser

pytestmark = pytest.mark.django_db
# A CSV has no types; money is read as exactly as it was written.
CSV = "read_csv('{path}', all_varchar = true)"
PARQUET = "read_parquet('{path}')"
READERS = {"csv": CSV, "parquet": PARQUET}
EXACT = "sum(CAST({name} AS DECIMAL(38, 12)))"


@pytest.fixture(params=list(READERS))
def read(request, acme, globex, gateway, fiona, settings, tmp_path):
    """Rows of a query over the file of a month."""
    settings.QM_EXPORTS_DIR = tmp_path / "exports"
    settings.QM_ISSUER = "Fleet"
    bill_two_months(acme, globex, gateway)

    def over(month, format, select, rest=""):
        _, data = export(fiona, month, format, request.param)
        path = tmp_path / f"file.{request.param}"
        path.write_bytes(data)
        source = READERS[request.param].format(path=path)
        return duckdb.connect().execute(f"SELECT {select} FROM {source} {rest}").fetchall()

    return over


@pytest.mark.parametrize("month", [10, 11])
def test_charges_of_a_file_are_those_of_the_api_and_the_page(read, month, acme, globex, finance):
    amount = EXACT.format(name="amount")
    select = f"tenant, model, meter, unit_price::DECIMAL(24, 12), {amount}"
    found = {tuple(row[:4]): row[4] for row in read(month, "csv", select, "GROUP BY ALL")}
    assert found == by_api(finance, month, {acme.pk: "acme", globex.pk: "globex"})
    page = browser(User.objects.get(email="fiona@example.com"))
    for slug in "acme", "globex":
        mine = {key: value for key, value in found.items() if key[0] == slug}
        summary = finance.get(f"tenants/{slug}/billing?month=2026-{month}")
        assert Decimal(summary["charged"]) == sum(mine.values())
        by_meter = {p["key"]: Decimal(p["amount"]) for p in summary["by_meter"]}
        for meter, expected in by_meter.items():
            assert expected == sum(v for key, v in mine.items() if key[2] == meter)
        shown = page.get(f"/billing/{slug}/?month=2026-{month}")
        assert shown.context["found"].charged == sum(mine.values())


def by_api(finance, month, slugs):
    since, until = (MONTHS[m].isoformat().replace("+00:00", "Z") for m in (month, month + 1))
    found = {}
    for row in finance.get(f"charges?since={since}&until={until}&limit=1000")["results"]:
        price = Decimal(row["unit_price"])
        key = (slugs[row["tenant_id"]], row["model"], row["meter"], price)
        found[key] = found.get(key, 0) + Decimal(row["amount"])
    return {key: amount for key, amount in found.items() if amount}


@pytest.mark.parametrize("month", [10, 11])
def test_rows_of_a_bill_are_the_totals_of_its_invoices(read, month, finance):
    billed = EXACT.format(name="BilledCost")
    select = f"InvoiceId, BillingAccountId, BillingCurrency, {billed}"
    found = read(month, "focus-1.4", select, "WHERE InvoiceId <> '' GROUP BY ALL")
    with fleet_scope():
        totals = dict(
            Invoice.objects.filter(period__name=f"2026-{month}").values_list("number", "total")
        )
    assert {number: amount for number, _, _, amount in found} == totals
    for number, account, currency, amount in found:
        invoice = finance.get(f"invoices/{number}")
        assert Decimal(invoice["total"]) == amount
        assert (invoice["currency"], account) == (currency, f"tenant-{slug_of(invoice)}")


def slug_of(invoice):
    with fleet_scope():
        row = Invoice.objects.get(number=invoice["number"])
        return Tenant.objects.get(pk=row.tenant_id).slug


def test_price_times_quantity_is_the_cost_of_each_row(read):
    wrong = (
        "WHERE ChargeCategory = 'Usage' AND CAST(BilledCost AS DECIMAL(38, 12)) <>"
        " CAST(ContractedUnitPrice AS DECIMAL(24, 12)) * CAST(PricingQuantity AS DECIMAL(38, 6))"
    )
    assert read(11, "focus-1.4", "count(*)", wrong) == [(0,)]
    assert read(11, "focus-1.4", "count(*) > 3") == [(True,)]
