"""The plan before the button: when each way begins, whom it touches, from which starts it knows."""

import re
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.test import Client
from django.utils import timezone

from fleet.models import EngineSample, Freeze, Rollout, TrafficSlot
from fleet.rules.traffic import DASHBOARD_SECONDS, slot_of
from tenants.base.scope import fleet_scope
from tests.browser.registry import PAGES

pytestmark = pytest.mark.django_db


@pytest.fixture
def olga(scene: SimpleNamespace) -> Client:
    client = Client()
    client.force_login(scene.olga)
    return client


@pytest.fixture
def address(scene: SimpleNamespace) -> str:
    with fleet_scope():
        Rollout.objects.filter(service=scene.services[0]).update(phase="cancelled")
    return PAGES["rollout_new"](scene)


def text_of(client: Client, address: str) -> str:
    page = client.get(address).content.decode()
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def test_it_names_tenants_and_classes_in_each_way_and_what_the_peak_needs(olga, address, scene):
    now = timezone.now()
    with fleet_scope():
        TrafficSlot.objects.create(
            seconds=DASHBOARD_SECONDS, slot=now - timedelta(days=3), release_id=0,
            tenant_id=scene.tenants[0].pk, service_id=scene.services[0].pk,
            traffic_class="interactive", outcome="served", requests=987_654,
        )  # fmt: skip
    page = text_of(olga, address)
    assert "Who is touched by which way" in page
    assert "Finds no replica" in page
    assert "987,654 requests in 5 min" in page
    assert "requests in the last hour" in page


def test_it_shows_starts_by_pool_and_cache_state(olga, address):
    page = text_of(olga, address)
    assert "Cold starts that were measured" in page
    assert "reserved pulled first 1" in page
    assert "reserved on the node 2" in page
    assert "in its place:" in page


def test_it_says_when_a_freeze_ends(olga, address):
    assert "as soon as it is approved" in text_of(olga, address)
    ends = timezone.now() + timedelta(hours=5)
    Freeze.objects.create(
        title="Sale", reason="as every year", starts_at=timezone.now(), ends_at=ends,
        created_by="olga@example.test",
    )  # fmt: skip
    assert "“Sale” lets no rollout begin before" in text_of(olga, address)


def test_a_time_is_proposed_and_stands_in_what_is_approved(olga, address, scene):
    opens = timezone.now() + timedelta(hours=4)
    form = {
        "replicas": 2, "soak_seconds": 60, "steps": "", "kind": "recreate", "consent": "on",
        "reason": "at night", "begins_from": opens.strftime("%Y-%m-%dT%H:%M"),
    }  # fmt: skip
    late = form | {"begins_before": "2020-01-01T00:00"}
    refused = olga.post(address, late)
    assert refused.status_code == 422
    assert "That is over" in refused.content.decode()
    answer = olga.post(address, form)
    assert answer.status_code == 302, answer.content.decode()[:3000]
    rollout = Rollout.objects.get(service=scene.services[0], phase="validating")
    assert rollout.plan["begins"]["opens"].startswith(opens.strftime("%Y-%m-%dT%H:%M"))
    assert f"from {opens:%a %d %b %H:%M} UTC" in text_of(olga, f"/approvals/{rollout.change_id}/")


def test_it_says_zeros_and_ones_in_words(olga, address, scene):
    """An idle service needs no tenth of a replica, and one of a thing is not several."""
    with fleet_scope():
        TrafficSlot.objects.filter(service_id=scene.services[0].pk).delete()
        EngineSample.objects.filter(service=scene.services[0]).update(running=0, waiting=0)
        at = EngineSample.objects.filter(service=scene.services[0]).values_list("at", flat=True)[0]
        TrafficSlot.objects.create(
            seconds=DASHBOARD_SECONDS, slot=slot_of(at, DASHBOARD_SECONDS), release_id=0,
            tenant_id=scene.tenants[0].pk, service_id=scene.services[0].pk,
            traffic_class="interactive", outcome="served", requests=1,
        )  # fmt: skip
    page = text_of(olga, f"{address}&replicas=1&soak_seconds=0&steps=50+%25%2C+0+s%2C+1")
    assert "needs next to nothing" in page
    assert "0.0 " not in page
    assert "1 request in 5 min" in page
    assert "interactive 1 request in the last hour" in page
    assert "hardly a request at this rate" in page
    assert "no hold, 1 sample" in page
    assert "no soak" in page
    assert "0 ms" not in page


def test_the_table_of_steps_says_how_many_replicas_each_release_has(olga, address):
    page = text_of(olga, address)
    assert "new + old replicas" in page
    assert "10 % everybody 1 + 1 5 min, 50 samples" in page
    assert "100 % everybody 2 + 0 all ready before the old release shrinks" in page
