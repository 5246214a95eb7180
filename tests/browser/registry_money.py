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
NO_PAGES: dict[str, str] = {"export_file": "a file", "export_manifest": "JSON"}
