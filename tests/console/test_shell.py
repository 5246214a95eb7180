"""The navigation: which of its lines a page belongs to."""

import pytest
from django.test import RequestFactory

from console.shell import NAVIGATION, item, url_of


@pytest.mark.parametrize(
    ("path", "want"),
    [
        ("/", ["Overview"]),
        ("/billing/acme/", ["Billing"]),
        ("/quarantine/", ["Billing"]),
        ("/invoices/INV-000001/", ["Invoices"]),
        ("/credit-notes/CN-000001/", ["Invoices"]),
        ("/billing-accounts/exchange/rates/", ["Accounts"]),
        ("/billing-accounts/exchange/rates/import/", ["Accounts"]),
        ("/credits/1/", ["Accounts"]),
        ("/prices/commitments/", ["Prices"]),
        ("/new/contract/", ["Prices"]),
        ("/exports/receivers/", ["Exports"]),
        ("/new/export-receiver/", ["Exports"]),
        ("/new/export-schedule/", ["Exports"]),
        ("/ledger-accounts/", ["Exports"]),
        ("/new/webhook/", ["Webhooks"]),
        ("/economics/shares/", ["Economics"]),
        ("/me/activity/", []),
    ],
)
def test_a_page_belongs_to_one_line_at_most(path, want):
    request = RequestFactory().get(path)
    entries = [entry for _, group in NAVIGATION for entry in group]
    lines = [item(request, entry, url_of(entry.name), None) for entry in entries]
    assert [line["title"] for line in lines if line["current"]] == want
