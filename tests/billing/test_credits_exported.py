"""Credit notes in files, and the files that a month gets once it is billed."""

from datetime import time
from decimal import Decimal

import pytest

from billing.actions.credits import Given, issue_credit_note
from billing.actions.schedules import change_schedule, create_schedule
from billing.drive.exports import run_due
from billing.models import ExportDelivery, ExportJob
from billing.queries.exports import get_export, open_export
from tenants.base.scope import fleet_scope, scope_of
from tests.billing.billed import DECEMBER, export, rows_of_file
from tests.billing.books import NOVEMBER, bill_month, set_account, spend, tax
from tests.billing.factories import SYSTEM, make_prices
from tests.billing.official import validated
from tests.billing.test_deliveries import receiver_of

pytestmark = pytest.mark.django_db
PRICES = {"chat": {"prompt": Decimal(50_000), "cached": Decimal(3), "completion": Decimal(70_000)}}


@pytest.fixture(autouse=True)
def _folder(settings, tmp_path):
    settings.QM_EXPORTS_DIR = tmp_path / "exports"


@pytest.fixture
def spent(acme, gateway):
    make_prices(PRICES)
    set_account(acme, taxes=(tax("VAT", "0.19"),))
    spend(gateway, acme)
    return acme


def give_back(invoice, amount="1.00", *, now=NOVEMBER):
    with fleet_scope():
        line = invoice.lines.get(meter="prompt", kind="usage")
        given = [Given(line.position, Decimal(amount))]
        return issue_credit_note(SYSTEM, invoice.number, lines=given, why="An outage", now=now)


def of_document(rows, number):
    return [r for r in rows if r["InvoiceId"] == number]


@pytest.mark.parametrize("version", ["1.4", "1.3", "1.2"])
def test_a_credit_note_is_billed_in_the_month_of_its_issue(spent, gateway, fiona, version):
    invoice = bill_month(spent)
    _, before = export(fiona, 10, f"focus-{version}")
    note = give_back(invoice)
    spend(gateway, spent, at=NOVEMBER)
    _, after = export(fiona, 10, f"focus-{version}")
    assert after == before, "the closed month stays as it was"
    artifact, data = export(fiona, 11, f"focus-{version}")
    rows = of_document(rows_of_file(data), note.number)
    assert sum(Decimal(r["BilledCost"]) for r in rows) == -note.total == Decimal("-1.19")
    assert {r["ChargeCategory"]: Decimal(r["BilledCost"]) for r in rows} == {
        "Credit": Decimal("-1"),
        "Tax": Decimal("-0.19"),
    }
    for row in rows:
        assert row["ChargeClass"] == "Correction"
        assert row["ChargePeriodStart"] == "2026-10-01T00:00:00Z"
        assert row["BillingPeriodStart"] == "2026-11-01T00:00:00Z"
        assert invoice.number in row["ChargeDescription"]
    everything = sum(Decimal(r["BilledCost"]) for r in rows_of_file(data))
    assert Decimal(artifact.sums["USD"]) == everything


def test_chargeback_has_what_was_given_back(spent, fiona):
    give_back(bill_month(spent))
    _, data = export(fiona, 11, "chargeback")
    kinds = {r["kind"]: (r["month"], Decimal(r["amount"])) for r in rows_of_file(data)}
    assert kinds == {
        "credit": ("2026-11", Decimal(-1)),
        "tax": ("2026-11", Decimal("-0.19")),
    }


def test_the_official_validator_passes_a_month_with_a_credit_note(spent, gateway, fiona, tmp_path):
    give_back(bill_month(spent))
    spend(gateway, spent, at=NOVEMBER)
    bill_month(spent, "2026-11", now=DECEMBER)
    artifact, data = export(fiona, 11, "focus-1.2")
    verdict = validated(tmp_path, artifact, data)
    assert verdict.failed == ()


def schedule(who, name, format="focus-1.4", **more):
    given = {"local_time": time(2), "time_zone": "UTC", "now": DECEMBER}
    with scope_of(who):
        return create_schedule(who, name=name, format=format, **given, **more)


def jobs_of(made):
    with fleet_scope():
        return list(ExportJob.objects.filter(schedule=made).order_by("id"))


def test_a_billed_month_gets_a_new_file_that_names_its_invoice(spent, globex, fiona):
    daily = schedule(fiona, "ERP")
    own = schedule(fiona, "Acme", "chargeback", tenant_id=spent.pk)
    others = schedule(fiona, "Globex", tenant_id=globex.pk)
    plain = schedule(fiona, "Plain", "csv")
    off = schedule(fiona, "Off")
    with scope_of(fiona):
        change_schedule(fiona, off.pk, expected=off.version, now=NOVEMBER, enabled=False)
    before, old = export(fiona, 10, "focus-1.4", tenant=spent)
    invoice = bill_month(spent)
    for made in (others, plain, off):
        assert jobs_of(made) == []
    (job,), (own_job,) = jobs_of(daily), jobs_of(own)
    assert (job.tenant_id, own_job.tenant_id) == (spent.pk, spent.pk)
    assert job.requested_by == f"schedule of the operator, {invoice.number}"
    assert run_due(NOVEMBER) >= 2
    with scope_of(fiona):
        artifact, data = open_export(fiona, job.pk)
        with data:
            rows = rows_of_file(data.read())
        assert {r["InvoiceId"] for r in rows} == {invoice.number}
        assert artifact.path != before.path
        _, data = open_export(fiona, before.job_id)
        with data:
            assert data.read() == old, "the file from before stays as it was"


def test_the_new_file_goes_where_the_schedule_sends_its_files(spent, fiona, door, settings):
    settings.QM_ALLOW_PRIVATE_DELIVERY = True
    receiver, _ = receiver_of(fiona, door)
    made = schedule(fiona, "ERP", destination_id=receiver.pk)
    bill_month(spent)
    run_due(NOVEMBER)
    (job,) = jobs_of(made)
    with fleet_scope():
        assert ExportDelivery.objects.get(job=job).destination_id == receiver.pk
        assert get_export(fiona, job.pk).state == "done"
