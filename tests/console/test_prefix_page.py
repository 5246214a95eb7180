"""Charges for kept prefixes lead to what was reported, as other charges lead to requests."""

import csv
import json
from datetime import timedelta

import pytest
from django.utils import timezone

from billing.actions.ingest import ingest
from billing.models import Charge
from billing.rules.prices import read_line
from tenants.base.scope import fleet_scope
from tests.billing.factories import make_prices, make_source, settle
from tests.billing.test_kept_prefixes import report
from tests.console.money_scene import PRICES
from tests.console.test_money_pages import browser

pytestmark = pytest.mark.django_db
CHARGES = "/billing/acme/charges/?from=now-7d&meter={}"


@pytest.fixture
def kept(scene):
    """Two reports of an hour of acme's, charged."""
    now, acme = timezone.now(), scene.tenants[0]
    hour = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)
    more = [read_line("chat-small", "kept_prefix", "0.02")]
    make_prices(PRICES, more=more, starts_at=hour - timedelta(days=1), now=now)
    events = [report(acme, size, start=hour, model="chat-small") for size in ("0.25", "1.000001")]
    receipt = ingest(make_source("store"), json.dumps(events).encode(), now=now)
    assert receipt.accepted == 2
    settle(now)
    return scene


def test_a_charge_leads_to_its_reports_and_they_to_it(kept):
    fin = browser(kept.fin)
    page = fin.get(CHARGES.format("kept_prefix"))
    ((charge, _, _, address),) = page.context["lines"]
    assert address.startswith("/billing/acme/prefixes/?")
    assert address.replace("&", "&amp;") in page.content.decode()
    found = fin.get(address)
    assert found.status_code == 200
    assert found.context["total"] == charge.quantity
    rows = list(csv.DictReader(fin.get(f"{address}&format=csv").content.decode().splitlines()))
    shown = [str(report.report_id) for report, _ in found.context["lines"]]
    assert [row["report_id"] for row in rows] == shown
    assert {row["gib_hours"] for row in rows} == {"0.250000", "1.000001"}
    back = fin.get(f"/billing/acme/charges/?{found.context['charges']}")
    assert [c.pk for c, *_ in back.context["lines"]] == [charge.pk]


def test_other_charges_lead_to_hours(kept):
    page = browser(kept.fin).get(CHARGES.format("completion"))
    assert all(a.startswith("/billing/acme/hours/?") for *_, a in page.context["lines"])
    with fleet_scope():
        assert Charge.objects.filter(meter="kept_prefix").count() == 1
