"""Pages of reserved GPUs: one is made, its idle time is shown, it ends; tenants see their own."""

import csv
import io
from datetime import timedelta

import pytest
from django.utils import timezone

from tests.console.visitors import browser

pytestmark = pytest.mark.django_db
PAGE = "/economics/reservations/"


def hour(hours: int) -> str:
    at = timezone.now().replace(minute=0, second=0, microsecond=0) + timedelta(hours=hours)
    return f"{at:%Y-%m-%dT%H:%M}"


def test_it_reserves_and_ends(scene):
    fin = browser(scene.fin)
    given = {"tenant": "acme", "product": "h200-sxm", "gpus": 2, "starts_at": hour(1), "why": "C1"}
    assert fin.post(f"{PAGE}new/", given | {"why": ""}).status_code == 422
    assert fin.post(f"{PAGE}new/", given | {"ends_at": hour(1)}).status_code == 422
    assert fin.post(f"{PAGE}new/", given).status_code == 302
    rows = fin.get(PAGE).context["rows"]
    row, tenant, state = rows[0]
    assert (row.gpus, tenant, state) == (2, "acme", "waiting")
    end = fin.get(f"{PAGE}{row.pk}/end/").context["form"].initial
    assert fin.post(f"{PAGE}{row.pk}/end/", end | {"ends_at": hour(0)}).status_code == 422
    assert fin.post(f"{PAGE}{row.pk}/end/", end | {"ends_at": hour(5)}).status_code == 302
    assert fin.post(f"{PAGE}{row.pk}/end/", end | {"ends_at": hour(6)}).status_code == 422


def test_it_shows_what_reserved_gpus_cost_that_nobody_used(scene):
    fin = browser(scene.fin)
    page = fin.get(PAGE)
    ((tenant, cost),) = page.context["costs"]
    assert (tenant, cost.currency) == ("acme", "USD")
    assert cost.amount > 0
    found = list(csv.DictReader(io.StringIO(fin.get(f"{PAGE}?format=csv").content.decode())))
    assert [r["tenant"] for r in found] == ["acme"]
    shares = browser(scene.olga).get("/economics/shares/?kind=tenant&from=now-7d")
    assert "reserved idle" in shares.content.decode()


def test_a_stranger_sees_and_makes_none(scene):
    mallory = browser(scene.mallory)
    page = mallory.get(PAGE)
    assert page.status_code in (403, 404) or page.context["rows"] == []
    for address in (f"{PAGE}new/", f"{PAGE}{scene.reservation.pk}/end/"):
        assert mallory.get(address).status_code in (403, 404)
        assert mallory.post(address, {}).status_code in (403, 404)
