"""What issuing an invoice and issuing a credit note have in common: numbers and frozen records."""

from datetime import datetime
from typing import Any

from django.conf import settings

from billing.models import BillingPeriod, CreditNote, DocumentSeries, Invoice
from billing.queries.accounts import Account
from billing.rules.documents import amount_text, number_of
from billing.rules.invoices import canonical, digest_of

INVOICE, CREDIT = "invoice", "credit"


def lock_series(kind: str) -> DocumentSeries:
    """One document at a time gets its number; who rolls back leaves no gap."""
    DocumentSeries.objects.bulk_create(
        [DocumentSeries(issuer=settings.QM_ISSUER, kind=kind)], ignore_conflicts=True
    )
    rows = DocumentSeries.objects.select_for_update(no_key=True)
    return rows.get(issuer=settings.QM_ISSUER, kind=kind)


def take_number(series: DocumentSeries) -> tuple[int, str]:
    series.last_number += 1
    series.save(update_fields=["last_number"])
    return series.last_number, number_of(series.kind, series.last_number)


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
