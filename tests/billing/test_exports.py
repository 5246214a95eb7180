"""Exports: the file's sums are the ledger's, its rows keep the rules, and it never changes."""

import csv
import hashlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django.db import DatabaseError, connection, transaction

from billing.actions.exports import request_export, retry_export
from billing.drive.exports import run_due
from billing.models import ExportArtifact, ExportJob
from billing.queries import lines
from billing.queries.charged import ChargeFilter, sum_charges
from billing.queries.exports import get_export, list_exports, open_export
from billing.rules.datasets import DATASETS
from billing.rules.focus import COLUMNS
from billing.rules.focus_checks import fault_of_row, faults_of_header
from billing.rules.manifests import hours_complete
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import Forbidden, Invalid, NotFound
from tests.billing.factories import NOW, load, make_prices, make_tenant, usage, viewer

START, END = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _folder(settings, tmp_path):
    settings.QM_EXPORTS_DIR = tmp_path / "exports"


@pytest.fixture
def charged(acme, globex, gateway):
    make_prices()
    load(
        gateway,
        usage(acme),
        usage(acme, model="code", at=NOW - timedelta(hours=30), completion_tokens=77_777),
        usage(globex, at=NOW - timedelta(days=3)),
        usage(globex, at=NOW - timedelta(days=40)),  # another month
    )
    load(gateway, usage(acme, completion_tokens=5))  # a difference to an hour that was charged


def export(who, format, tenant=None, file_type="csv"):
    with scope_of(who):
        job = request_export(
            who,
            format=format,
            file_type=file_type,
            starts_at=START,
            ends_at=END,
            now=NOW,
            tenant_id=tenant.pk if tenant else None,
        )
    assert run_due(NOW) == 1
    with scope_of(who):
        artifact, data = open_export(who, job.pk)
        with data:
            return artifact, data.read()


def rows_of(data):
    return list(csv.DictReader(data.decode().splitlines()))


@pytest.mark.parametrize("version", ["1.4", "1.3", "1.2"])
@pytest.mark.usefixtures("charged")
def test_it_exports_focus_rows_that_keep_every_rule(fiona, version):
    artifact, data = export(fiona, f"focus-{version}")
    rows = rows_of(data)
    assert list(rows[0]) == list(COLUMNS[version])
    assert len(rows) == artifact.rows == 9
    complete = [
        dict.fromkeys(COLUMNS["1.4"], "") | dict.fromkeys(COLUMNS["1.2"], "") | r for r in rows
    ]
    assert [fault_of_row(row, version) for row in complete] == [""] * 9
    with fleet_scope():
        owed = sum_charges(ChargeFilter(START, END))[0].amount
    assert sum(Decimal(r["BilledCost"]) for r in rows) == owed
    assert artifact.sums == {"USD": f"{owed:.12f}"}
    assert artifact.sha256 == hashlib.sha256(data).hexdigest()
    assert artifact.bytes == len(data)


@pytest.mark.usefixtures("charged")
def test_it_exports_plain_rows_with_the_same_sum(fiona):
    artifact, data = export(fiona, "csv")
    rows = rows_of(data)
    assert sum(Decimal(r["amount"]) for r in rows) == Decimal(artifact.sums["USD"])
    assert all(
        Decimal(r["quantity"]) * Decimal(r["unit_price"]) == Decimal(r["amount"]) for r in rows
    )


@pytest.mark.usefixtures("charged")
def test_it_exports_one_tenants_rows_only(acme, fiona):
    _, data = export(fiona, "focus-1.4", tenant=acme)
    assert {r["BillingAccountId"] for r in rows_of(data)} == {"tenant-acme"}


@pytest.mark.usefixtures("charged")
def test_it_writes_the_same_bytes_again(fiona):
    first, data = export(fiona, "focus-1.2")
    again, same = export(fiona, "focus-1.2")
    assert data == same
    assert first.path != again.path


@pytest.mark.usefixtures("charged")
def test_it_says_until_when_the_file_is_complete(fiona, acme, gateway):
    artifact, _ = export(fiona, "csv")
    assert artifact.complete_until == NOW.replace(minute=0)


@pytest.mark.usefixtures("charged")
def test_it_keeps_the_evidence_as_it_was_written(fiona):
    export(fiona, "csv")
    with fleet_scope(), pytest.raises(DatabaseError), transaction.atomic():
        connection.cursor().execute("UPDATE export_artifact SET rows = 0")


def failed_export(fiona):
    with scope_of(fiona):
        job = request_export(fiona, format="focus-1.4", starts_at=START, ends_at=END, now=NOW)
    assert run_due(NOW) == 0
    with scope_of(fiona):
        failed = get_export(fiona, job.pk)
    assert failed.state == "failed"
    return failed


@pytest.mark.usefixtures("charged")
def test_it_gives_no_name_to_a_file_with_a_bad_row(fiona, settings):
    settings.QM_ISSUER = ""
    job = failed_export(fiona)
    assert "InvoiceIssuerName is empty" in job.why
    assert not [p for p in Path(settings.QM_EXPORTS_DIR).rglob("*") if p.is_file()]
    settings.QM_ISSUER = "Fleet"
    with scope_of(fiona):
        retry_export(fiona, job.pk, now=NOW)
    assert run_due(NOW) == 1


@pytest.mark.usefixtures("charged")
def test_it_gives_no_name_to_a_file_whose_amounts_are_not_those_of_the_charges(fiona, monkeypatch):
    damaged = lines.BILLED_LINES.replace("sum(c.amount)", "sum(c.amount) + 1")
    monkeypatch.setattr(lines, "BILLED_LINES", damaged)
    assert "their quantities and prices make" in failed_export(fiona).why


@pytest.mark.django_db(transaction=True)
def test_it_makes_the_file_when_a_worker_died_over_it(acme, gateway, fiona, monkeypatch):
    make_prices()
    load(gateway, usage(acme))
    with scope_of(fiona):
        job = request_export(fiona, format="csv", starts_at=START, ends_at=END, now=NOW)

    def die(*_args, **_kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("billing.drive.exports.ExportArtifact.objects.create", die)
        with pytest.raises(KeyboardInterrupt):
            run_due(NOW)
    assert run_due(NOW) == 0  # the dead worker's claim still holds
    with fleet_scope():
        ExportJob.objects.filter(pk=job.pk).update(claim_until=NOW)
    assert run_due(NOW) == 1
    with fleet_scope():
        assert ExportArtifact.objects.get().rows == 3


@pytest.mark.usefixtures("charged")
def test_it_hides_exports_from_strangers(fiona, mallory, acme):
    artifact, _ = export(fiona, "csv", tenant=acme)
    with scope_of(mallory):
        assert not list_exports(mallory).exists()
        with pytest.raises(NotFound):
            open_export(mallory, artifact.job_id)
        with pytest.raises(NotFound):
            request_export(
                mallory,
                format="csv",
                starts_at=START,
                ends_at=END,
                now=NOW,
                tenant_id=acme.pk,
            )


@pytest.mark.usefixtures("charged")
def test_it_lets_a_tenant_export_its_own(globex, mallory):
    _, data = export(mallory, "csv", tenant=globex)
    assert {r["tenant"] for r in rows_of(data)} == {"globex"}


@pytest.mark.parametrize(
    "change",
    [
        {"format": "xls"},
        {"file_type": "pdf"},
        {"ends_at": START},
        {"ends_at": START + timedelta(days=900)},
    ],
)
@pytest.mark.django_db
def test_it_refuses_an_export_that_cannot_be(fiona, change):
    wanted = {"format": "csv", "starts_at": START, "ends_at": END} | change
    with scope_of(fiona), pytest.raises(Invalid):
        request_export(fiona, now=NOW, **wanted)


@pytest.mark.parametrize(
    ("until", "want"),
    [
        (START + timedelta(hours=542, minutes=20), (542, 720)),
        (END, (720, 720)),
        (END + timedelta(days=9), (720, 720)),
        (START - timedelta(days=1), (0, 720)),
    ],
)
def test_it_counts_the_hours_that_are_complete(until, want):
    assert hours_complete(START, END, until) == want


@pytest.mark.usefixtures("charged")
def test_the_manifest_says_what_was_checked(fiona):
    artifact, _ = export(fiona, "focus-1.4")
    assert artifact.manifest["checks"] == {
        "errors": 0, "rows": 9, "documents": 0, "rules": list(DATASETS["focus-1.4"].checks),
    }  # fmt: skip
    assert (artifact.manifest["hours_complete"], artifact.manifest["hours"]) == (468, 720)


def good_row():
    amount = {"BilledCost", "ContractedCost", "EffectiveCost", "ListCost"}
    row = dict.fromkeys({*COLUMNS["1.4"], *COLUMNS["1.2"]}, "")
    row |= dict.fromkeys(amount | {"PricingCurrencyEffectiveCost"}, "1.500000000000")
    row |= dict.fromkeys([n for n in row if n.endswith("UnitPrice")], "0.500000000000")
    row |= {"PricingQuantity": "3.000000", "ConsumedQuantity": "3.000000"}
    row |= {"PricingUnit": "Tokens", "ConsumedUnit": "Tokens", "PricingCategory": "Standard"}
    row |= {"ChargeCategory": "Usage", "ChargeFrequency": "Usage-Based"}
    row |= {"BillingAccountId": "tenant-acme", "BillingCurrency": "USD", "PricingCurrency": "USD"}
    row |= dict.fromkeys(["BillingPeriodStart", "ChargePeriodStart"], "2026-11-01T00:00:00Z")
    row |= {"BillingPeriodEnd": "2026-12-01T00:00:00Z", "ChargePeriodEnd": "2026-11-01T01:00:00Z"}
    row |= {"ServiceCategory": "AI and Machine Learning", "ServiceSubcategory": "Generative AI"}
    row |= {"ServiceName": "LLM Serving", "Tags": "{}", "SkuPriceDetails": "{}"}
    row |= dict.fromkeys(["SkuId", "SkuMeter", "SkuPriceId"], "chat/prompt")
    issuers = ["InvoiceIssuerName", "ServiceProviderName", "HostProviderName"]
    return row | dict.fromkeys([*issuers, "ProviderName", "PublisherName"], "Fleet")


BROKEN = {
    "a price that does not make the cost": {"ListCost": "999.000000000000"},
    "a category among good rows": {"ChargeCategory": "Banana"},
    "a frequency in lower case": {"ChargeFrequency": "usage-based"},
    "a time without a zone": {"ChargePeriodStart": "2026-11-01T00:00:00"},
    "an end before the start": {"ChargePeriodEnd": "2026-10-01T00:00:00Z"},
    "a unit in lower case": {"PricingUnit": "tokens"},
    "usage without a quantity": {"ConsumedQuantity": ""},
    "usage without a list price": {"ListUnitPrice": ""},
    "a plus sign": {"BilledCost": "+1.500000000000"},
    "a cost without a point": {"BilledCost": "1"},
    "a currency that is none": {"BillingCurrency": "usd"},
    "no account": {"BillingAccountId": ""},
    "a purchase that is metered": {"ChargeCategory": "Purchase"},
    "tags that are a list": {"Tags": "[]"},
    "tags that are no JSON": {"Tags": "{"},
    "a resource without a type": {"ResourceId": "x"},
}


@pytest.mark.parametrize("version", ["1.4", "1.3", "1.2"])
def test_it_passes_a_good_row(version):
    assert fault_of_row(good_row(), version) == ""


@pytest.mark.parametrize("case", BROKEN)
def test_it_finds_a_row_with(case):
    assert fault_of_row(good_row() | BROKEN[case], "1.4")


def test_it_finds_columns_that_are_missing_or_strange():
    header = [*COLUMNS["1.4"][1:], "Sku_Price", "x_Fine"]
    assert len(faults_of_header(header, "1.4")) == 2


def test_it_has_the_columns_of_each_version():
    assert len([c for c in COLUMNS["1.2"] if not c.startswith("x_")]) == 57
    assert len([c for c in COLUMNS["1.3"] if not c.startswith("x_")]) == 55
    assert len([c for c in COLUMNS["1.4"] if not c.startswith("x_")]) == 54


@pytest.mark.django_db
def test_it_quotes_names_that_a_spreadsheet_would_run(gateway, fiona):
    evil = make_tenant("evil")
    with fleet_scope():
        type(evil).objects.filter(pk=evil.pk).update(name='=HYPERLINK("x")')
    make_prices()
    load(gateway, usage(evil))
    _, data = export(fiona, "focus-1.4")
    assert rows_of(data)[0]["BillingAccountName"] == '\'=HYPERLINK("x")'


def test_viewers_role_has_no_money(db):
    with pytest.raises(Forbidden):
        list_exports(viewer("viewer"))
