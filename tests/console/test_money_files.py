"""CSV of exports, deliveries, numbers of accounts, prices, runs: what their pages show."""

import csv
from datetime import timedelta

import pytest
from django.utils import timezone

from billing.actions.prices import draft_version
from billing.models import ExportArtifact, ExportJob, PriceBookVersion, UnpricedUsage
from billing.rules.datasets import DATASETS
from billing.rules.prices import read_line
from tenants.base.scope import fleet_scope
from tests.billing.factories import SYSTEM
from tests.console.test_money_pages import browser

pytestmark = pytest.mark.django_db


@pytest.fixture
def fin(scene):
    return browser(scene.fin)


def rows_of(fin, url):
    answer = fin.get(url)
    assert answer.status_code == 200, answer.content
    return list(csv.DictReader(answer.content.decode().splitlines()))


def test_exports_say_how_complete_and_how_checked_they_are(fin, scene):
    page = fin.get("/exports/")
    rows = {r["export"]: r for r in rows_of(fin, "/exports/?format=csv")}
    jobs = page.context["jobs"]
    with fleet_scope():
        assert len(rows) == ExportJob.objects.count()
    for job, *_, evidence in jobs:
        row = rows[str(job.pk)]
        assert row["state"] == job.state
        if evidence:
            shown = f"{evidence.done} of {evidence.hours} h"
            assert (row["complete_hours"], row["hours"], row["errors"]) == (
                str(evidence.done), str(evidence.hours), "0",
            )  # fmt: skip
            assert shown in page.content.decode()
    assert b"0 errors" in page.content
    shown = fin.get(f"/exports/{scene.export.pk}/").content.decode()
    for rule in DATASETS["focus-1.4"].checks:
        assert rule in shown.replace("&amp;", "&"), rule


def test_the_manifest_has_the_same(scene):
    with fleet_scope():
        found = ExportArtifact.objects.get(job=scene.export).manifest
    assert found["checks"]["errors"] == 0
    assert found["checks"]["rows"] == found["rows"] > 0
    assert 0 < found["hours_complete"] <= found["hours"]


def test_deliveries_have_a_row_for_each_try(fin, scene):
    (row,) = rows_of(fin, f"/exports/{scene.export.pk}/?format=csv")
    assert (row["receiver"], row["status"], row["answer"]) == (
        "the ledger", "503", "It answered 503",
    )  # fmt: skip


def test_numbers_of_accounts_and_prices_are_files_as_well(fin, scene):
    accounts = rows_of(fin, "/ledger-accounts/?format=csv")
    assert [r["account"] for r in accounts] == [
        a.account for a, _ in fin.get("/ledger-accounts/").context["accounts"]
    ]
    books = fin.get("/prices/").context["books"]
    prices = rows_of(fin, "/prices/?format=csv")
    assert [r["price"] for r in prices] == [
        p.text for b in books if b.current for p in b.current.prices
    ]
    versions = rows_of(fin, "/prices/?format=csv&part=versions")
    assert [(r["book"], int(r["version"])) for r in versions] == [
        (b.slug, v.number) for b in books for v in b.versions
    ]


def test_what_has_no_price_and_what_gpus_cost_are_files_of_the_page(fin, scene):
    with fleet_scope():
        UnpricedUsage.objects.create(
            hour=timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=2),
            tenant_id=scene.tenants[0].pk, application_id=1, model="ghost", quantity=12,
            traffic_class="batch", meter="prompt", runs_on="H100",
        )  # fmt: skip
    page = fin.get("/prices/").context
    unpriced = rows_of(fin, "/prices/?format=csv&part=unpriced")
    assert [(r["tenant"], r["service"], r["quantity"]) for r in unpriced] == [
        (tenant, u.model, f"{u.quantity:f}") for tenant, u in page["unpriced"]
    ]
    gpus = rows_of(fin, "/prices/?format=csv&part=gpus")
    shown = [(s.number, p) for s in page["sheets"] for p in s.prices.all()]
    assert [(int(r["sheet"]), r["product"], r["hourly"]) for r in gpus] == [
        (number, p.product, f"{p.hourly:f}") for number, p in shown
    ]
    assert unpriced and gpus


def test_a_price_says_on_what_it_runs(fin, scene):
    with fleet_scope():
        lines = [read_line("chat", m, "7", "", "H100") for m in ("prompt", "cached", "completion")]
        draft_version(SYSTEM, "list", prices=lines, why="dear")
        number = PriceBookVersion.objects.filter(book__slug="list").latest("number").number
    rows = rows_of(fin, f"/prices/list/{number}/?format=csv")
    assert [r["runs_on"] for r in rows if r["will"] == "7"] == ["H100"] * 3


def test_the_differences_of_a_version_are_those_of_the_page(fin, scene):
    at = f"/prices/list/{scene.draft.number}/"
    shown = fin.get(at).context["rows"]
    rows = rows_of(fin, f"{at}?format=csv")
    assert [(r["was"], r["will"], r["change"]) for r in rows] == [
        (d.was or "", d.will or "", d.change) for d in shown
    ]
    assert {r["change"] for r in rows} == {"dearer"}


def test_runs_and_what_they_were_made_from(fin, scene):
    runs = rows_of(fin, "/rating-runs/?format=csv")
    assert runs[0]["id"] == str(scene.run)
    page = fin.get(f"/rating-runs/{scene.run}/")
    assert b"list v1" in page.content
    (version,) = rows_of(fin, f"/rating-runs/{scene.run}/?format=csv")
    assert (version["book"], version["version"]) == ("list", "1")
    assert fin.get("/rating-runs/999999/").status_code == 404
    charges = fin.get("/billing/acme/charges/?from=now-7d").content.decode()
    assert f'href="/rating-runs/{scene.run}/"' in charges or "/rating-runs/" in charges
