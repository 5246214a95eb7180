"""Exports as Parquet and XLSX, their manifests, what is sold by the month, the official rules."""

import hashlib
import io
import json
import zipfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.conf import settings as django_settings

from billing.actions.exports import request_export
from billing.clients import tables
from billing.clients.store import Folder, TooManyRows
from billing.drive.exports import run_due
from billing.queries.charged import ChargeFilter, sum_charges
from billing.queries.exports import get_export, media_type, open_export
from billing.rules.batches import in_batches
from billing.rules.prices import read_line
from sandbox.quality import focus
from tenants.base.scope import fleet_scope, scope_of
from tests.billing.factories import NOW, at, load, make_prices, usage
from tests.billing.official import validated
from tests.billing.test_month_rating import sign

START, END = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _folder(settings, tmp_path):
    settings.QM_EXPORTS_DIR = tmp_path / "exports"


@pytest.fixture
def charged(acme, globex, gateway):
    """Use, tiers, packages and a fee."""
    more = [
        read_line("chat", "request", "package 10:0.5"),
        read_line("chat", "completion", "tiered 20:1.5 rest:1"),
    ]
    prices = {
        "chat": {"prompt": Decimal("0.5"), "cached": Decimal("0.05")},
        "code": {"prompt": Decimal(1), "cached": Decimal(0), "completion": Decimal(3)},
    }
    make_prices(prices, more=more)
    sign(acme, ("", "fee", "flat 500"), starts_at=START)
    load(
        gateway,
        usage(acme),
        usage(acme, model="code", at=NOW - timedelta(hours=30)),
        usage(globex, at=at(days=3), traffic_class="batch"),
    )


def export(who, format, file_type):
    with scope_of(who):
        job = request_export(
            who, format=format, file_type=file_type, starts_at=START, ends_at=END, now=NOW
        )
    assert run_due(NOW) == 1, get(who, job).why
    with scope_of(who):
        artifact, data = open_export(who, job.pk)
        with data:
            return artifact, data.read()


def get(who, job):
    with scope_of(who):
        return get_export(who, job.pk)


def owed():
    with fleet_scope():
        return sum_charges(ChargeFilter(START, END))[0].amount


@pytest.mark.usefixtures("charged")
@pytest.mark.parametrize("version", ["1.4", "1.3", "1.2"])
def test_it_writes_parquet_with_exact_decimals(fiona, version):
    artifact, data = export(fiona, f"focus-{version}", "parquet")
    table = pq.read_table(io.BytesIO(data))
    assert table.num_rows == artifact.rows
    cost = table["BilledCost"]
    assert cost.type == pa.decimal128(38, 12)
    assert sum(cost.to_pylist()) == owed() == Decimal(artifact.sums["USD"])
    assert table["ChargePeriodStart"].type == pa.timestamp("us", tz="UTC")
    assert set(table["InvoiceId"].to_pylist()) == {None}


@pytest.mark.usefixtures("charged")
def test_it_gives_what_is_bought_its_own_rows(fiona):
    _, data = export(fiona, "focus-1.4", "parquet")
    rows = pq.read_table(io.BytesIO(data)).to_pylist()
    bought = {r["SkuMeter"]: r for r in rows if r["ChargeCategory"] == "Purchase"}
    assert set(bought) == {"Monthly fee", "Requests"}
    fee, package = bought["Monthly fee"], bought["Requests"]
    assert (fee["BilledCost"], fee["ChargeFrequency"], fee["SubAccountId"]) == (
        500,
        "Recurring",
        None,
    )
    assert (fee["ChargePeriodStart"], fee["ChargePeriodEnd"]) == (START, END)
    assert (package["PricingQuantity"], package["ConsumedQuantity"]) == (10, None)
    assert {r["ChargeFrequency"] for r in rows if r["ChargeCategory"] == "Usage"} == {"Usage-Based"}


@pytest.mark.usefixtures("charged")
def test_it_writes_the_same_bytes_in_every_form(fiona):
    for file_type in ("csv", "parquet", "xlsx"):
        first, data = export(fiona, "focus-1.4", file_type)
        again, same = export(fiona, "focus-1.4", file_type)
        assert data == same, file_type
        assert first.path != again.path


@pytest.mark.usefixtures("charged")
def test_it_writes_xlsx_for_reading(fiona):
    artifact, data = export(fiona, "csv", "xlsx")
    assert "spreadsheetml" in media_type(artifact.filename)
    sheet = zipfile.ZipFile(io.BytesIO(data)).read("xl/worksheets/sheet1.xml")
    rows = ElementTree.fromstring(sheet).findall(".//{*}row")
    assert len(rows) == artifact.rows + 1


def test_it_refuses_an_xlsx_of_too_many_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MOST_XLSX_ROWS", 3)
    folder = Folder(tmp_path)
    assert folder.write("a.xlsx", [("n", "count")], in_batches(["n"], [["1.5"]] * 3)).rows == 3
    with pytest.raises(TooManyRows, match="choose CSV or Parquet"):
        folder.write("b.xlsx", [("n", "count")], in_batches(["n"], [["1.5"]] * 4))
    assert [p.name for p in tmp_path.iterdir()] == ["a.xlsx"]


@pytest.mark.usefixtures("charged")
def test_it_lays_a_manifest_beside_the_file(fiona):
    artifact, data = export(fiona, "focus-1.3", "parquet")
    folder = Path(django_settings.QM_EXPORTS_DIR)
    beside = json.loads((folder / f"{artifact.path}.manifest.json").read_text())
    assert beside == artifact.manifest
    assert beside["sha256"] == hashlib.sha256(data).hexdigest()
    assert beside["schema"] == "FOCUS 1.3 CostAndUsage"
    assert beside["rows"] == pq.read_table(io.BytesIO(data)).num_rows
    assert Decimal(beside["sums"]["USD"]) == owed()
    assert beside["is_complete"] is False  # the month still runs


@pytest.mark.usefixtures("charged")
def test_the_official_validator_passes_the_1_2_projection(fiona, tmp_path):
    artifact, data = export(fiona, "focus-1.2", "csv")
    verdict = validated(tmp_path, artifact, data)
    assert verdict.failed == ()
    assert verdict.passed > 250


def test_the_official_validator_finds_a_broken_file(tmp_path):
    file = tmp_path / "broken.csv"
    file.write_text("BilledCost,BillingCurrency\n1.5,nothing\n")
    try:
        verdict = focus.validate(file)
    except focus.CannotRun as reason:
        pytest.skip(str(reason))
    assert "BillingCurrency-C-000-M" in verdict.failed or len(verdict.failed) > 20
