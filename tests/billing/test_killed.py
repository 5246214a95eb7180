"""A worker that dies before any statement of an act leaves nothing; the next one does it."""

import hashlib
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction

from billing.actions.allocation import allocate_due
from billing.actions.calendars import keep_periods
from billing.actions.credits import Given, issue_credit_note
from billing.actions.ingest import ingest
from billing.actions.invoices import issue_invoices
from billing.actions.periods import close, start_closing
from billing.actions.rating import rate_due
from billing.actions.rollup import roll_up
from billing.drive.checks import check_all
from billing.models import Invoice
from tenants.base.scope import fleet_scope
from tests.billing.books import (
    GRACE,
    NOVEMBER,
    OCTOBER,
    ODD_PRICES,
    engines_agree,
    find_period,
    set_account,
)
from tests.billing.damaged import LATER, fleet
from tests.billing.factories import HOUR, SYSTEM, batch, make_prices, usage
from tests.billing.granted import granted
from tests.billing.life import Killed, KilledAt

pytestmark = pytest.mark.django_db
TABLES = (
    "usage_event",
    "usage_seen",
    "prefix_report",
    "prefix_hour",
    "usage_hour",
    "usage_hour_head",
    "usage_hour_mark",
    "charge",
    "charge_day",
    "unpriced_usage",
    "billing_period",
    "invoice",
    "invoice_line",
    "credit_note",
    "credit_note_line",
    "credit_entry",
    "journal_txn",
    "journal_leg",
    "document_series",
    "finance_event",
    "audit_event",
    "allocation_run",
    "cost_pool",
    "allocation",
    "cost_day",
    "export_job",
    "rating_run",
)
MOST = 400  # statements of an act


def state():
    """Of all tables that an act may write, as one digest."""
    found = hashlib.sha256()
    with fleet_scope(), connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"SELECT t::text FROM {table} t ORDER BY 1")
            found.update(repr(cursor.fetchall()).encode())
    return found.hexdigest()


def die_everywhere(act):
    """Killed before its first statement, then its second, and so on; how often, until it lived."""
    before = state()
    for statement in range(1, MOST):
        try:
            with transaction.atomic(), connection.execute_wrapper(KilledAt(statement)):
                act()
        except Killed:
            assert state() == before, f"{act} left something when it died at {statement}"
        else:
            return statement - 1
    raise AssertionError("it never came to its end")


def in_fleet(act, *given, **more):
    def scoped():
        with fleet_scope():
            return act(*given, **more)

    return scoped


def test_whoever_dies_at_any_statement_loses_nothing_and_does_nothing_twice(
    acme, gateway, fin, vic, settings, tmp_path
):
    settings.QM_EXPORTS_DIR = tmp_path
    service = fleet()
    make_prices(ODD_PRICES)
    set_account(acme)
    granted(fin, vic, acme, now=OCTOBER, name="Welcome", amount=Decimal("0.02"))
    october = batch(*(usage(acme, at=OCTOBER + timedelta(hours=n)) for n in (0, 1)))
    november = batch(usage(acme, at=HOUR, service_id=service.pk, gpu_ms=400_000))
    keep_periods(OCTOBER)
    keep_periods(NOVEMBER)
    kills = die_everywhere(lambda: ingest(gateway, october, now=OCTOBER + timedelta(hours=1)))
    kills += die_everywhere(lambda: ingest(gateway, november, now=NOVEMBER))
    kills += die_everywhere(lambda: roll_up(NOVEMBER))
    kills += die_everywhere(lambda: rate_due(NOVEMBER, early=True))
    keep_periods(NOVEMBER)
    kills += die_everywhere(lambda: allocate_due(LATER))
    engines_agree()
    pk = in_fleet(find_period, acme)().pk
    kills += die_everywhere(in_fleet(start_closing, SYSTEM, pk, now=NOVEMBER))
    kills += die_everywhere(in_fleet(close, SYSTEM, pk, now=NOVEMBER, grace=GRACE))
    kills += die_everywhere(in_fleet(issue_invoices, SYSTEM, pk, now=NOVEMBER))
    invoice = in_fleet(Invoice.objects.get)()
    given = [Given(2, Decimal("0.01"))]
    kills += die_everywhere(
        in_fleet(issue_credit_note, SYSTEM, invoice.number, lines=given, why="x", now=NOVEMBER)
    )
    assert kills > 100
    wrong = [c for c in check_all(OCTOBER - timedelta(days=9), NOVEMBER) if not c.holds]
    assert wrong == []
