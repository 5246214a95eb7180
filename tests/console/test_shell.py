"""The navigation: which of its lines a page belongs to."""

import pytest

from console.shell import NAVIGATION, item, url_of
from tests.console.visitors import browser


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
    entries = [entry for _, group in NAVIGATION for entry in group]
    lines = [item(path, entry, url_of(entry.name), None) for entry in entries]
    assert [line["title"] for line in lines if line["current"]] == want


@pytest.mark.django_db
def test_it_asks_for_itself_and_stays_on_its_page(scene):
    """A page that stays open for a night must not say that its cluster was seen in the evening."""
    olga = browser(scene.olga)
    assert 'hx-get="/navigation/"' in olga.get("/invoices/").content.decode()
    headers = {"HX-Request": "true", "HX-Current-URL": "http://127.0.0.1/quotas/?page=2"}
    parts = olga.get("/navigation/", headers=headers).content.decode()
    assert parts.startswith('<div class="parts" id="nav-parts" data-live')
    assert parts.count('aria-current="page"') == 1
    assert 'href="/quotas/" title="Quotas" aria-current="page"' in parts
    assert "Cluster data" in parts
    elsewhere = {"HX-Request": "true", "HX-Current-URL": "http://elsewhere/quotas/"}
    assert "aria-current" not in olga.get("/navigation/", headers=elsewhere).content.decode()


@pytest.mark.django_db
def test_a_stranger_gets_no_counts(scene):
    parts = browser(scene.mallory).get("/navigation/").content.decode()
    assert "Cluster data" not in parts
    assert 'class="n' not in parts
