"""The page of the books' check: every sum, what differs by its name, and the button."""

import pytest
from django.utils import timezone

from billing.drive.reconciliations import reconcile_due
from billing.models import ChargeDay, Reconciliation
from tenants.base.scope import fleet_scope
from tests.console.visitors import browser, rows

pytestmark = pytest.mark.django_db


def test_the_page_shows_every_sum_and_names_what_differs(scene):
    olga = browser(scene.olga)
    with fleet_scope():
        ChargeDay.objects.filter(meter="completion").delete()
    reconcile_due(timezone.now())
    page = olga.get("/reconciliation/")
    assert page.status_code == 200
    row = Reconciliation.objects.latest("id")
    assert len(page.context["checks"]) == len(row.sums)
    differs = rows(olga.get("/reconciliation/?differs=1&format=csv"))
    assert len(differs) == row.wrong > 0
    assert "acme" in differs[0]["named"]
    text = page.content.decode()
    assert "quantities: charges = day sums (of all time)" in text and "Sums differ" in text


def test_the_button_asks_for_a_check(scene):
    olga = browser(scene.olga)
    assert "not checked yet" in olga.get("/reconciliation/").content.decode()
    assert olga.post("/reconciliation/check/").status_code == 302
    assert "being worked out" in olga.get("/reconciliation/").content.decode()
    assert Reconciliation.objects.get().state == "waiting"
