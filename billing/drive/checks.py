"""Compare all sums in one snapshot, so that usage which comes in meanwhile makes no difference."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from django.db import connection, transaction

from billing.actions.bulk import in_bulk
from billing.actions.rated_again import rate_again
from billing.drive.rows import BadRow, Evidence, batches_of
from billing.models import Invoice
from billing.queries.charged import ChargeFilter
from billing.queries.checks import Check, run_checks
from billing.queries.file_checks import file_checks
from billing.queries.lines import Damaged
from billing.queries.other_checks import other_checks
from billing.queries.sums import Difference, name_of, slugs_of
from tenants.base.scope import fleet_scope

ZERO = Decimal(0)
FILE = "focus-1.4"
NEWEST = 10  # invoices whose rows of a file are made again


def check_all(since: datetime, now: datetime) -> list[Check]:
    with transaction.atomic():
        # The first statement decides the transaction's snapshot, so this comes before the scope.
        if connection.in_atomic_block and len(connection.savepoint_ids) == 0:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                # A part that is dropped between the snapshot and its reading would be missing.
                cursor.execute("LOCK TABLE ONLY usage_event IN ACCESS SHARE MODE")
        with fleet_scope(), connection.cursor() as cursor, in_bulk(cursor):
            return [
                *run_checks(since),
                *rate_again(since, now),
                *other_checks(since),
                _rows_of_invoices(),
                *file_checks(),
            ]


def _rows_of_invoices() -> Check:
    """Of the newest invoices: BilledCost of the rows that a file has, against the total."""
    newest = Invoice.objects.select_related("period").defer("snapshot", "pdf").order_by("-id")
    pairs = list(_sums(list(newest[:NEWEST])))
    wrong = [d for d in pairs if d.left != d.right]
    slugs = slugs_of(d.tenant_id for d in wrong)
    return Check(
        f"money: BilledCost by InvoiceId = invoices (the newest {NEWEST})",
        sum((d.left for d in pairs), ZERO),
        sum((d.right for d in pairs), ZERO),
        len(wrong),
        tuple(name_of(d, slugs) for d in wrong),
    )


def _sums(invoices: list[Invoice]) -> Iterator[Difference]:
    files: dict[int, Evidence] = {}
    for invoice in sorted(invoices, key=lambda i: i.pk):
        if invoice.period_id not in files:
            files[invoice.period_id] = _made_again(invoice)
        billed = files[invoice.period_id].invoices.get(invoice.number, ZERO)
        at = invoice.period.starts_at
        yield Difference(at, invoice.tenant_id, invoice.number, billed, invoice.total)


def _made_again(invoice: Invoice) -> Evidence:
    """A row that breaks its format ends the file: what is missing then is a difference."""
    period, evidence = invoice.period, Evidence()
    wanted = ChargeFilter(period.starts_at, period.ends_at, tenant_id=invoice.tenant_id)
    try:
        for _ in batches_of(FILE, wanted, evidence):
            pass
    except (BadRow, Damaged):
        pass
    return evidence
