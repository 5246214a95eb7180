"""Pages of how cost is shared: by release, by which method, with which weights."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.utils.html import escape

from billing.models import AllocationRun, CostMethod, WorkWeight
from billing.rules.allocation import METHODS
from fleet.models import Rollout, RolloutGpuTime
from tenants.base.scope import fleet_scope
from tests.console.visitors import browser, rows

pytestmark = pytest.mark.django_db
RELEASES, METHODS_PAGE = "/economics/releases/?from=now-7d", "/economics/methods/"


def test_releases_add_up_to_what_the_page_of_economics_has(scene):
    olga = browser(scene.olga)
    whole = olga.get("/economics/?from=now-7d").context["found"]
    found = olga.get(RELEASES).context["found"]
    assert found.whole.charged == whole.charged > 0
    assert found.whole.cost == whole.attributed > 0
    assert any(row.release for row in found.rows)


def test_a_releases_cost_leads_to_its_shares(scene):
    olga = browser(scene.olga)
    page = olga.get(RELEASES)
    row, address = next((r, a) for r, a in page.context["rows"] if a and r.cost)
    found = rows(olga.get(f"/economics/shares/?{address}&format=csv"))
    of_model = [r for r in found if r["model"] == row.model]
    assert sum(Decimal(r["amount"]) for r in of_model) == row.cost
    assert {r["release"] for r in found} == {row.release}


def test_its_file_is_what_it_shows(scene):
    olga = browser(scene.olga)
    shown = olga.get(RELEASES).context["found"].rows
    found = rows(olga.get(RELEASES + "&format=csv"))
    assert [(r["release"], Decimal(r["margin"])) for r in found] == [
        (row.release, row.margin) for row in shown
    ]


def hour_ahead(hours: int) -> datetime:
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    return now + timedelta(hours=hours)


def test_a_method_is_chosen_for_an_hour_ahead_and_shown(scene):
    olga = browser(scene.olga)
    at = hour_ahead(3)
    page = olga.get(METHODS_PAGE).content.decode()
    assert all(escape(text) in page for text in METHODS.values())
    given = {"method": "token-work-1", "starts_at": f"{at:%Y-%m-%dT%H:%M}", "why": "Prompts"}
    assert olga.post(METHODS_PAGE, given).status_code == 302
    with fleet_scope():
        made = CostMethod.objects.get()
    assert (made.method, made.starts_at) == ("token-work-1", at)
    assert [r["method"] for r in rows(olga.get(METHODS_PAGE + "?format=csv&of=choices"))] == [
        "token-work-1"
    ]


def test_what_is_refused_keeps_what_was_typed(scene):
    olga = browser(scene.olga)
    given = {"method": "token-work-1", "starts_at": f"{hour_ahead(-3):%Y-%m-%dT%H:%M}", "why": "So"}
    answer = olga.post(METHODS_PAGE, given)
    assert answer.status_code == 422
    assert "keep their method" in answer.content.decode()
    assert 'value="So"' in answer.content.decode()


def test_weights_are_shown_with_what_they_rest_on(scene):
    with fleet_scope():
        WorkWeight.objects.create(
            release="rel-0123456789ab", number=1, starts_at=hour_ahead(-5), prefill_ns=41_234,
            decode_ns=9_876_543, fit=Decimal("0.9312"), samples=1_999, first_at=hour_ahead(-29),
            last_at=hour_ahead(-6), samples_sha="a" * 64, usable=True, made_at=hour_ahead(-5),
        )  # fmt: skip
    olga = browser(scene.olga)
    page = olga.get(METHODS_PAGE).content.decode()
    assert all(text in page for text in ("41,234", "9,876,543", "0.9312", "1,999"))
    found = rows(olga.get(METHODS_PAGE + "?format=csv"))
    assert [(r["release"], r["samples_sha"]) for r in found] == [("rel-0123456789ab", "a" * 64)]


def test_only_the_fleets_finance_sees_and_chooses(scene):
    for address in (RELEASES, METHODS_PAGE):
        assert browser(scene.mallory).get(address).status_code in (403, 404)
        assert browser(scene.watcher).get(address).status_code == 403
    given = {"method": "token-work-1", "starts_at": f"{hour_ahead(3):%Y-%m-%dT%H:%M}", "why": "x"}
    assert browser(scene.watcher).post(METHODS_PAGE, given).status_code == 403


def test_rollouts_and_idle_have_their_costs_as_lists_and_files(scene):
    hour = hour_ahead(-13)
    with fleet_scope():
        rollout = Rollout.objects.filter(started_at__isnull=False).first()
        at = AllocationRun.objects.filter(is_current=True).order_by("-hour").first().hour
        RolloutGpuTime.objects.create(
            rollout=rollout, hour=at, gpu_product="h200-sxm", gpu_ms=1_800_000
        )
        RolloutGpuTime.objects.create(
            rollout=rollout, hour=hour - timedelta(days=3), gpu_product="h200-sxm", gpu_ms=900_000
        )
    olga = browser(scene.olga)
    page = olga.get("/economics/rollouts/?from=now-7d")
    (found,) = rows(olga.get("/economics/rollouts/?from=now-7d&format=csv"))
    assert (found["label"], Decimal(found["cost"])) == (f"RO-{rollout.pk}", Decimal("1.70"))
    assert (found["gpu_hours"], found["unpriced_hours"]) == ("0.75", "0.25")
    assert page.context["sums"] == [("USD", Decimal("1.70"))]
    shown = olga.get(f"/rollouts/{rollout.pk}/").content.decode()
    assert "Measured cost of this rollout" in shown
    assert "$1.70" in shown
    idle = olga.get("/economics/idle/?from=now-7d")
    whole = olga.get("/economics/?from=now-7d").context["found"].idle
    found = rows(olga.get("/economics/idle/?from=now-7d&format=csv"))
    assert sum(Decimal(r["amount"]) for r in found) == idle.context["whole"] == whole > 0
