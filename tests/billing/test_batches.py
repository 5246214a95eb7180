"""Columns of batches against the same done row by row."""

import csv
import random
from collections import defaultdict
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import product

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.clients.store import Folder
from billing.drive.rows import Evidence, batches_of
from billing.models import Charge, RatingRun
from billing.queries import lines
from billing.queries.charged import ChargeFilter
from billing.rules import focus_batches
from billing.rules.batches import MONEY, Codes, add_up, decimal_texts, in_batches
from billing.rules.datasets import DATASETS, VERSIONS
from billing.rules.exchange import Exchange, convert_all
from billing.rules.focus_checks import fault_of_row
from billing.rules.prices import read_line
from tenants.base.scope import fleet_scope
from tenants.models import Application
from tests.billing.billed import MONTHS
from tests.billing.books import OCTOBER, ODD_PRICES, bill_month, set_account, spend, tax
from tests.billing.factories import make_prices, make_tenant
from tests.billing.row_by_row import focus_rows, own_rows
from tests.billing.test_exchange import note_rate
from tests.billing.test_exports import good_row
from tests.billing.test_month_rating import sign

picos = st.integers(-(10**26), 10**26).map(lambda n: Decimal(n).scaleb(-12))
rates = st.integers(1, 10**18).map(lambda n: Decimal(n).scaleb(-12))


@given(st.lists(st.one_of(picos, st.none()), min_size=1), st.integers(0, 3))
def test_an_amount_is_written_with_all_its_decimals(amounts, skipped):
    column = pa.array([Decimal(7)] * skipped + amounts, MONEY).slice(skipped)
    assert decimal_texts(column).to_pylist() == [
        None if a is None else f"{a:.12f}" for a in amounts
    ]


@given(st.lists(st.tuples(picos.map(lambda a: a / 10**9), rates), min_size=1))
def test_all_amounts_are_converted_as_one_is(found):
    amounts = [a.quantize(Decimal("1e-12")) for a, _ in found]
    exchanges = [Exchange("USD", "EUR", rate) for _, rate in found]
    place = pa.array(range(len(found)), pa.int32())
    made = convert_all(pa.array(amounts, MONEY), [e.rate for e in exchanges], place)
    assert made.to_pylist() == [e.convert(a) for e, a in zip(exchanges, amounts, strict=True)]


@given(st.lists(st.lists(st.text(max_size=2))))
def test_numbers_stay_with_what_they_were_given_to(pieces):
    codes, known = Codes(pa.string()), {}
    for piece in pieces:
        numbers = codes.of(pa.array(piece, pa.string())).to_pylist()
        assert numbers == [known.setdefault(text, len(known)) for text in piece]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-5, 5)), min_size=1))
def test_rows_of_one_key_are_added_up_in_order(found):
    table = pa.table(
        {
            "key": pa.array([k for k, _ in found]),
            "amount": pa.array([Decimal(n) for _, n in found], MONEY),
            "newest": pa.array([n for _, n in found]),
        }
    )
    wanted = [
        {
            "key": key,
            "amount": Decimal(sum(n for k, n in found if k == key)),
            "newest": max(n for k, n in found if k == key),
        }
        for key in sorted({k for k, _ in found})
    ]
    assert add_up(table, "key").to_pylist() == wanted


@given(
    st.lists(st.tuples(st.text(), st.text(), st.sampled_from(["", "1.500000000000"])), min_size=1)
)
def test_a_program_that_reads_csv_reads_what_was_written(tmp_path_factory, rows):
    rows = [[text.replace("\x00", "") for text in row] for row in rows]
    folder = tmp_path_factory.mktemp("csv")
    header = [("a", "text"), ("b", "text"), ("c", "money")]
    Folder(folder).write("a.csv", header, in_batches(["a", "b", "c"], rows))
    with (folder / "a.csv").open(encoding="utf-8", newline="") as text:
        assert list(csv.reader(text)) == [["a", "b", "c"], *rows]


COSTS = ("BilledCost", "ListCost", "PricingCurrencyEffectiveCost")


@given(st.sampled_from([("", 0), *((name, n) for name in COSTS for n in (-3, -1, 1, 3, 5))]),
       st.sampled_from(["USD", "EUR"]))  # fmt: skip
def test_a_price_that_does_not_make_the_cost_is_found_as_in_one_row(broken, currency):
    row = good_row() | {"PricingCurrency": currency}
    name, picos_off = broken
    if name:
        row[name] = f"{Decimal(row[name]) + Decimal(picos_off).scaleb(-12):.12f}"
    (columns,) = in_batches(list(row), [list((good_row() | row).values()), list(row.values())])
    found = focus_batches.fault_of_products(columns)
    assert found == fault_of_row(row, "1.4")


def rows_of(format, wanted, file_type, folder):
    """As whoever opens the file reads them, and the evidence."""
    evidence = Evidence()
    header = DATASETS[format].columns
    path = f"{format}.{file_type}"
    stored = Folder(folder).write(path, header, batches_of(format, wanted, evidence))
    if file_type == "csv":
        with (folder / path).open(encoding="utf-8", newline="") as text:
            rows = list(csv.DictReader(text))
    else:
        table = pq.read_table(folder / path)
        rows = [
            dict(zip(table.column_names, map(written, row.values()), strict=True))
            for row in table.to_pylist()
        ]
    assert stored.rows == len(rows)
    return rows, evidence


def written(cell):
    if isinstance(cell, Decimal):
        return f"{cell:f}"
    return cell.strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(cell, datetime) else cell or ""


def differences(wanted, folder):
    """Between every file of a range and the same done row by row."""
    own, costs = own_rows(wanted.start, wanted.end), focus_rows(wanted.start, wanted.end, "Fleet")
    found = []
    for format, file_type in product(("csv", *VERSIONS), ("csv", "parquet")):
        rows, evidence = rows_of(format, wanted, file_type, folder)
        sums = defaultdict(Decimal)
        for row in rows:
            currency = row["currency" if format == "csv" else "BillingCurrency"]
            sums[currency] += Decimal(row["amount" if format == "csv" else "BilledCost"])
        sold = [
            r for r in rows if r.get("ChargeCategory", "Usage") in ("Usage", "Purchase")
            and not r.get("InvoiceId", "").startswith("PREPAID-")
        ]  # fmt: skip
        for row, expected in zip(sold, own if format == "csv" else costs, strict=True):
            found += [
                (format, file_type, name, row[name], expected[name])
                for name in DATASETS[format].names
                if row[name] != expected[name]
            ]
        if sums != evidence.sums:
            found.append((format, file_type, sums, evidence.sums))
    return found


@pytest.fixture
def tokyo(db):
    found = make_tenant("tokyo", time_zone="Asia/Tokyo")
    with fleet_scope():
        type(found).objects.filter(pk=found.pk).update(name='=Tōkyō, "KK"')
        Application.objects.filter(tenant=found).update(cost_centre='47"11')
    return found


@pytest.fixture
def scattered(acme, globex, tokyo):
    """Charges as no rating run would write them, of tenants of three calendars."""
    with fleet_scope():
        type(globex).objects.filter(pk=globex.pk).update(time_zone="America/New_York")
    versions = [make_prices(), make_prices(now=OCTOBER)]

    def make(seed, count=150):
        dice = random.Random(seed)
        with fleet_scope():
            run = {"hours": 1, "charges": 1, "input_sha": "", "rules_version": "1"}
            run |= {"started_at": OCTOBER, "finished_at": OCTOBER}
            runs = [RatingRun.objects.create(**run) for _ in range(3)]
            Charge.objects.bulk_create(
                charge(dice, runs, versions, acme, globex, tokyo) for _ in range(count)
            )

    return make


def charge(dice, runs, versions, *tenants):
    tenant = dice.choice(tenants)
    meter = dice.choice(["prompt", "cached", "completion", "request", "gpu_second", "fee"])
    quantity = Decimal(dice.choice([-2, -1, 1, 2, 10**9])) / dice.choice([1, 1000])
    price = Decimal(dice.choice(["0.000000001", "7", "123456789.000000001"]))
    return Charge(
        run=dice.choice(runs),
        hour=MONTHS[10]
        + timedelta(hours=dice.choice([-9, -1, 0, 3, 4, 5, 700, 735, 743, 744, 750])),
        tenant_id=tenant.pk,
        application_id=dice.choice([0, tenant.app.pk]),
        model="" if meter == "fee" else dice.choice(["chat", 'a,"b"', "a\nb", "ü/x", "NA", "chat"]),
        traffic_class=dice.choice(["interactive", "batch"]),
        meter=meter,
        quantity=quantity,
        unit_price=price,
        amount=quantity * price,
        currency="USD",
        book_version=dice.choice(versions),
    )


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("rows", "most"), [(50_000, 20_000), (40, 9)])
def test_files_of_any_charges_are_what_each_row_says(
    scattered, tmp_path, monkeypatch, settings, seed, rows, most
):
    """In one batch, and in many whose lines are forgotten on the way."""
    settings.QM_ISSUER = "Fleet"
    monkeypatch.setattr(lines, "ROWS", rows)
    monkeypatch.setattr(lines, "MOST_LINES", most)
    # Some take back what nobody was charged, which the rules of FOCUS refuse.
    monkeypatch.setattr("billing.drive.rows.Checks", Unchecked)
    scattered(seed)
    with fleet_scope():
        assert differences(ChargeFilter(MONTHS[10], MONTHS[11]), tmp_path) == []


class Unchecked:
    def __init__(self, *_):
        pass

    def fault(self, *_):
        return ""


def test_files_of_billed_months_are_what_each_row_says(
    acme, globex, tokyo, gateway, tmp_path, settings
):
    """Packages, a fee, invoices in another currency, corrections, and what is not billed yet."""
    settings.QM_ISSUER = "Fleet"
    more = [read_line("chat", "request", "package 10:0.5")]
    make_prices(ODD_PRICES, more=more)
    sign(acme, ("", "fee", "flat 500"), starts_at=MONTHS[10])
    set_account(acme, currency="EUR", rate_source="ECB", taxes=(tax("VAT", "0.19"),))
    note_rate()
    for tenant in (acme, globex, tokyo):
        spend(gateway, tenant, prompt_tokens=1_001, cached_tokens=7)
        spend(gateway, tenant, at=OCTOBER + timedelta(days=3), traffic_class="batch")
    bill_month(acme)
    late = OCTOBER + timedelta(days=42)
    for tenant in (acme, globex):
        spend(gateway, tenant, at=OCTOBER + timedelta(days=3), now=late, prompt_tokens=111)
    make_prices({"chat": {m: p + 1 for m, p in ODD_PRICES["chat"].items()}}, now=late)
    spend(gateway, acme, at=late)
    with fleet_scope():
        for month in (10, 11):
            assert differences(ChargeFilter(MONTHS[month], MONTHS[month + 1]), tmp_path) == []
