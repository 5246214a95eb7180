"""What issuing an invoice and issuing a credit note have in common: numbers and frozen records."""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from billing.models import BillingPeriod, CreditNote, DocumentSeries, Invoice
from billing.queries.accounts import Account
from billing.rules.documents import amount_text, number_of
from billing.rules.invoices import canonical, digest_of

INVOICE, CREDIT = "invoice", "credit"
SERIES_LOCK, ENTRY_LOCK = 7_441, 7_442  # of advisory locks


def begin_entry() -> None:
    """Called first by whoever writes what has its time in files: documents, postings.

    Such a time may be just before the end of a range whose file is made just after it, while what
    was written is not committed yet: `wait_for_entries` waits for it.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [ENTRY_LOCK])


@transaction.atomic
def wait_for_entries() -> None:
    """Until each that has begun is committed, or was given up."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ENTRY_LOCK])


def lock_series(kind: str) -> DocumentSeries:
    """One document at a time gets its number; who rolls back leaves no gap."""
    mine = DocumentSeries.objects.filter(issuer=settings.QM_ISSUER, kind=kind)
    if not mine.exists():
        with connection.cursor() as cursor:  # one after another: which is the second issuer stays
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [SERIES_LOCK])
        DocumentSeries.objects.bulk_create(
            [DocumentSeries(issuer=settings.QM_ISSUER, kind=kind)], ignore_conflicts=True
        )
    return mine.select_for_update(no_key=True).get()


def take_number(series: DocumentSeries) -> tuple[int, str]:
    """Whoever bills under another name begins at one again, with numbers of another kind."""
    series.last_number += 1
    series.save(update_fields=["last_number"])
    place = DocumentSeries.objects.filter(kind=series.kind, pk__lte=series.pk).count()
    return series.last_number, number_of(series.kind, series.last_number, place)


def facts_of_document(document: Invoice | CreditNote) -> dict[str, str]:
    """What is told of an invoice or a credit note; amounts as they are printed on it."""
    amounts = {name: getattr(document, name) for name in ("net", "tax", "total")}
    return {
        "number": document.number,
        "currency": document.currency,
        **{name: amount_text(amount, document.currency) for name, amount in amounts.items()},
        "sha256": document.sha256,
    }


def seal(document: dict[str, Any]) -> dict[str, Any]:
    """The frozen record and its printed form, each with its digest: the last columns of a row."""
    from billing.clients.pdf import render_pdf  # noqa: PLC0415  # reportlab: no start waits for it

    text = canonical(document)
    sha256 = digest_of(text)
    pdf = render_pdf(document, sha256)
    return {"snapshot": text, "sha256": sha256, "pdf": pdf, "pdf_sha256": digest_of(pdf)}


def document_head(
    period: BillingPeriod, account: Account, currency: str, number: str, now: datetime
) -> dict[str, Any]:
    return {
        "number": number,
        "issuer": settings.QM_ISSUER,
        "issued_at": now,
        "account": account,
        "period": period,
        "currency": currency,
    }
