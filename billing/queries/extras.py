"""Rows of files that are no charges: what else stands on invoices, and credit notes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from django.db import connection
from django.db.models import Max, Q, QuerySet, Sum

from billing.models import CreditNote, CreditNoteLine, Invoice, InvoiceLine
from billing.queries.book_checks import OF_INVOICE
from billing.queries.calendars import read_calendars
from billing.queries.charged import ChargeFilter
from billing.queries.line_names import detail_id
from billing.rules.calendars import Calendar
from billing.rules.focus import Extra, ExtraKind
from billing.rules.invoices import LineKind
from tenants.queries.directory import TenantRef, tenant_refs

# Rows are converted one by one, an invoice's line at once: what the rows of an invoice add up to.
CONVERTED = f"""
SELECT id, sum(round(amount * rate, 12)) FROM (
    SELECT i.id, i.rate, sum(c.amount) AS amount {OF_INVOICE} AND i.id = ANY(%s)
    GROUP BY i.id, c.hour, c.application_id, c.model, c.traffic_class, c.meter, c.unit_price,
        c.book_version_id, c.runs_on) AS keys
GROUP BY id
"""
CHUNK = 2_000
HEAVY = ("invoice__snapshot", "invoice__pdf")


@dataclass(frozen=True, slots=True)
class Documents:
    """The newest of each kind that a file knows.

    Each kind is issued one after another, so a lower id is never committed later.
    """

    invoices: int
    notes: int


def newest_documents() -> Documents:
    """Read it first: lines, extras and totals of one file then know the same documents."""
    newest = [m.objects.aggregate(newest=Max("id"))["newest"] or 0 for m in (Invoice, CreditNote)]
    return Documents(*newest)


def read_extras(wanted: ChargeFilter, *, known: Documents) -> Iterator[Extra]:
    """Promotions, taxes and rounding of invoices whose period begins in the range; then what
    credit notes gave back in it."""
    names = tenant_refs()
    rows = InvoiceLine.objects.filter(
        invoice_id__lte=known.invoices,
        invoice__period__starts_at__gte=wanted.start,
        invoice__period__starts_at__lt=wanted.end,
        kind__in=list(ExtraKind),
    ).select_related("invoice__period")
    if wanted.tenant_id:
        rows = rows.filter(tenant_id=wanted.tenant_id)
    for row in rows.defer(*HEAVY).order_by("invoice_id", "position").iterator(CHUNK):
        place = detail_id(row.invoice.number, row.position)
        tenant = names[row.tenant_id]
        yield _of_invoice(row.invoice, tenant, ExtraKind(row.kind), row.name, row.exact, place)
    yield from _conversions(wanted, known, names)
    yield from _given_back(wanted, known, names)


def _conversions(
    wanted: ChargeFilter, known: Documents, names: Mapping[int, TenantRef]
) -> Iterator[Extra]:
    """What converting row by row leaves of the exact lines of an invoice, as a row of its own."""
    rows = Invoice.objects.filter(
        pk__lte=known.invoices,
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
            yield _of_invoice(row, tenant, ExtraKind.ROUNDING, name, left, "")


def _of_invoice(
    invoice: Invoice, tenant: TenantRef, kind: ExtraKind, name: str, amount: Decimal, place: str
) -> Extra:
    period = invoice.period
    return Extra(
        kind=kind,
        name=name,
        tenant=tenant.slug,
        tenant_name=tenant.name,
        amount=amount,
        currency=invoice.currency,
        period=period.name,
        period_start=period.starts_at,
        period_end=period.ends_at,
        charged_start=period.starts_at,
        charged_end=period.ends_at,
        invoice=invoice.number,
        invoice_line=place,
        demo=tenant.demo,
    )


def _notes(wanted: ChargeFilter, known: Documents) -> QuerySet[CreditNote]:
    rows = CreditNote.objects.filter(
        pk__lte=known.notes, issued_at__gte=wanted.start, issued_at__lt=wanted.end
    )
    return rows.filter(tenant_id=wanted.tenant_id) if wanted.tenant_id else rows


def _given_back(
    wanted: ChargeFilter, known: Documents, names: Mapping[int, TenantRef]
) -> Iterator[Extra]:
    """A credit note is billed in the month in which it is issued; what it corrects was earlier."""
    notes = list(_notes(wanted, known).defer("snapshot", "pdf").select_related("invoice__period"))
    calendars = read_calendars([names[pk] for pk in {n.tenant_id for n in notes}])
    lines: dict[int, list[CreditNoteLine]] = {}
    for row in CreditNoteLine.objects.filter(note__in=notes).select_related("line"):
        lines.setdefault(row.note_id, []).append(row)
    for note in sorted(notes, key=lambda n: n.pk):
        tenant = names[note.tenant_id]
        yield from _of_note(note, lines[note.pk], tenant, calendars[tenant.id])


def _of_note(
    note: CreditNote, lines: list[CreditNoteLine], tenant: TenantRef, calendar: Calendar
) -> Iterator[Extra]:
    month, invoiced = calendar.month_at(note.issued_at), note.invoice.period

    def extra(kind: ExtraKind, name: str, amount: Decimal, place: str) -> Extra:
        return Extra(
            kind=kind,
            name=f"{name} (credit of {note.invoice.number})",
            tenant=tenant.slug,
            tenant_name=tenant.name,
            amount=-amount,
            currency=note.currency,
            period=month.name,
            period_start=month.starts_at,
            period_end=month.ends_at,
            charged_start=invoiced.starts_at,
            charged_end=invoiced.ends_at,
            invoice=note.number,
            invoice_line=place,
            demo=tenant.demo,
            corrects=True,
        )

    for row in sorted(lines, key=lambda r: r.position):
        if not row.amount:
            continue  # all of it went back to a promotion
        place = detail_id(note.number, row.position)
        yield extra(ExtraKind.CREDIT, row.line.name, row.amount, place)
    if note.tax:
        yield extra(ExtraKind.TAX, "Tax", note.tax, f"{note.number}/tax")


def whole_documents(wanted: ChargeFilter, *, known: Documents) -> dict[str, Decimal]:
    """Totals of the documents that a file holds all of: invoices whose whole period lies in the
    range, and credit notes that were issued in it."""
    rows = Invoice.objects.filter(
        pk__lte=known.invoices,
        period__starts_at__gte=wanted.start,
        period__ends_at__lte=wanted.end,
    )
    if wanted.tenant_id:
        rows = rows.filter(tenant_id=wanted.tenant_id)
    notes = _notes(wanted, known).exclude(total=0).values_list("number", "total")
    given_back = {number: -total for number, total in notes}
    return dict(rows.values_list("number", "total")) | given_back
