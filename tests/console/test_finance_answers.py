"""What pages of money show, the finance API answers too, and it adds up to the same."""

import csv
import json
from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import Client

from billing.queries.release_units import release_unit_costs
from billing.queries.unit_costs import SERVICE, unit_costs
from tenants.base.scope import fleet_scope
from tests.billing.factories import SYSTEM
from tests.console import finance_operations as known
from tests.console.visitors import browser, rows

pytestmark = pytest.mark.django_db
ZERO = Decimal(0)


@pytest.fixture
def api(scene):
    client = Client()
    client.force_login(scene.olga)

    def get(path, **query):
        answer = client.get(f"/api/v1/{path}", query)
        assert answer.status_code == 200, answer.content
        return answer

    return get


@pytest.fixture
def span(scene):
    end = scene.request.event_time + timedelta(days=1)
    return {"since": (end - timedelta(days=30)).isoformat(), "until": end.isoformat()}


def added(found, name):
    return sum((Decimal(row[name]) for row in found), ZERO)


@pytest.mark.parametrize(
    ("path", "sums"),
    [("usage", ""), ("costs/allocations", "amount"), ("charges", "amount")],
)
def test_a_stream_has_what_the_list_has(api, span, monkeypatch, path, sums):
    monkeypatch.setattr("billing.api.streams.ROWS", 3)
    answer = api(f"{path}/download", **span)
    streamed = [json.loads(line) for line in b"".join(answer.streaming_content).splitlines()]
    listed = api(path, **span, limit=1000).json()["results"]
    assert len(streamed) == int(answer["X-Rows"]) == len(listed) > 3
    assert sorted(map(str, streamed)) == sorted(
        str({name: row[name] for name in streamed[0]}) for row in listed
    )
    assert [r["hour"] for r in streamed] == sorted(r["hour"] for r in streamed)
    if sums:
        assert answer["X-Sums"] == f"USD={added(streamed, sums):f}"
    table = api(f"{path}/download", **span, file_type="csv")
    text = b"".join(table.streaming_content).decode()
    assert len(list(csv.DictReader(text.splitlines()))) == len(streamed)


def test_releases_have_unit_costs_that_add_up_to_those_of_services(api, span, scene):
    end = scene.request.event_time
    by_release = release_unit_costs(SYSTEM, end - timedelta(days=29), end)
    by_service = unit_costs(SYSTEM, end - timedelta(days=29), end, by=SERVICE)
    assert by_release.whole == by_service.whole
    for one in by_service.rows:
        mine = [row for row in by_release.rows if row.name == one.name]
        assert abs(sum((row.full for row in mine), ZERO) - one.full) < Decimal("1E-18")
        for name in ("requests", "tokens", "charged", "cost"):
            assert sum(getattr(row, name) for row in mine) == getattr(one, name)
    answered = api("costs/units", **span, by="release").json()["rows"]
    assert {row["release"] for row in answered} >= {"rel-0123456789ab"}
    assert any(Decimal(row["per_million"] or 0) > 0 for row in answered)


def test_the_page_and_its_file_have_the_release(scene):
    olga = browser(scene.olga)
    page = olga.get("/economics/units/", {"by": "release", "from": "now-30d"})
    assert "rel-0123456789ab" in page.content.decode()
    file = olga.get("/economics/units/", {"by": "release", "from": "now-30d", "format": "csv"})
    assert {row["release"] for row in rows(file)} >= {"rel-0123456789ab"}


def test_margins_add_up(api, span):
    found = api("costs/economics", **span).json()
    for row in found["tenants"]:
        parts = sum(Decimal(row[n]) for n in ("idle_share", "overhead_share", "other"))
        assert Decimal(row["net"]) == Decimal(row["gross"]) - parts
        assert Decimal(row["gross"]) == Decimal(row["charged"]) - Decimal(row["cost"])
    idle = api("costs/idle", **span).json()
    assert added(idle["rows"], "amount") == Decimal(found["idle"])
    times = api("costs/gpu-time", since=found["start"], until=found["end"]).json()["results"]
    assert added([t for t in times if t["cost"]], "cost") == Decimal(found["bill"])


def test_a_tenants_month_has_parts_by_class_and_release(api):
    found = api("tenants/acme/billing").json()
    for part in ("by_model", "by_application", "by_meter", "by_class", "by_release"):
        assert added(found[part], "amount") == Decimal(found["charged"])
        assert added(found[part], "before") <= Decimal(found["month_before"])
    assert (found["forecast"]["method"], found["forecast"]["method_version"]) == (
        "weekday-level", 2,
    )  # fmt: skip
    months = api("tenant-months").json()["results"]
    assert [m["tenant"] for m in months] == ["acme", "globex", "initech"]


@pytest.mark.parametrize("by", ["model", "application_id", "meter", "traffic_class", "release"])
def test_any_days_are_compared_with_any_others(api, scene, by):
    given = known.queries(scene)
    days = {name: given[name] for name in ("first", "last", "with_first", "with_last")}
    found = api("tenants/acme/billing/comparison", **days, by=by).json()
    whole = api("charges", since=found["start"], until=found["end"], tenant="acme", limit=1000)
    assert added(found["rows"], "amount") == added(whole.json()["results"], "amount") > 0
    gaps = [abs(Decimal(row["difference"])) for row in found["rows"]]
    assert gaps == sorted(gaps, reverse=True)


def test_it_finds_the_intervals_of_gpus(api, scene, span):
    with fleet_scope():
        known.furnish(scene)
    (found,) = api("costs/gpu-intervals", **span).json()["results"]
    assert (found["node"], found["state"], found["ends_at"]) == ("h200-sxm-00", "serving", None)
    for wanted, count in (
        ({"node": "h200-sxm-00"}, 1), ({"node": "other"}, 0),
        ({"service": found["service"]}, 1), ({"service": "other"}, 0),
        ({"cluster": found["cluster"]}, 1), ({"cluster": "fra-1"}, 0),
    ):  # fmt: skip
        assert len(api("costs/gpu-intervals", **span, **wanted).json()["results"]) == count
    before = {"since": "2020-01-01T00:00:00Z", "until": "2020-02-01T00:00:00Z"}
    assert api("costs/gpu-intervals", **before).json()["results"] == []
