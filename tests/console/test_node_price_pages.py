"""Pages of node prices: drafts, four eyes, what changes, last month, and who may see them."""

import re
from decimal import Decimal

import pytest
from django.utils import timezone

from billing.actions.sheet_publication import publish_approved
from billing.models import AllocationRun, CostPool, GpuPriceSheet
from billing.queries.sheet_preview import last_month
from tenants.base.scope import fleet_scope
from tests.console.visitors import browser, rows

pytestmark = pytest.mark.django_db
PAGE = "/economics/node-prices/"


def test_it_drafts_proposes_and_lets_a_sheet_hold_by_four_eyes(scene):
    fin = browser(scene.fin)
    given = fin.get(f"{PAGE}new/").context["form"].initial
    lines = "h200-sxm, on_demand, hourly=5\nh200-sxm, owned, purchase=1, months=0, cluster=dc1"
    refused = fin.post(f"{PAGE}new/", given | {"lines": lines})
    assert refused.status_code == 422
    assert "months is at least 1" in refused.content.decode()
    assert fin.post(f"{PAGE}new/", given | {"lines": "h200-sxm, rented"}).status_code == 422
    lines = lines.replace("months=0", "months=48")
    kept = fin.post(f"{PAGE}new/", given | {"lines": lines})
    assert kept.status_code == 302
    number = int(re.search(r"/(\d+)/$", kept["Location"])[1])
    page = fin.get(kept["Location"])
    assert {d.change for d in page.context["rows"]} == {"dearer", "new"}
    assert fin.get(f"{kept['Location']}?with=9999").status_code == 404
    assert fin.post(f"{PAGE}{number}/propose/", page.context["form"].initial).status_code == 302
    shown = fin.get(kept["Location"])
    change = shown.context["proposal"]
    assert shown.context["sheet"].state == "proposed"
    edited = fin.post(f"{PAGE}{number}/edit/", given | {"lines": lines, "version": 1})
    assert edited.status_code == 422
    assert publish_approved(timezone.now()) == 0
    answer = browser(scene.vic).post(
        f"/approvals/{change.id}/decide/",
        {"verdict": "approve", "digest": change.digest, "typed": f"node-prices-{number}"},
    )
    assert answer.status_code == 302, answer.content
    assert publish_approved(timezone.now()) == 1
    with fleet_scope():
        assert GpuPriceSheet.objects.get(number=number).effective is not None


def test_a_proposal_that_is_withdrawn_frees_its_draft(scene):
    fin = browser(scene.fin)
    at = f"{PAGE}{scene.sheet.number}/"
    fin.post(f"{at}propose/", fin.get(at).context["form"].initial)
    change = fin.get(at).context["proposal"]
    assert fin.post(f"/approvals/{change.id}/withdraw/").status_code == 302
    publish_approved(timezone.now())
    assert fin.get(at).context["sheet"].state == "draft"
    form = fin.get(f"{at}edit/").context["form"].initial
    assert fin.post(f"{at}edit/", form).status_code == 302
    assert fin.post(f"{at}edit/", form).status_code == 422  # written again since it was read


def test_the_file_has_the_lines_that_are_shown_and_their_parts(scene):
    found = rows(browser(scene.fin).get(f"{PAGE}{scene.sheet.number}/?format=csv"))
    assert [r["kind"] for r in found] == ["owned", "reserved", "spot"]
    for row in found:
        parts = [Decimal(part.partition("=")[2]) for part in row["parts"].split()]
        assert sum(parts) == Decimal(row["hourly"])
    assert rows(browser(scene.fin).get(f"{PAGE}?format=csv"))[0]["state"] == "draft"


def test_the_preview_prices_last_month_again(scene):
    month = last_month(timezone.now())
    with fleet_scope():
        run = AllocationRun.objects.filter(is_current=True).latest("hour")
        old = AllocationRun.objects.create(
            hour=month.starts_at, method=run.method, currency="USD", sheet=run.sheet, cost=7,
            gpu_ms=7_200_000, input_sha="", finished_at=run.finished_at,
        )  # fmt: skip
        CostPool.objects.create(
            run=old, hour=old.hour, cluster="dc1", product="h200-sxm", state="free",
            capacity="spot", gpu_ms=7_200_000, hourly=Decimal("3.5"), cost=7,
        )  # fmt: skip
    fin = browser(scene.fin)
    page = fin.get(f"{PAGE}{scene.sheet.number}/preview/")
    found = page.context["found"]
    spot = next(line for line in found.lines if line.capacity == "spot")
    assert (spot.old, spot.new) == (Decimal(7), Decimal("2.20"))
    unused = next(line for line in found.lines if line.capacity == "reserved")
    assert unused.old == 0 < unused.new  # of the commitment to eight, none was there
    files = rows(fin.get(f"{PAGE}{scene.sheet.number}/preview/?format=csv"))
    assert sum(Decimal(r["difference"]) for r in files) == found.difference


def test_node_prices_are_the_fleets(scene):
    mallory = browser(scene.mallory)
    number = scene.sheet.number
    for address in ("", "new/", f"{number}/", f"{number}/edit/", f"{number}/preview/"):
        assert mallory.get(PAGE + address).status_code in (403, 404), address
    assert mallory.post(f"{PAGE}{number}/propose/", {}).status_code in (403, 404)
