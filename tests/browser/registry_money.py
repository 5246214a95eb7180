"""Addresses of the money pages and of the requests explorer."""

from collections.abc import Callable
from types import SimpleNamespace

PAGES: dict[str, Callable[[SimpleNamespace], str]] = {
    "requests": lambda _: "/requests/?from=now-30d",
    "requests_none": lambda _: "/requests/?model=nobody",
    "request": lambda s: f"/requests/{s.request.request_id}/",
    "billing": lambda _: "/billing/",
    "tenant_billing": lambda _: "/billing/acme/",
    "billing_charges": lambda _: "/billing/acme/charges/?from=now-7d&meter=completion",
    "billing_hours": lambda _: "/billing/acme/hours/?from=now-7d",
    "invoices": lambda _: "/invoices/",
    "credit_notes": lambda _: "/invoices/?kind=credit",
    "invoice": lambda s: f"/invoices/{s.invoice.number}/",
    "invoice_line": lambda s: f"/invoices/{s.invoice.number}/lines/{s.line}/",
    "invoice_credit": lambda s: f"/invoices/{s.invoice.number}/credit/",
    "credit_note": lambda s: f"/credit-notes/{s.note.number}/",
    "periods": lambda _: "/periods/",
    "period": lambda s: f"/periods/{s.closed.pk}/",
    "period_closing": lambda s: f"/periods/{s.closing.pk}/",
    "billing_accounts": lambda _: "/billing-accounts/",
    "billing_account": lambda _: "/billing-accounts/acme/",
    "billing_account_edit": lambda _: "/billing-accounts/acme/edit/",
    "billing_payment": lambda _: "/billing-accounts/acme/payment/",
    "credit_grant_new": lambda _: "/billing-accounts/acme/new/credit/",
    "credit_grant": lambda s: f"/credits/{s.credit.pk}/",
    "quarantine": lambda _: "/quarantine/",
    "prices": lambda _: "/prices/",
    "price_draft": lambda _: "/prices/list/new/",
    "price_version": lambda s: f"/prices/list/{s.draft.number}/",
    "price_edit": lambda s: f"/prices/list/{s.draft.number}/edit/",
    "price_preview": lambda s: f"/prices/list/{s.draft.number}/preview/",
    "contract_new": lambda _: "/new/contract/",
    "exports": lambda _: "/exports/",
    "export_schedule": lambda _: "/new/export-schedule/",
    "economics": lambda _: "/economics/",
    "economics_shares": lambda _: "/economics/shares/",
}
NO_PAGES: dict[str, str] = {
    "export_file": "a file",
    "export_manifest": "JSON",
    "invoice_record": "a file",
    "invoice_pdf": "a file",
    "credit_note_record": "a file",
    "credit_note_pdf": "a file",
}
