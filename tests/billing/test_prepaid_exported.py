"""Prepaid credits in FOCUS files: bought once, used at no second cost, lost when they expire."""

from collections import defaultdict
from datetime import timedelta
from decimal import Decimal

import pytest

from billing.actions.credits import Given, issue_credit_note
from billing.actions.grants import expire_due
from billing.models import CreditEntry
from billing.rules.focus_checks import fault_of_row
from sandbox.quality import focus
from tenants.base.scope import fleet_scope
from tests.billing.billed import DECEMBER, export, rows_of_file
from tests.billing.books import NOVEMBER, OCTOBER, bill_month
from tests.billing.factories import SYSTEM, make_prices
from tests.billing.granted import PRICES, ask, buy, decide, granted, person
from tests.billing.test_exports import good_row

pytestmark = pytest.mark.django_db
VERSIONS = ("1.4", "1.3", "1.2")
SOON = OCTOBER + timedelta(days=1)


@pytest.fixture(autouse=True)
def _folder(settings, tmp_path):
    settings.QM_EXPORTS_DIR = tmp_path / "exports"


@pytest.fixture
def story(acme, gateway):
    """October: 100 paid ahead, 30 used after a promotion. November: 4 given back, 74 expire."""
    make_prices(PRICES)
    fin, vic = person("fin", "finance"), person("vic", "approver")
    asked = ask(
        fin, acme, paid=True, reference="bank-7", amount=Decimal(100), name="Prepaid",
        now=SOON, expires_at=NOVEMBER + timedelta(days=4),
    )  # fmt: skip
    grant = decide(vic, asked, now=SOON)
    granted(fin, vic, acme, amount=Decimal(5), priority=1)
    buy(gateway, acme, 35)
    invoice = bill_month(acme)
    with fleet_scope():
        line = invoice.lines.get(kind="usage")
        given = [Given(line.position, Decimal(9))]  # 5 of the promotion go back first
        note = issue_credit_note(SYSTEM, invoice.number, lines=given, why="outage", now=NOVEMBER)
    buy(gateway, acme, 7, at=NOVEMBER)
    expire_due(NOVEMBER + timedelta(days=5))
    return grant, invoice, note


def sums(rows, cost):
    found = defaultdict(Decimal)
    for row in rows:
        found[row["InvoiceId"]] += Decimal(row[cost])
    return {number: amount for number, amount in found.items() if amount}


@pytest.mark.parametrize("version", VERSIONS)
def test_using_what_was_paid_ahead_costs_nothing_twice(story, fiona, version):
    grant, invoice, note = story
    number = f"PREPAID-{grant.pk}"
    artifact, data = export(fiona, 10, f"focus-{version}")
    rows = rows_of_file(data)
    mine = {r["ChargeCategory"]: r for r in rows if r["InvoiceId"] == number}
    bought, used = mine["Purchase"], mine["Credit"]
    assert bought["ChargeDescription"] == "Prepaid: paid ahead"
    assert (bought["PricingQuantity"], bought["PricingUnit"]) == ("100.000000", "Credits")
    assert (Decimal(bought["BilledCost"]), Decimal(bought["EffectiveCost"])) == (100, 0)
    assert (Decimal(used["BilledCost"]), Decimal(used["EffectiveCost"])) == (-30, 0)
    assert used["ChargeDescription"] == f"Prepaid: pays {invoice.number}"
    assert sums(rows, "BilledCost") == {invoice.number: invoice.total, number: Decimal(70)}
    assert invoice.total == 30
    assert Decimal(artifact.sums["USD"]) == sum(Decimal(r["BilledCost"]) for r in rows)


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_given_back_and_what_expires_have_rows(story, fiona, version):
    grant, _, note = story
    number = f"PREPAID-{grant.pk}"
    _, data = export(fiona, 11, f"focus-{version}")
    rows = [r for r in rows_of_file(data) if r["InvoiceId"] == number]
    back, lost = sorted(rows, key=lambda r: r["ChargeCategory"], reverse=True)
    assert (back["ChargeClass"], Decimal(back["BilledCost"])) == ("Correction", 4)
    assert back["ChargePeriodStart"] == "2026-10-01T00:00:00Z"
    assert lost["ChargeCategory"] == "Adjustment" and lost["x_IsRounding"] == "false"
    assert (Decimal(lost["BilledCost"]), Decimal(lost["EffectiveCost"])) == (0, 74)


def test_all_files_together_say_what_was_paid_and_what_was_used(story, fiona):
    """Paid: 100. Used: 35 less the promotion's 5, less the 9 credited with 5 of them; 7 open."""
    grant, invoice, note = story
    billed, effective = Decimal(0), Decimal(0)
    for month in (10, 11):
        rows = rows_of_file(export(fiona, month, "focus-1.4")[1])
        billed += sum(Decimal(r["BilledCost"]) for r in rows)
        effective += sum(Decimal(r["EffectiveCost"]) for r in rows)
    with fleet_scope():
        entries = CreditEntry.objects.filter(grant=grant)
        left = sum(entries.exclude(kind="expired").values_list("amount", flat=True))
        lost = -entries.get(kind="expired").amount
    charged = invoice.total - note.total + 7
    assert billed == charged + left
    assert effective == charged + lost


def test_promotions_stay_lines_of_their_invoice(story, fiona):
    _, invoice, _ = story
    rows = rows_of_file(export(fiona, 10, "focus-1.4")[1])
    (row,) = [r for r in rows if r["ChargeDescription"].startswith("Welcome")]
    assert (row["InvoiceId"], Decimal(row["BilledCost"])) == (invoice.number, -5)


def test_chargeback_has_no_money_that_was_paid_ahead(story, fiona):
    rows = rows_of_file(export(fiona, 10, "chargeback")[1])
    assert sum(Decimal(r["amount"]) for r in rows) == 30


def test_a_stranger_s_file_has_none_of_it(story, globex, fiona):
    rows = rows_of_file(export(fiona, 10, "focus-1.4", tenant=globex)[1])
    assert rows == []


def test_the_official_validator_passes_a_month_with_prepaid_credits(story, acme, fiona, tmp_path):
    artifact, data = export(fiona, 10, "focus-1.2")
    file = tmp_path / artifact.filename
    file.write_bytes(data)
    verdict = focus.validate(file)
    assert verdict.failed == ()
    bill_month(acme, "2026-11", now=DECEMBER)


BROKEN = {
    "a purchase that is an effective cost": {
        "ChargeCategory": "Purchase",
        "ChargeFrequency": "One-Time",
    },
    "usage": {},
}


@pytest.mark.parametrize("case", BROKEN)
def test_it_finds_a_prepaid_row_that_is(case):
    row = good_row() | {"InvoiceId": "PREPAID-1"} | BROKEN[case]
    assert "prepaid credit" in fault_of_row(row, "1.4")
