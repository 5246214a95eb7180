"""The waterfall: from all of the fleet's bill to nothing, each step with its rows behind it."""

import json
import re
from dataclasses import replace
from decimal import Decimal

import plotly.graph_objects as go
import pytest

from console.waterfall import BILL, LEFT, MOST_TENANTS, OTHER, bill_steps, waterfall
from tests.console.visitors import browser, rows

pytestmark = pytest.mark.django_db
WEEK = "/economics/?from=now-7d"


@pytest.fixture
def page(scene):
    return browser(scene.olga).get(WEEK)


def test_its_steps_lead_from_the_bill_to_nothing(page):
    first, *parts, last = [step for step, _ in page.context["steps"]]
    assert first.amount == page.context["found"].whole > 0
    assert sum(p.amount for p in parts) == first.amount
    for before, after in zip([first, *parts], [*parts, last], strict=True):
        assert after.start == before.left
    assert (last.kind, last.amount) == (LEFT, 0)
    assert {p.name for p in parts} >= {"acme", "globex", "Idle", "Overhead", "Shared platform"}


def test_each_step_leads_to_rows_that_add_up_to_it(scene, page):
    olga = browser(scene.olga)
    of_gpus = [(s, a) for s, a in page.context["steps"] if s.kind not in (BILL, OTHER, LEFT)]
    assert len(of_gpus) >= 4
    for step, address in of_gpus:
        found = rows(olga.get(f"{address}&format=csv"))
        assert sum(Decimal(r["amount"]) for r in found) == step.amount, step.name
    whole = next(a for s, a in page.context["steps"] if s.kind == BILL)
    found = rows(olga.get(f"{whole}&format=csv"))
    assert sum(Decimal(r["amount"]) for r in found) == page.context["found"].bill


def test_its_file_is_what_its_table_shows(scene, page):
    found = rows(browser(scene.olga).get(f"{WEEK}&of=bill&format=csv"))
    steps = [step for step, _ in page.context["steps"]]
    assert [(r["part"], Decimal(r["amount"])) for r in found] == [(s.name, s.amount) for s in steps]


def test_it_draws_bars_of_plotlys_schema_that_hang_from_the_one_before(page):
    chart = page.context["fall"]
    coloured = re.sub(r'"var:--[a-z0-9-]+"', '"#123456"', json.dumps(chart.figure))
    go.Figure(**json.loads(coloured))
    bars = chart.figure["data"][1:-1]
    tops = [bar["base"][0] + bar["y"][0] for bar in bars]
    assert tops == pytest.approx([float(s.start) for s, _ in page.context["steps"][1:-1]])
    assert "Left over" in chart.says


def test_many_tenants_are_one_bar_and_what_is_given_back_rises(page):
    found = page.context["found"]
    one = found.tenants[0]
    many = tuple(
        replace(one, name=f"t{n:02}", cost=Decimal(n + 1)) for n in range(MOST_TENANTS + 3)
    )
    other = replace(found.other, platform=Decimal(-5), hosted=Decimal(0))
    bill = sum((m.cost for m in many), found.idle + found.overhead)
    steps = bill_steps(replace(found, tenants=many, bill=bill, other=other))
    # Without another cost there is no step of it; below zero, it is one that rises.
    assert next(s for s in steps if s.name == "3 other tenants").amount == 1 + 2 + 3
    back = next(s for s in steps if s.name == "Shared platform")
    assert back.left == back.start + 5
    assert steps[-1].amount == 0
    bar = waterfall("x", "X", steps, "USD").figure["data"][steps.index(back)]
    assert bar["base"] == [float(back.start)]
    assert bar["y"] == [5.0]


def test_a_stranger_gets_no_rows_of_a_tenant(scene):
    mallory = browser(scene.mallory)
    assert mallory.get("/economics/shares/?tenant=acme").status_code == 404
    assert browser(scene.olga).get("/economics/shares/?tenant=nobody").status_code == 404
