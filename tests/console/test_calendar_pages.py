"""Pages of the change calendar and of drift: they call the actions and say what they did."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db.models import F
from django.test import Client
from django.utils import timezone

from fleet.models import Deployment, Drift, Freeze, Rollout
from fleet.rules.phases import FINAL
from tests.console.test_fleet_pages import signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def olga(scene: SimpleNamespace) -> Client:
    return signed_in(scene.olga)


def plan(**changes) -> dict[str, object]:
    usual = {
        "title": "Weekends", "reason": "nobody is up", "scope": "", "zone": "Europe/Berlin",
        "starts_at": "2026-12-01T00:00", "ends_at": "", "weekdays": ["5", "6"],
        "from_time": "00:00", "hours": "24",
    }  # fmt: skip
    return usual | changes


def test_a_weekly_freeze_is_planned_shown_and_ended(olga: Client):
    assert olga.post("/new/freeze/", plan())["Location"] == "/calendar/"
    made = Freeze.objects.get()
    assert (made.weekdays, made.minutes, made.zone) == ([5, 6], 1440, "Europe/Berlin")
    assert made.starts_at.isoformat() == "2026-11-30T23:00:00+00:00"
    page = olga.get("/calendar/").content.decode()
    assert "Saturday, Sunday from 00:00 for 24 h, Europe/Berlin" in page
    assert f'id="dlg-end-{made.pk}"' in page
    olga.post(f"/calendar/{made.pk}/end/", {"why": "planned twice"})
    made.refresh_from_db()
    assert (made.closed_by, made.closed_why) == ("olga@example.test", "planned twice")


def test_what_was_typed_stays_when_it_is_refused(olga: Client):
    answer = olga.post("/new/freeze/", plan(zone="Berlin", reason="Mine"))
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "No IANA zone" in page
    assert "Mine" in page


def test_a_frozen_rollout_says_so_and_asks_for_an_exception(olga: Client, scene: SimpleNamespace):
    now = timezone.now()
    Freeze.objects.create(
        title="Holidays", reason="nobody is up", starts_at=now - timedelta(hours=1),
        created_by="olga@example.test",
    )  # fmt: skip
    waiting = scene.rollouts["waiting"].pk
    assert "“Holidays” lets no rollout begin" in olga.get(f"/rollouts/{waiting}/").content.decode()
    answer = olga.post(f"/rollouts/{waiting}/exception/", {"why": "a leak"})
    page = olga.get(answer["Location"]).content.decode()
    assert "exception from the freeze" in page
    assert "begins although a freeze holds" in page
    assert f'href="/rollouts/{waiting}/"' in page
    assert f"/rollouts/{waiting}/" in olga.get("/calendar/").content.decode()


def test_drift_is_shown_with_its_author_and_repaired(olga: Client):
    ended = [phase.value for phase in FINAL]
    moving = Rollout.objects.exclude(phase__in=ended).values("service")
    row = Deployment.objects.exclude(service__in=moving).first()
    now = timezone.now()
    Drift.objects.create(
        deployment=row, path="spec.replicas", declared=2, live=5, manager="kubectl",
        operation="Update", written_at=now, found_at=now, seen_at=now,
    )  # fmt: skip
    address = f"/services/{row.service.name}/"
    for page in (olga.get(address), olga.get(f"/clusters/{row.cluster.slug}/")):
        assert "kubectl (Update)" in page.content.decode()
    assert "Adopt 5 replicas" in olga.get(address).content.decode()
    assert f"{row.service.name} was changed in the cluster" in olga.get("/").content.decode()
    assert olga.post(f"/deployments/{row.pk}/repair/", {"why": "a mistake"})["Location"] == address
    assert Drift.objects.get().wish == "repair"


def test_an_edit_of_the_content_is_offered_as_a_release(olga: Client):
    ended = [phase.value for phase in FINAL]
    moving = Rollout.objects.exclude(phase__in=ended).values("service")
    rows = Deployment.objects.filter(release=F("service__current_release"))
    row, now = rows.exclude(service__in=moving)[0], timezone.now()
    found = Drift.objects.create(
        deployment=row, path="spec.template.spec.containers[vllm].args", declared=["--a"],
        live=["--b"], manager="kubectl-edit", operation="Update", found_at=now, seen_at=now,
    )  # fmt: skip
    address = f"/services/{row.service.name}/"
    page = olga.get(address).content.decode()
    assert "Adopt as a release" in page
    told = {"edit": "another", "why": "it is better"}
    answer = olga.post(f"/deployments/{row.pk}/adopt-content/", told)
    assert "was changed since you looked at it" in answer.content.decode()
    Drift.objects.filter(pk=found.pk).update(adopted_as=row.release)
    page = olga.get(address).content.decode()
    assert "Adopt as a release" not in page
    assert "which is to be rolled out" in page
