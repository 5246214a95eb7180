"""Charges as lines of a file: one line an hour, key and price, differences summed up.

`read_lines` takes the charges of usage in a range, as pages do. `read_billed` takes those that are
billed in it: a correction of an earlier month stands in the month that it is billed in.
"""

from collections.abc import Generator, Iterator, Mapping
from datetime import datetime
from decimal import Decimal

from django.db import connection
from django.db.models import Max, Q, Sum

from billing.models import Invoice, InvoiceLine
from billing.queries.book_checks import OF_INVOICE
from billing.queries.charged import ChargeFilter
from billing.queries.hours import unrated_hours
from billing.queries.line_names import Names, detail_id
from billing.rules.focus import Extra, ExtraKind, Line
from billing.rules.invoices import LineKind
from tenants.queries.directory import TenantRef, tenant_refs

LINES = """
SELECT hour, tenant_id, application_id, model, traffic_class, meter, sum(quantity), unit_price,
    sum(amount), currency, book_version_id, max(run_id), NULL, NULL, false, NULL, NULL, max(id)
FROM charge WHERE hour >= %(start)s AND hour < %(end)s {where}
GROUP BY hour, tenant_id, application_id, model, traffic_class, meter, unit_price, currency,
    book_version_id
HAVING sum(quantity) <> 0
ORDER BY hour, tenant_id, application_id, model, traffic_class, meter, unit_price, book_version_id
"""
# What came after the first invoice of a period that was opened again corrects it as well.
BILLED_LINES = """
WITH periods AS MATERIALIZED (
    SELECT id, tenant_id, starts_at, ends_at,
        (SELECT min(i.upto_charge) FROM invoice i
            WHERE i.period_id = p.id AND i.id <= %(invoices)s) AS billed_upto
    FROM billing_period p WHERE ends_at > %(start)s AND starts_at < %(end)s
), billed AS (
    SELECT * FROM charge WHERE (correction_period_id IS NULL
            AND hour >= %(start)s AND hour < %(end)s
        OR correction_period_id IN (SELECT id FROM periods WHERE starts_at >= %(start)s)) {where}
)
SELECT c.hour, c.tenant_id, c.application_id, c.model, c.traffic_class, c.meter, sum(c.quantity),
    c.unit_price, sum(c.amount), c.currency, c.book_version_id, max(c.run_id), p.id, i.id,
    c.correction_period_id IS NOT NULL OR coalesce(c.id > p.billed_upto, false) AS corrects,
    i.currency, i.rate, max(c.id)
FROM billed c
LEFT JOIN periods p ON p.tenant_id = c.tenant_id AND (p.id = c.correction_period_id
    OR c.correction_period_id IS NULL AND c.hour >= p.starts_at AND c.hour < p.ends_at)
LEFT JOIN invoice i ON i.period_id = p.id AND i.priced_in = c.currency
    AND c.id > i.after_charge AND c.id <= i.upto_charge AND i.id <= %(invoices)s
GROUP BY c.hour, c.tenant_id, c.application_id, c.model, c.traffic_class, c.meter, c.unit_price,
    c.currency, c.book_version_id, p.id, i.id, corrects
HAVING sum(c.quantity) <> 0
ORDER BY c.hour, c.tenant_id, c.application_id, c.model, c.traffic_class, c.meter, c.unit_price,
    c.book_version_id, p.id, i.id, corrects
"""
# Rows are converted one by one, an invoice's line at once: what the rows of an invoice add up to.
CONVERTED = f"""
SELECT id, sum(round(amount * rate, 12)) FROM (
    SELECT i.id, i.rate, sum(c.amount) AS amount {OF_INVOICE} AND i.id = ANY(%s)
    GROUP BY i.id, c.hour, c.application_id, c.model, c.traffic_class, c.meter, c.unit_price,
        c.book_version_id) AS keys
GROUP BY id
"""
CHUNK = 2_000


def read_lines(wanted: ChargeFilter) -> Generator[tuple[Line, int]]:
    """Each line with the id of its newest charge. One statement, so one snapshot."""
    return _read(LINES, wanted)


def newest_invoice() -> int:
    """Read it first: lines, extras and totals of one file then know the same invoices.

    Invoices are issued one after another, so a lower id is never committed later.
    """
    return Invoice.objects.aggregate(newest=Max("id"))["newest"] or 0


def read_billed(wanted: ChargeFilter, *, invoices: int) -> Generator[tuple[Line, int]]:
    """The same of what is billed in the range, with the invoice that it is on."""
    return _read(BILLED_LINES, wanted, invoices=invoices)


def _read(sql: str, wanted: ChargeFilter, **more: int) -> Generator[tuple[Line, int]]:
    where, given = wanted.conditions()
    given |= {"start": wanted.start, "end": wanted.end, **more}
    names = Names()
    with connection.chunked_cursor() as cursor:
        cursor.execute(sql.format(where=where), given)
        while rows := cursor.fetchmany(CHUNK):
            for row in rows:
                yield names.line(row), row[-1]


def read_extras(wanted: ChargeFilter, *, invoices: int) -> Iterator[Extra]:
    """Promotions, taxes and rounding of invoices whose period begins in the range."""
    names = tenant_refs()
    rows = InvoiceLine.objects.filter(
        invoice_id__lte=invoices,
        invoice__period__starts_at__gte=wanted.start,
        invoice__period__starts_at__lt=wanted.end,
        kind__in=list(ExtraKind),
    ).select_related("invoice__period")
    if wanted.tenant_id:
        rows = rows.filter(tenant_id=wanted.tenant_id)
    heavy = ("invoice__snapshot", "invoice__pdf")
    for row in rows.defer(*heavy).order_by("invoice_id", "position").iterator(CHUNK):
        place = detail_id(row.invoice.number, row.position)
        tenant = names[row.tenant_id]
        yield _extra(row.invoice, tenant, ExtraKind(row.kind), row.name, row.exact, place)
    yield from _conversions(wanted, invoices, names)


def _conversions(
    wanted: ChargeFilter, invoices: int, names: Mapping[int, TenantRef]
) -> Iterator[Extra]:
    """What converting row by row leaves of the exact lines of an invoice, as a row of its own."""
    rows = Invoice.objects.filter(
        pk__lte=invoices,
        rate_on__isnull=False,
        period__starts_at__gte=wanted.start,
        period__starts_at__lt=wanted.end,
    )
    if wanted.tenant_id:
        rows = rows.filter(tenant_id=wanted.tenant_id)
    lines = Sum("lines__exact", filter=Q(lines__kind__in=(LineKind.USAGE, LineKind.CORRECTION)))
    found = rows.select_related("period").defer("snapshot", "pdf").annotate(exact=lines)
    converted = list(found.order_by("pk"))
    with connection.cursor() as cursor:
        cursor.execute(CONVERTED, [[row.pk for row in converted]])
        sums: dict[int, Decimal] = dict(cursor.fetchall())
    for row in converted:
        if left := row.exact - sums[row.pk]:
            tenant, name = names[row.tenant_id], "Conversion of each row"
            yield _extra(row, tenant, ExtraKind.ROUNDING, name, left, "")


def _extra(
    invoice: Invoice, tenant: TenantRef, kind: ExtraKind, name: str, amount: Decimal, place: str
) -> Extra:
    return Extra(
        kind=kind,
        name=name,
        tenant=tenant.slug,
        tenant_name=tenant.name,
        amount=amount,
        currency=invoice.currency,
        period=invoice.period.name,
        period_start=invoice.period.starts_at,
        period_end=invoice.period.ends_at,
        invoice=invoice.number,
        invoice_line=place,
        demo=tenant.demo,
    )


def whole_invoices(wanted: ChargeFilter, *, invoices: int) -> dict[str, Decimal]:
    """Totals of the invoices whose whole period lies in the range: a file holds all of them."""
    rows = Invoice.objects.filter(
        pk__lte=invoices, period__starts_at__gte=wanted.start, period__ends_at__lte=wanted.end
    )
    if wanted.tenant_id:
        rows = rows.filter(tenant_id=wanted.tenant_id)
    return dict(rows.values_list("number", "total"))


def complete_until(wanted: ChargeFilter, now: datetime) -> datetime:
    """Usage that ended before this is charged. Read it before the lines, never after."""
    tenants = [wanted.tenant_id] if wanted.tenant_id else None
    waiting = unrated_hours(wanted.start, wanted.end, tenants)
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    return min([wanted.end, max(this_hour, wanted.start), *(hour for hour, _ in waiting)])
