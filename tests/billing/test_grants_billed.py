"""Credits on invoices: taxed or paid as they are, expired once, in every file."""

import json
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection

from billing.actions.credits import Given, issue_credit_note
from billing.actions.grants import expire_due
from billing.actions.invoices import issue_invoices
from billing.drive.rows import Evidence, batches_of
from billing.models import LedgerAccount
from billing.queries.accounts import balances, statement
from billing.queries.charged import ChargeFilter
from billing.queries.grants import left_of, list_entries
from billing.queries.invoices import get_invoice
from billing.rules.grants import Scope
from billing.rules.journal import ACCOUNTS
from tenants.base.scope import fleet_scope
from tests.billing import factories
from tests.billing.books import (
    NOVEMBER,
    OCTOBER,
    bill_month,
    close_month,
    find_period,
    set_account,
    tax,
)
from tests.billing.factories import SYSTEM, make_prices
from tests.billing.granted import (
    PRICES,
    all_checks_hold,
    buy,
    fresh,
    granted,
    legs,
    person,
)


@pytest.mark.django_db
def test_a_promotion_lowers_the_net_and_its_tax(fin, vic, priced, acme, gateway):
    set_account(acme, taxes=(tax("VAT", "0.10"),))
    buy(gateway, acme, 30)
    granted(fin, vic, acme)
    invoice = bill_month(acme)
    assert (invoice.net, invoice.tax, invoice.total) == (20, 2, 22)
    with fleet_scope():
        line = invoice.lines.get(kind="promotion")
        assert (line.name, line.amount, line.exact) == ("Welcome", -10, -10)
        assert legs("promotions") == 10
        assert legs("revenue") == -30
        assert legs("receivable") == 22
        document = json.loads(invoice.snapshot)
    assert document["to_pay"] == "22.00"
    assert document["lines"][1]["amount"] == "-10.00"
    all_checks_hold()


@pytest.mark.django_db
def test_a_prepaid_credit_pays_the_total_and_leaves_net_and_tax(fin, vic, priced, acme, gateway):
    set_account(acme, taxes=(tax("VAT", "0.10"),))
    buy(gateway, acme, 30)
    granted(fin, vic, acme, paid=True, reference="bank-7", amount=Decimal(100), name="Prepaid")
    with fleet_scope():
        assert (legs("bank"), legs("prepaid_credits")) == (100, -100)
    invoice = bill_month(acme)
    assert (invoice.net, invoice.tax, invoice.total) == (30, 3, 33)
    with fleet_scope():
        found = get_invoice(SYSTEM, invoice.number)
        assert (found.prepaid, found.to_pay) == (30, 3)
        assert legs("prepaid_credits") == -70
        assert balances(SYSTEM)[acme.pk] == {"USD": Decimal(3)}
        entries = [(e.txn.kind, e.amount) for e in statement(SYSTEM, acme.pk)]
        assert entries == [("prepaid_use", -30), ("invoice", 33)]
        assert left_of(SYSTEM, acme.pk) == {("USD", True): Decimal(70)}
        document = json.loads(invoice.snapshot)
        assert document["prepaid"][0] | {"grant": 0} == {
            "grant": 0, "name": "Prepaid", "amount": "30.00"
        }  # fmt: skip
        assert document["to_pay"] == "3.00"
        note = issue_credit_note(
            SYSTEM, invoice.number, lines=[Given(1, Decimal(5))], why="outage", now=NOVEMBER
        )
        assert note.total == Decimal("5.50"), "what was paid ahead can be given back"
    all_checks_hold()


@pytest.mark.django_db
def test_it_draws_by_priority_then_by_what_expires_first(fin, vic, priced, acme, gateway):
    buy(gateway, acme, 25)
    last = granted(fin, vic, acme, priority=200)
    late = granted(fin, vic, acme, expires_at=NOVEMBER + timedelta(days=9))
    soon = granted(fin, vic, acme, expires_at=NOVEMBER + timedelta(days=2))
    bill_month(acme)
    assert [fresh(g).rest for g in (soon, late, last)] == [0, 0, 5]
    all_checks_hold()


@pytest.mark.django_db
def test_it_pays_only_for_what_it_is_for(fin, vic, priced, acme, gateway):
    buy(gateway, acme, 4, completion=3)
    buy(gateway, acme, 5, model="code", completion=1)
    by_meter = granted(fin, vic, acme, scope=Scope("", "completion"), amount=Decimal(20))
    by_service = granted(fin, vic, acme, scope=Scope("code", ""), amount=Decimal(20))
    invoice = bill_month(acme)
    assert [fresh(g).rest for g in (by_meter, by_service)] == [12, 15]
    assert invoice.total == 4
    with fleet_scope():
        lines = [
            (e.line.model, e.line.meter, e.amount) for e in by_service.entries.filter(kind="used")
        ]
    assert lines == [("code", "prompt", -5)]
    all_checks_hold()


@pytest.mark.django_db
def test_what_is_left_pays_on_the_next_invoice(fin, vic, priced, acme, gateway):
    buy(gateway, acme, 6)
    buy(gateway, acme, 6, at=OCTOBER + timedelta(days=31))
    grant = granted(fin, vic, acme)
    later = NOVEMBER + timedelta(days=15)
    assert bill_month(acme).total == 0
    assert bill_month(acme, "2026-11", now=later).total == 2
    with fleet_scope():
        rows = list_entries(SYSTEM, fresh(grant))
        assert [(e.kind, e.amount, e.left) for e in rows] == [
            ("used", -4, 0),
            ("used", -6, 4),
            ("granted", 10, 10),
        ]
    all_checks_hold()


@pytest.mark.django_db
def test_what_expires_is_breakage_once_and_pays_for_nothing_more(fin, vic, priced, acme, gateway):
    buy(gateway, acme, 6)
    end = NOVEMBER + timedelta(days=1)
    paid = granted(fin, vic, acme, paid=True, reference="bank-1", expires_at=end)
    free = granted(fin, vic, acme, expires_at=end, priority=200)
    bill_month(acme)
    assert expire_due(end - timedelta(seconds=1)) == 0
    assert expire_due(end) == 2
    assert expire_due(end) == 0
    assert [(fresh(g).state, fresh(g).rest) for g in (paid, free)] == [("expired", 0)] * 2
    with fleet_scope():
        assert legs("breakage") == -4
        assert legs("prepaid_credits") == 0
        assert legs("promotions") == 0
    all_checks_hold()


@pytest.mark.django_db
def test_an_invoice_draws_on_nothing_whose_time_is_over(fin, vic, priced, acme, gateway):
    buy(gateway, acme, 6)
    grant = granted(fin, vic, acme, expires_at=NOVEMBER + timedelta(hours=1))
    assert bill_month(acme, now=NOVEMBER + timedelta(hours=1)).total == 6
    assert fresh(grant).rest == 10


# Concurrency


@pytest.mark.django_db(transaction=True)
def test_two_invoices_at_once_spend_a_credit_once(gateway):
    """Two periods of one account and two threads: together they use what was granted, no more."""
    make_prices(PRICES)
    acme = factories.make_tenant("acme")
    fin, vic = person("fiona", "finance"), person("vic", "approver")
    buy(gateway, acme, 8)
    buy(gateway, acme, 8, at=OCTOBER + timedelta(days=31))
    grant = granted(fin, vic, acme)
    later = NOVEMBER + timedelta(days=15)
    periods = [close_month(acme, now=later).pk, close_month(acme, "2026-11", now=later).pk]
    totals, faults, gate = [], [], threading.Barrier(3)

    def work(job):
        gate.wait()
        try:
            totals.append(job())
        except Exception as error:  # noqa: BLE001  # told by the main thread
            faults.append(error)
        finally:
            connection.close()

    def bill(period_id):
        with fleet_scope():
            return sum(i.total for i in issue_invoices(SYSTEM, period_id, now=later))

    jobs = [lambda: bill(periods[0]), lambda: bill(periods[1]), lambda: expire_due(later)]
    threads = [threading.Thread(target=work, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert sum(totals) == 6
    assert fresh(grant).rest == 0
    with fleet_scope():
        assert find_period(acme).state == "closed"
    all_checks_hold()


@pytest.mark.django_db
@pytest.mark.parametrize("format", ["focus-1.4", "focus-1.3", "focus-1.2"])
def test_a_focus_file_has_the_promotion_and_adds_up(fin, vic, priced, acme, gateway, format):
    """Rows that break a rule, or do not sum to the invoice's total, would raise."""
    set_account(acme, taxes=(tax("VAT", "0.10"),))
    buy(gateway, acme, 30)
    granted(fin, vic, acme)
    granted(fin, vic, acme, paid=True, reference="bank-7", amount=Decimal(5))
    invoice = bill_month(acme)
    evidence = Evidence()
    with fleet_scope():
        wanted = ChargeFilter(invoice.period.starts_at, invoice.period.ends_at)
        batches = list(batches_of(format, wanted, evidence))
    columns = [[b[n].to_pylist() for n in ("ChargeCategory", "ChargeDescription")] for b in batches]
    assert [
        1 for kinds, names in columns if ("Credit", "Welcome") in zip(kinds, names, strict=True)
    ]
    assert dict(evidence.invoices) == {invoice.number: invoice.total} == {"INV-000001": 22}


@pytest.mark.django_db
@pytest.mark.parametrize("format", ["focus-1.4-invoice-detail", "chargeback", "ledger"])
def test_every_other_file_takes_credits_as_well(fin, vic, priced, acme, gateway, format):
    """Rows that break a rule of their file would raise."""
    buy(gateway, acme, 30)
    granted(fin, vic, acme)
    granted(fin, vic, acme, paid=True, reference="bank-7", amount=Decimal(5))
    bill_month(acme)
    with fleet_scope():
        LedgerAccount.objects.bulk_create(
            LedgerAccount(account=name, number=str(n), name=name)
            for n, name in enumerate(ACCOUNTS, start=1000)
        )
        wanted = ChargeFilter(datetime(2026, 10, 1, tzinfo=UTC), NOVEMBER + timedelta(days=1))
        batches = list(batches_of(format, wanted, Evidence()))
    cells = {c for batch in batches for column in batch.values() for c in column.to_pylist()}
    assert {"Welcome", "promotion", "promotions"} & cells
