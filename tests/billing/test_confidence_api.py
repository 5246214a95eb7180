"""Confidence by hour over the API: paged, narrowed, and for the fleet's people only."""

from datetime import timedelta

import pytest

from billing.models import EngineHour
from fleet.models import Service
from tests.billing.factories import HOUR, load, usage
from tests.fleet.makers import make_service

pytestmark = pytest.mark.django_db
RANGE = "since=2026-11-20T06:00:00Z&until=2026-11-20T13:00:00Z"


@pytest.fixture
def hours(acme, globex, gateway):
    """Three hours of a service: within, off and unknown; globex used the first."""
    make_service()
    pk = Service.objects.get().pk
    for back, tenant in enumerate((globex, acme, acme)):
        load(gateway, usage(tenant, service_id=pk, at=HOUR - timedelta(hours=back)))
    for back, prompt in enumerate((100, 150)):
        EngineHour.objects.create(
            hour=HOUR - timedelta(hours=back), service_id=pk, prompt_tokens=prompt,
            completion_tokens=30, engines=2,
        )  # fmt: skip
    return pk


def test_it_pages_through_hours_newest_first(hours, finance):
    first = finance.get(f"usage/confidence/hours?{RANGE}&limit=2")
    assert [h["state"] for h in first["results"]] == ["within", "off"]
    off = first["results"][1]
    assert off["figure"] == off["tokens"] == pytest.approx(130 / 180)
    assert off["why"] == "27.78 % metered against counted"
    assert (off["delivery"], off["measured"]) == (None, 1.0)
    second = finance.get(first["next"].partition("/api/v1/")[2])
    assert [h["state"] for h in second["results"]] == ["unknown"]
    assert second["next"] is None


def test_it_is_narrowed_by_tenant_service_and_state(hours, finance):
    path = f"usage/confidence/hours?{RANGE}"
    name = Service.objects.get().name
    assert len(finance.get(f"{path}&service={name}&off=true")["results"]) == 2
    (found,) = finance.get(f"{path}&tenant=globex")["results"]
    assert (found["theirs"], found["state"]) == (130, "within")
    assert finance("get", f"{path}&service=nothing").status_code == 404
    assert finance("get", f"{path}&cursor=x").status_code == 404


def test_a_tenants_own_people_do_not_see_it(hours, stranger):
    assert stranger("get", f"usage/confidence/hours?{RANGE}").status_code == 404
