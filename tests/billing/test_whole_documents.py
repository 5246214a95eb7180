"""What was committed takes no further row, and nothing is committed by halves.

The application's own role says it in plain SQL, balanced and in good order.
"""

from contextlib import contextmanager
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction

from billing.actions.credits import Given, issue_credit_note
from billing.actions.grants import expire_due
from billing.actions.journal import post
from billing.models import CreditEntry, DocumentSeries, JournalTxn
from billing.rules.journal import legs_of_payment
from tenants.base.scope import fleet_scope
from tests.billing.books import NOVEMBER, ODD_PRICES, bill_month, spend
from tests.billing.factories import SYSTEM, make_prices
from tests.billing.granted import all_checks_hold, ask, granted, person

pytestmark = pytest.mark.django_db(transaction=True)

LINES = """INSERT INTO invoice_line (tenant_id, invoice_id, position, kind, name, model, meter,
    runs_on, corrects, exact, amount, tax, charges, charges_sha256, starts_at, ends_at)
    SELECT tenant_id, invoice_id, position + 100 + n, kind, 'forged', model, meter, runs_on,
    corrects, n * 5, n * 5, 0, 0, '', starts_at, ends_at FROM invoice_line,
    (VALUES (1), (-1)) AS v(n) WHERE position = 1"""
AGAIN = (
    LINES.partition("SELECT")[0]
    + """SELECT tenant_id, %s, position, kind, name, model, meter, runs_on, corrects, exact, amount,
    tax, charges, charges_sha256, starts_at, ends_at FROM invoice_line WHERE invoice_id = %s"""
)
LEGS = """INSERT INTO journal_leg (tenant_id, txn_id, account, currency, amount)
    SELECT t.tenant_id, t.id, v.account, 'USD', v.amount FROM journal_txn t,
    (VALUES ('receivable', -500), ('revenue', 500)) AS v(account, amount)"""
GIVEN = """INSERT INTO credit_note_line (tenant_id, note_id, line_id, position, amount, promoted,
    tax) SELECT tenant_id, note_id, line_id, position + 1, 0, 0.01, 0 FROM credit_note_line"""


@pytest.fixture
def invoice(acme, gateway):
    make_prices(ODD_PRICES)
    spend(gateway, acme)
    return bill_month(acme)


@pytest.fixture
def note(invoice):
    with fleet_scope():
        return give(invoice)


def give(invoice):
    line = invoice.lines.filter(amount__gt=Decimal("0.02")).order_by("position").first()
    given = [Given(line.position, Decimal("0.01"))]
    return issue_credit_note(SYSTEM, invoice.number, lines=given, why="w", now=NOVEMBER)


@contextmanager
def refused(said):
    """At once or at the commit."""
    with pytest.raises(DatabaseError, match=said), fleet_scope(), transaction.atomic():
        yield


def run(statement, *values):
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def copied(row, **changes):
    """A copy of a document's row, as the application would write it."""
    changes = {"pk": None, "_state": type(row._state)(), **changes}
    vars(row).update(changes, id=None)
    return row.save(force_insert=True)


@pytest.mark.parametrize(
    ("statement", "table"),
    [(LINES, "invoice_line"), (LEGS, "journal_leg"), (GIVEN, "credit_note_line")],
)
def test_no_row_joins_what_was_committed_though_it_adds_up(note, statement, table):
    with refused(f"no row of {table} joins what was written before"):
        run(statement)
    all_checks_hold()


def test_lines_join_their_own_document_through_savepoints(invoice):
    """What is written in a savepoint has another id of a transaction than what is around it."""
    with fleet_scope(), transaction.atomic():
        with transaction.atomic():
            note = give(invoice)
        transaction.savepoint_rollback(undone(invoice))
        with transaction.atomic():
            again = give(invoice)
    with fleet_scope():
        assert note.lines.count() == again.lines.count() == 1
        assert (note.number, again.number) == ("CN-000001", "CN-000002")
    all_checks_hold()


def undone(invoice):
    savepoint = transaction.savepoint()
    give(invoice)
    return savepoint


def test_a_savepoint_makes_nothing_new_of_what_was_committed(invoice):
    with refused("joins what was written before"):
        run("SELECT pg_current_xact_id()")
        run("SAVEPOINT inner_one")
        run(LINES)


def test_no_invoice_is_committed_without_lines(invoice):
    with refused("has no lines"):
        series = take_one("invoice")
        copied(invoice, sequence=series, number=f"INV-{series:06}", after_charge=10**9)


def test_no_credit_note_is_committed_without_lines(note):
    with refused("has no lines"):
        series = take_one("credit")
        copied(note, sequence=series, number=f"CN-{series:06}")


def test_no_document_is_committed_without_its_entry_in_the_journal(invoice):
    with refused("is not in the journal"):
        series, old = take_one("invoice"), invoice.pk
        copied(invoice, sequence=series, number=f"INV-{series:06}", **goes_on(invoice))
        run(AGAIN, invoice.pk, old)


@pytest.mark.parametrize("after", [-1, 10**6])
def test_no_charge_is_billed_twice_and_none_is_left_out(invoice, after):
    """The same lines again, for charges that an invoice has already or beyond those."""
    old = invoice.pk
    with refused("does not go on where the one before it ended"):
        number = take_one("invoice")
        copied(invoice, sequence=number, number=f"INV-{number:06}", after_charge=after)
        run(AGAIN, invoice.pk, old)


def goes_on(invoice):
    return {"after_charge": invoice.upto_charge, "upto_charge": invoice.upto_charge + 1}


def take_one(kind):
    series = DocumentSeries.objects.get(kind=kind)
    series.last_number += 1
    series.save()
    return series.last_number


@pytest.mark.parametrize("sequence", [1, 2, 999])
def test_a_number_is_the_next_of_its_series(invoice, sequence):
    number = f"INV-{sequence:06}"
    with refused("was not taken from its series|invoice_sequence"):
        copied(invoice, sequence=sequence, number=number, after_charge=10**9)


def test_a_number_says_its_sequence_and_a_total_is_not_below_zero(invoice):
    with refused("was not taken from its series"):
        copied(invoice, sequence=take_one("invoice"), number="INV-000007", after_charge=10**9)
    with refused("not below zero"):
        number = take_one("invoice")
        copied(
            invoice, sequence=number, number=f"INV-{number:06}", after_charge=10**9,
            net=-1, tax=0, total=-1,
        )  # fmt: skip


def test_numbers_begin_at_one(db):
    with refused("begin at one"):
        DocumentSeries.objects.create(issuer="Somebody", kind="invoice", last_number=41)


def test_no_transaction_is_committed_without_legs_or_without_its_document(invoice):
    common = {"tenant_id": invoice.tenant_id, "at": NOVEMBER, "by": "x"}
    with refused("has no legs"):
        JournalTxn.objects.create(key="a", kind="payment", document="R-1", **common)
    with refused("has no legs, or no document"):
        legs = legs_of_payment(Decimal(5))
        post(key="invoice:b", kind="invoice", document="INV-9", currency="USD", legs=legs, **common)


def test_no_second_transaction_moves_what_a_document_asks_for(invoice):
    with refused("has no legs, or no document"):
        post(
            invoice.tenant_id, key="again", kind="invoice", document=invoice.number,
            currency="USD", legs=legs_of_payment(Decimal(5)), at=NOVEMBER, by="x",
        )  # fmt: skip


def test_a_credit_is_used_by_an_invoice_of_its_own_transaction(invoice, acme):
    fin, vic = person("fin", "finance"), person("vic", "approver")
    grant = granted(fin, vic, acme)
    waiting = ask(fin, acme)
    line = invoice.lines.order_by("position").first()
    entry = {"tenant_id": acme.pk, "at": NOVEMBER, "by": "x"}
    on = {"invoice": invoice, "line": line}
    for kind, amount, more in (
        ("used", -1, {"grant": grant, **on}),
        ("expired", -10, {"grant": grant}),
        ("granted", 10, {"grant": waiting}),
        ("gift", -1, {"grant": grant}),
    ):
        with refused("spent once|never"):
            CreditEntry.objects.create(kind=kind, amount=amount, **entry, **more)
    assert expire_due(NOVEMBER) == 0


def test_a_temporary_table_hides_nothing_from_a_trigger(invoice):
    """Names were looked up in the writer's own path, where a temporary table comes first."""
    with refused("sum to zero|joins what"):
        run("CREATE TEMPORARY TABLE journal_leg (LIKE public.journal_leg)")
        run("CREATE TEMPORARY TABLE journal_txn (LIKE public.journal_txn)")
        run(LEGS.replace("journal_leg", "public.journal_leg").replace(
            "journal_txn t", "public.journal_txn t").replace("-500", "-499"))  # fmt: skip


def test_every_trigger_function_looks_at_the_schema_alone(db):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT p.proname FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang"
            " WHERE p.pronamespace = current_schema()::regnamespace AND l.lanname = 'plpgsql'"
            " AND (p.prosecdef OR p.prorettype = 'trigger'::regtype)"
            " AND p.proname <> 'qm_append_only'"
            " AND NOT coalesce(array_to_string(p.proconfig, ',') LIKE '%search_path=%', false)"
        )
        assert cursor.fetchall() == []


def test_a_period_begins_open(invoice):
    with refused("begins open"):
        run(
            "INSERT INTO billing_period (tenant_id, name, time_zone, starts_at, ends_at, state,"
            " closed_by, reopened_by_change) VALUES (%s, '2020-01', 'UTC', '2020-01-01',"
            " '2020-02-01', 'closed', '', 0)",
            invoice.tenant_id,
        )


@pytest.mark.parametrize(
    "change", ["closed_by = 'somebody'", "closed_at = now()", "cut_off = now()"]
)
def test_who_closed_a_period_stays(invoice, change):
    with refused("who closed a billing period"):
        run(f"UPDATE billing_period SET {change} WHERE id = %s", invoice.period_id)
