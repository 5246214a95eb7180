"""Two spans of a tenant's charges side by side: sums, rows behind, file, and who may see them."""

from datetime import date, timedelta
from decimal import Decimal

import pytest

from tests.console.visitors import browser, rows

pytestmark = pytest.mark.django_db
PAGE = "/billing/acme/compare/"


@pytest.fixture
def address(scene) -> str:
    """A week against the fortnight before it, both of them with usage."""
    last = date.today() - timedelta(days=3)  # noqa: DTZ011  # any day of the scene will do
    days = {
        "first": last - timedelta(days=6),
        "last": last,
        "with_first": last - timedelta(days=20),
        "with_last": last - timedelta(days=7),
    }
    return f"{PAGE}?" + "&".join(f"{name}={day}" for name, day in days.items())


def test_each_cut_adds_up_to_both_sums(scene, address):
    page = browser(scene.olga).get(address)
    cuts = page.context["cuts"]
    assert {cut.key for cut in cuts} >= {"model", "application_id", "meter", "traffic_class"}
    assert {(cut.amount, cut.other) for cut in cuts} == {(cuts[0].amount, cuts[0].other)}
    assert cuts[0].other > cuts[0].amount > 0
    assert (page.context["one"].days, page.context["two"].days) == (7, 14)
    assert "not the same number of days" in page.content.decode()
    assert "is not over" not in page.content.decode()


def test_a_day_that_still_runs_is_said(scene):
    page = browser(scene.olga).get(PAGE)
    assert page.context["not_over"] == [page.context["one"]]
    assert page.content.decode().count("is not over") == 1


def test_each_figure_leads_to_its_charges(scene, address):
    olga = browser(scene.olga)
    for pair, mine, theirs in olga.get(address).context["cuts"][0].rows:
        for amount, behind in ((pair.amount, mine), (pair.other, theirs)):
            found = rows(olga.get(f"/billing/acme/charges/?{behind}&format=csv"))
            assert sum(Decimal(r["amount"]) for r in found) == amount


def test_its_file_is_what_it_shows(scene, address):
    olga = browser(scene.olga)
    cuts = olga.get(address).context["cuts"]
    found = rows(olga.get(address + "&format=csv"))
    releases = [p for p, *_ in olga.get(address).context["releases"]]
    assert [(r["cut"], r["name"], Decimal(r["difference"])) for r in found] == [
        *((cut.key, p.name, p.difference) for cut in cuts for p in cut.pairs),
        *(("release", p.model, p.difference) for p in releases),
    ]
    assert sum(p.amount for p in releases) == cuts[0].amount
    assert sum(p.before for p in releases) == cuts[0].other


def test_what_only_the_other_span_has_is_listed(scene):
    olga = browser(scene.olga)
    today = date.today()  # noqa: DTZ011
    query = f"first=2001-01-01&last=2001-01-31&with_first={today - timedelta(days=20)}"
    page = olga.get(f"{PAGE}?{query}&with_last={today}")
    pairs = page.context["cuts"][0].pairs
    assert pairs
    assert all(p.amount == 0 < p.other and p.difference == -p.other for p in pairs)


def test_a_tenants_month_leads_to_it(scene):
    olga = browser(scene.olga)
    month = olga.get("/billing/acme/")
    assert f"{PAGE}?first=" in month.content.decode()
    page = olga.get(f"{PAGE}?{month.context['compare']}")
    assert page.context["whole"].amount == month.context["found"].charged


@pytest.mark.parametrize(
    "query", ["first=noon", "first=2026-11-02&last=2026-11-01", "first=2020-01-01&last=2026-01-01"]
)
def test_it_refuses_what_is_no_span(scene, query):
    assert browser(scene.olga).get(f"{PAGE}?{query}").status_code == 422


def test_a_tenants_month_is_cut_by_release_too(scene):
    olga, month = browser(scene.olga), f"/billing/acme/?month={scene.request.event_time:%Y-%m}"
    page = olga.get(month)
    parts = page.context["releases"]
    assert sum(p.amount for p, _ in parts) == page.context["found"].charged > 0
    part, address = next((p, a) for p, a in parts if a)
    shown = olga.get(f"/requests/?{address}").context["page"].rows
    assert {r.release for r in shown} == {part.release}
    assert {"release"} < {r["cut"] for r in rows(olga.get(f"{month}&format=csv"))}


def test_others_see_nothing_of_it(scene):
    assert browser(scene.mallory).get(PAGE).status_code == 404
    assert browser(scene.watcher).get(PAGE).status_code == 403
