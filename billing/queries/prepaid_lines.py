"""Entries of prepaid credits as rows of files."""

from collections.abc import Iterator

from django.db.models import Q

from billing.models import BillingPeriod, CreditEntry
from billing.queries.calendars import read_calendars
from billing.queries.charged import ChargeFilter
from billing.queries.extras import Documents
from billing.rules.calendars import Calendar
from billing.rules.focus_prepaid import Prepaid
from billing.rules.grants import EntryKind
from tenants.queries.directory import TenantRef, tenant_refs
from tenants.rules.quotas import Month

CHUNK = 2_000


def read_prepaid(wanted: ChargeFilter, *, known: Documents) -> Iterator[Prepaid]:
    """What was bought, given back or lost in the range, and what paid invoices of its periods."""
    inside = Q(at__gte=wanted.start, at__lt=wanted.end)
    rows = CreditEntry.objects.filter(
        inside & Q(kind__in=(EntryKind.GRANTED, EntryKind.EXPIRED))
        | inside & Q(kind=EntryKind.UNDONE, note_id__lte=known.notes)
        | Q(
            kind=EntryKind.USED,
            invoice_id__lte=known.invoices,
            invoice__period__starts_at__gte=wanted.start,
            invoice__period__starts_at__lt=wanted.end,
        ),
        grant__paid=True,
    ).order_by("id")
    if wanted.tenant_id:
        rows = rows.filter(tenant_id=wanted.tenant_id)
    names = tenant_refs()
    payers = rows.order_by().values_list("tenant_id", flat=True).distinct()
    calendars = read_calendars([names[pk] for pk in payers])
    heavy = ("invoice__snapshot", "invoice__pdf", "note__snapshot", "note__pdf")
    related = rows.select_related("grant", "invoice__period", "note").defer(*heavy)
    for row in related.iterator(CHUNK):
        yield _prepaid(row, names[row.tenant_id], calendars[row.tenant_id])


def _prepaid(row: CreditEntry, tenant: TenantRef, calendar: Calendar) -> Prepaid:
    """Billed in the month in which it happened; a use in that of the invoice that it paid."""
    of_invoice = row.invoice.period if row.invoice else None
    month: Month | BillingPeriod = calendar.month_at(row.at)
    if of_invoice and row.kind == EntryKind.USED:
        month = of_invoice
    charged = of_invoice or month
    return Prepaid(
        grant_id=row.grant_id,
        kind=EntryKind(row.kind),
        name=row.grant.name,
        tenant=tenant.slug,
        tenant_name=tenant.name,
        amount=row.amount,
        currency=row.grant.currency,
        period=month.name,
        period_start=month.starts_at,
        period_end=month.ends_at,
        charged_start=charged.starts_at,
        charged_end=charged.ends_at,
        demo=tenant.demo,
        document=row.note.number if row.note else row.invoice.number if row.invoice else "",
    )
