"""A tenant's month: from each figure down to one request, its thresholds, files and exports."""

import html
import re
from datetime import datetime
from decimal import Decimal
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest

from console.billing_page import hours_of
from tenants.rules.quotas import month_of
from tests.console.visitors import browser, rows

pytestmark = pytest.mark.django_db
PAGE = "/billing/acme/"
BERLIN = ZoneInfo("Europe/Berlin")
REQUEST = re.compile(r"/requests/[0-9a-f-]{36}/")


@pytest.fixture
def olga(scene):
    return browser(scene.olga)


def links(answer, pattern):
    """Addresses of a page that a person could press, in its order."""
    assert answer.status_code == 200
    found = re.findall(r'href="([^"]+)"', answer.content.decode())
    return [html.unescape(a) for a in found if re.match(pattern, html.unescape(a))]


@pytest.mark.parametrize(("month", "want"), [(3, 743), (10, 745), (11, 720)])
def test_a_month_has_its_hours_whatever_clocks_do(month, want):
    here = month_of(datetime(2026, month, 15, tzinfo=BERLIN), "Europe/Berlin")
    assert hours_of(SimpleNamespace(month=here, until=here.ends_at)) == (want, want)


def test_from_an_invoice_to_a_request_by_the_links_of_the_pages(scene, olga):
    """Invoice, line, hour of a charge, requests of the hour, one request: sums agree on the way."""
    number = scene.invoice.number
    invoices = olga.get("/invoices/")
    (invoice, *_) = links(invoices, f"/invoices/{number}/$")
    shown = olga.get(invoice)
    (line, *_) = links(shown, rf"/invoices/{number}/lines/\d+/")
    page = olga.get(line)
    assert page.context["total"] == page.context["line"].exact
    charge = page.context["page"].object_list[0]
    (hours, *_) = links(page, r"/billing/acme/hours/\?")
    found = olga.get(hours)
    used = [h for h, *_ in found.context["lines"]]
    assert {h.hour for h in used} == {charge.hour}
    (requests, *_) = links(found, r"/requests/\?")
    listed = olga.get(requests)
    assert len(listed.context["page"].rows) == used[0].requests
    (one, *_) = links(listed, REQUEST.pattern)
    detail = olga.get(one).context["detail"]
    assert detail.is_billed
    assert detail.amount > 0
    (back, *_) = links(olga.get(one), r"/billing/acme/charges/\?")
    assert charge.pk in {c.pk for c, *_ in olga.get(back).context["lines"]}


def test_the_trail_of_a_month_leads_down_step_by_step(olga):
    page = olga.get(PAGE)
    trail, to = page.context["trail"], page.context["trail_addresses"]
    charges = rows(olga.get(to["line"] + "&format=csv"))
    assert sum(Decimal(c["amount"]) for c in charges) == trail.line.amount > 0
    of_hour = rows(olga.get(to["charge"] + "&format=csv"))
    assert trail.charge.amount in {Decimal(c["amount"]) for c in of_hour}
    assert sum(Decimal(c["quantity"]) for c in of_hour) == trail.hour.quantity
    hours = rows(olga.get(to["hour"] + "&format=csv"))
    assert sum(int(h["requests"]) for h in hours) >= trail.hour.requests >= 1
    detail = olga.get(to["request"]).context["detail"]
    assert trail.request.amount in {line.amount for line in detail.lines}
    assert all(html.escape(address) in page.content.decode() for address in to.values())


def test_a_month_that_was_invoiced_leads_from_its_invoice(scene, olga):
    page = olga.get(f"{PAGE}?month={scene.invoice.period.name}")
    trail = page.context["trail"]
    assert page.context["invoice"].number == scene.invoice.number == trail.line.invoice
    line = olga.get(page.context["trail_addresses"]["line"])
    assert line.context["line"].amount == trail.line.amount
    assert page.context["budgets"] == []


@pytest.mark.parametrize("of", ["model", "application_id", "meter", "traffic_class"])
def test_a_file_is_of_the_cut_that_is_shown(olga, of):
    page = olga.get(PAGE)
    shown = {c.key: c.parts for c in page.context["cuts"]} | {
        "meter": [p for p, *_ in page.context["meters"]]
    }
    found = rows(olga.get(f"{PAGE}?of={of}&format=csv"))
    assert (
        [(r["name"], Decimal(r["amount"])) for r in found]
        == [(p.name, p.amount) for p in shown[of]]
        != []
    )
    assert sum(Decimal(r["amount"]) for r in found) == page.context["found"].charged


def test_every_other_table_of_it_is_a_file_too(olga):
    page = olga.get(PAGE)
    releases = rows(olga.get(f"{PAGE}?of=release&format=csv"))
    assert len(releases) == len(page.context["releases"])
    budgets = rows(olga.get(f"{PAGE}?of=budgets&format=csv"))
    assert [Decimal(b["used"]) for b in budgets] == [b.use.spent for b in page.context["budgets"]]
    thresholds = rows(olga.get(f"{PAGE}?of=thresholds&format=csv"))
    assert [r["percent"] for r in thresholds] == ["50", "80", "100"]
    assert "requests are refused" in thresholds[-1]["then"]
    assert olga.get(f"{PAGE}?of=smell&format=csv").status_code == 422


def test_it_exports_the_month_and_lists_the_file(olga):
    form = dict(
        re.findall(
            r'<input type="hidden" name="(\w+)" value="([^"]*)"', olga.get(PAGE).content.decode()
        )
    )
    assert form["tenant"] == "acme"
    assert olga.post("/exports/", form).status_code == 302
    ((job, _), *_) = olga.get(PAGE).context["exports"]
    assert (job.format, job.state) == ("focus-1.4", "waiting")


def test_it_says_what_the_tenant_pays_by_and_how_it_is_forecast(olga):
    text = olga.get(PAGE).content.decode()
    assert "book list, version" in text
    assert "weekday-level, version 2" in text
