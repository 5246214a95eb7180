"""Economics: every table adds up, leads to its rows, and is a file of exactly what it shows."""

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import plotly.graph_objects as go
import pytest

from billing.actions.node_prices import draft_sheet
from billing.queries.bill_parts import bill_parts
from billing.queries.economics import economics
from billing.queries.node_prices import find_sheet
from billing.rules.node_lines import read_lines
from console.economics_page import below_cost, largest_lever, span_before
from console.unit_chart import price_axis, unit_chart
from tenants.base.scope import fleet_scope
from tests.billing.factories import SYSTEM
from tests.console.visitors import browser, rows

pytestmark = pytest.mark.django_db
WEEK = "/economics/?from=now-7d"


@pytest.fixture
def olga(scene):
    return browser(scene.olga)


def test_margins_of_services_add_up_and_lead_to_their_rows(scene, olga):
    page = olga.get(WEEK)
    found, services = page.context["found"], page.context["services"]
    assert sum(r.of.charged for r, _ in services) == found.charged > 0
    assert sum(r.of.cost for r, _ in services) == found.attributed > 0
    for row, (charges, shares) in services:
        parts = rows(olga.get(f"{charges}&format=csv"))
        assert sum(Decimal(p["charged"]) for p in parts) == row.of.charged
        costs = rows(olga.get(f"{shares}&format=csv"))
        assert sum(Decimal(c["amount"]) for c in costs) == row.of.cost
    file = rows(olga.get(f"{WEEK}&of=services&format=csv"))
    assert [(r["name"], Decimal(r["net"])) for r in file] == [
        (r.name, r.of.net) for r, _ in services
    ]
    text = page.content.decode()
    assert "0 rows without a price" in text


def test_the_price_of_a_million_tokens_is_the_charge_over_them(olga):
    services = [r for r, _ in olga.get(WEEK).context["services"] if r.tokens]
    assert services
    for row in services:
        assert row.price_per_million == row.of.charged * 1_000_000 / row.tokens
        assert row.cost_per_million == (row.of.charged - row.of.net) * 1_000_000 / row.tokens


def test_hours_of_a_product_add_up_and_their_money_to_the_bill(scene, olga):
    page = olga.get(WEEK)
    products = [p["row"] for p in page.context["products"]]
    assert sum(p.cost for p in products) == page.context["found"].bill
    for shown in page.context["products"]:
        row = shown["row"]
        assert sum(row.of_ms.values()) == row.gpu_ms
        assert sum(row.of_money.values()) == row.cost
        address = f"/economics/shares/?{shown['address']}&format=csv"
        assert sum(Decimal(r["amount"]) for r in rows(olga.get(address))) == row.not_serving > 0
    file = rows(olga.get(f"{WEEK}&of=products&format=csv"))
    assert [Decimal(r["not_serving"]) for r in file] == [p.not_serving for p in products]


def test_the_bill_by_part_is_the_whole_bill(olga):
    page = olga.get(WEEK)
    whole = page.context["found"].whole
    assert sum(amount for _, _, amount, _ in page.context["parts"]) == whole
    file = rows(olga.get(f"{WEEK}&of=parts&format=csv"))
    assert sum(Decimal(r["amount"]) for r in file) == whole
    assert {r["kind"] for r in file} >= {"platform", "hosted"}
    assert olga.get(f"{WEEK}&of=nothing&format=csv").status_code == 422


def test_two_spans_stand_side_by_side(olga):
    page = olga.get("/economics/compare/?from=now-2d&to=now&with_from=now-9d&with_to=now-7d")
    sums = {p.name: p for p in page.context["tables"]["sums"]}
    assert sums["The fleet's bill"].amount == page.context["one"].whole > 0
    assert sums["The fleet's bill"].other == page.context["two"].whole == 0
    file = rows(olga.get("/economics/compare/?from=now-2d&to=now&format=csv"))
    assert {r["of"] for r in file} == {"sums", "services", "tenants"}


@pytest.mark.parametrize("path", ["", "idle/", "units/", "releases/"])
def test_each_page_names_the_last_day_that_it_counts(olga, path):
    text = olga.get(f"/economics/{path}?from=2026-11-02T00:00&to=2026-11-04T12:00").content.decode()
    assert re.findall(r">(\d\d Nov 2026)<", text)[:2] == ["02 Nov 2026", "04 Nov 2026"]


def test_it_makes_an_export_of_the_days_that_are_shown(olga):
    text = olga.get(WEEK).content.decode()
    form = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', text))
    before = len(olga.get("/exports/").context["jobs"])
    assert olga.post("/exports/", form).status_code == 302
    (job, *_), *others = olga.get("/exports/").context["jobs"]
    assert len(others) == before
    assert (job.format, f"{job.starts_at:%Y-%m-%d}") == ("focus-1.4", form["first"])


def test_it_names_the_largest_lever_and_what_is_below_cost(olga):
    page = olga.get(WEEK)
    found = page.context["found"]
    products = [p["row"] for p in page.context["products"]]
    most = max(m for p in products for use, m in p.of_money.items() if use != "serving")
    lever = page.context["lever"]
    assert f"{most:,.2f}" in lever.text
    assert lever.address.startswith("/economics/")
    services = [r for r, _ in page.context["services"]]
    losing = [r for r in services if r.of.net < 0]
    assert all(r.name in page.context["below"].text for r in losing)
    assert below_cost([], "USD").text.startswith("No service")
    assert largest_lever([], found, "") is None


@pytest.mark.parametrize(
    ("start", "end", "want"),
    [
        ((2026, 11, 1), (2026, 11, 23), "October"),
        ((2026, 11, 1), (2026, 12, 1), "October"),
        ((2026, 11, 20), (2026, 11, 28), "the 8 days before"),
        ((2026, 11, 20), (2026, 11, 21), "the day before"),
    ],
)
def test_it_compares_with_the_month_before_or_the_days_before(start, end, want):
    found: Any = SimpleNamespace(start=datetime(*start, tzinfo=UTC), end=datetime(*end, tzinfo=UTC))
    first, last, name = span_before(found)
    assert name == want
    assert first < last <= found.start


def test_the_chart_of_a_million_tokens_is_of_plotlys_schema(olga, scene):
    page = olga.get(WEEK)
    chart = page.context["units"]
    coloured = re.sub(r'"var:--[a-z0-9-]+"', '"#123456"', json.dumps(chart.figure))
    go.Figure(**json.loads(coloured))
    assert {row[0] for row in chart.rows} == {"chat-small", "chat-large"}
    assert not unit_chart([], "USD").has_data


@pytest.mark.parametrize(
    ("prices", "said"),
    [
        ([0.42, 5.67], "0.2 0.5 1 2 5 10"),
        ([2.0], "1 2 5"),
        ([0.004, 40], "0.01 0.1 1 10 100"),
    ],
)
def test_marks_of_its_axis_say_their_whole_number(prices, said):
    axis = price_axis(prices)
    assert axis["ticktext"] == said.split()
    assert [float(text) for text in axis["ticktext"]] == axis["tickvals"]
    assert "tickvals" not in price_axis([])


def test_it_hides_them_from_those_without_the_role(scene):
    for address in ("/economics/compare/", "/economics/service/?service=chat-small"):
        assert browser(scene.watcher).get(address).status_code == 403
        assert browser(scene.mallory).get(address).status_code in (403, 404)
    assert browser(scene.olga).get("/economics/service/?service=nobody").status_code == 404
    with fleet_scope():
        assert economics(SYSTEM, datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 2, tzinfo=UTC),
                         now=datetime(2020, 1, 2, tzinfo=UTC)).by_price == ()  # fmt: skip


def test_an_owned_hour_is_cut_into_depreciation_power_and_hosting(scene):
    line = (
        "h200-sxm, owned, purchase=32000, residual=2000, months=48, watts=700, kwh=0.2, hosting=146"
    )
    bill = Decimal("1.000000000001")
    with fleet_scope():
        sheet = draft_sheet(SYSTEM, currency="USD", lines=read_lines(line), why="ours")
        price = find_sheet(SYSTEM, sheet.number).prices.get()
        nothing: Any = SimpleNamespace(platform=Decimal(0), hosted=Decimal(0))
        found: Any = SimpleNamespace(by_price=((price.pk, bill), (None, bill)), other=nothing)
        parts = {(p.kind, p.part): p.amount for p in bill_parts(SYSTEM, found)}
    assert parts.pop(("", "hourly")) == bill
    assert set(parts) == {("owned", n) for n in ("depreciation", "power", "hosting")}
    assert sum(parts.values()) == bill
    hour = Decimal(price.parts["power"]) / price.hourly
    assert abs(parts["owned", "power"] - bill * hour) < Decimal("1e-11")
