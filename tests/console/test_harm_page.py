"""What the page of a rollout says of broken requests, and the button of who is on it."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.test import Client
from django.utils import timezone

from fleet.models import RolloutAnswer, RolloutCall
from tenants.base.scope import fleet_scope
from tests.console.test_fleet_pages import signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def olga(scene: SimpleNamespace) -> Client:
    return signed_in(scene.olga)


@pytest.fixture
def rollout(scene: SimpleNamespace):
    now = timezone.now()
    with fleet_scope():
        found = scene.rollouts["rolled_back"]
        found.started_at = now - timedelta(minutes=9)
        found.new_left_at = now - timedelta(minutes=5)
        found.save()
        fields = {"leaving": True, "outcome": "failed", "reason": "upstream_abort", "cut": True}
        RolloutAnswer.objects.create(
            rollout=found, tenant_id=scene.tenants[0].pk, requests=27,
            release_id=found.to_release_id,
            last_began=found.new_left_at + timedelta(seconds=0.4),
            last_ended=found.new_left_at + timedelta(seconds=11), **fields,
        )  # fmt: skip
        RolloutCall.objects.create(
            rollout=found, kind="rolled_back", since=now, called_at=now, times=1
        )
    return found


def test_it_shows_harm_by_tenant_with_the_requests_behind_it(olga: Client, rollout):
    page = olga.get(f"/rollouts/{rollout.pk}/").content.decode()
    for words in ("27 requests", "acme 27; 27 cut mid-stream", "27 aborted", "0.4 s later"):
        assert words in page
    link = page.partition('href="/requests/?')[2].partition('"')[0].replace("&amp;", "&")
    assert "tenant=acme" in link and f"release={rollout.to_release.fingerprint}" in link
    assert olga.get(f"/requests/?{link}").status_code == 200
    found = olga.get(f"/api/v1/rollouts/{rollout.pk}/harm").json()
    assert (found["requests"], found["cut"], found["tenants"][0]["tenant"]) == (27, 27, "acme")
    assert found["drains"][0]["drain_seconds"] == 11


def test_who_is_on_it_says_so_once(olga: Client, rollout):
    address = f"/rollouts/{rollout.pk}/acknowledge/"
    page = olga.get(f"/rollouts/{rollout.pk}/").content.decode()
    assert "Nobody is on it yet" in page and address in page
    assert olga.post(address, {"why": "looking"}).status_code == 302
    page = olga.get(f"/rollouts/{rollout.pk}/").content.decode()
    assert "olga@example.test is on it" in page and address not in page
    assert olga.post(address).status_code == 409
    place = f"/api/v1/rollouts/{rollout.pk}/acknowledge"
    assert olga.post(place, "{}", content_type="application/json").status_code == 409
