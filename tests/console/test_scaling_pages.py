"""Pages of scaling: they call the actions, keep what was typed, and say what was decided."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.test import Client
from django.utils import timezone

from fleet.models import Deployment, ObservedPod, ScalingPolicy
from tests.console.test_fleet_pages import service_form, signed_in

pytestmark = pytest.mark.django_db
PAGE, LARGE = "/services/chat-small/scaling/", "/services/chat-large/scaling/"


@pytest.fixture
def olga(scene: SimpleNamespace) -> Client:
    return signed_in(scene.olga)


def bounds(**changes) -> dict[str, object]:
    usual = {
        "min_replicas": 2, "max_replicas": 6, "target": 24, "stable_seconds": 600,
        "pause_seconds": 120, "zone": "Europe/Berlin", "hours": "Mon-Fri 08:00-20:00 min 4",
        "idle_seconds": 1200, "wait_seconds": 240, "max_waiting": 32,
        "why": "busy days", "version": "",
    }  # fmt: skip
    return usual | changes


def test_it_shows_bounds_decisions_and_what_is_missing(olga: Client):
    page = olga.get(PAGE).content.decode()
    assert "Mon-Fri 08:00-20:00 min 2" in page
    assert "6 wanted, 4 given: 4 h200-sxm missing" in page
    assert "3 → 4" in page
    assert 'id="t-load"' in page  # the chart's table twin


def test_it_says_so_where_people_give_the_number(olga: Client, scene: SimpleNamespace):
    page = olga.get(LARGE).content.decode()
    assert "It is not scaled by its load" in page
    assert f"{LARGE}edit/" in page
    stranger = signed_in(scene.vic).get(LARGE).content.decode()
    assert f"{LARGE}edit/" not in stranger


def test_a_policy_is_set_changed_and_taken_away(olga: Client):
    assert olga.post(f"{LARGE}edit/", bounds())["Location"] == LARGE
    made = ScalingPolicy.objects.get(service__name="chat-large")
    assert (made.min_replicas, made.target, made.stable_seconds) == (2, 24, 600)
    page = olga.get(f"{LARGE}edit/").content.decode()
    assert "Mon-Fri 08:00-20:00 min 4" in page
    stale = olga.post(f"{LARGE}edit/", bounds(version=made.version + 1))
    assert "Somebody else changed this meanwhile" in stale.content.decode()
    olga.post(f"{LARGE}edit/", bounds(version=made.version, max_replicas=9))
    made.refresh_from_db()
    assert (made.max_replicas, made.version) == (9, 2)
    olga.post(f"{LARGE}clear/", {"why": "by hand"})
    assert not ScalingPolicy.objects.filter(service__name="chat-large").exists()


WRONG = {
    "a line of hours": ({"hours": "weekdays 8-20 4"}, "is not like: Mon-Fri 08:00-20:00 min 4"),
    "nothing": ({"min_replicas": 0, "max_replicas": 0}, "no request could wake it"),
    "nobody may wait": ({"max_waiting": 0}, "requests that may wait for it to wake"),
    "bounds": ({"max_replicas": 1}, "is below the minimum 2: raise it by 1"),
    "a zone": ({"zone": "Berlin"}, "no IANA zone"),
    "a target": ({"target": 0}, "requests in flight of one replica, a whole number from 1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_was_typed_stays_when_it_is_refused(case, olga: Client):
    changes, words = WRONG[case]
    answer = olga.post(f"{LARGE}edit/", bounds(**changes, why="Mine"))
    page = answer.content.decode()
    assert answer.status_code == 422
    assert words in page
    assert "Mine" in page


@pytest.fixture
def asleep(scene: SimpleNamespace) -> ScalingPolicy:
    """chat-small, since 14 min."""
    policy = ScalingPolicy.objects.get()
    policy.min_replicas, policy.slept_at = 0, timezone.now() - timedelta(minutes=14)
    policy.save()
    placed = Deployment.objects.filter(service=policy.service)
    ObservedPod.objects.filter(deployment__in=placed).delete()
    placed.update(replicas=0)
    return policy


def test_a_service_that_sleeps_says_what_wakes_it(olga: Client, asleep: ScalingPolicy):
    for page in (PAGE, "/services/chat-small/"):
        shown = olga.get(page).content.decode()
        assert "Sleeping" in shown
        assert "The first request wakes it and waits for it, 5 min 0 s at most" in shown
        assert "a start takes 4 min 0 s (p95)" in shown
    assert "Sleeps without a request after" in olga.get(PAGE).content.decode()
    assert "Leave it to people" not in olga.get(PAGE).content.decode()
    listed = olga.get("/services/?show=sleeping").content.decode()
    assert "chat-small" in listed
    assert "chat-large" not in listed
    attention = olga.get("/").content.decode()
    assert "chat-small is down" not in attention
    assert "chat-small is not as wanted" not in attention


def test_requests_that_wait_less_than_a_start_takes_are_warned_of(
    olga: Client, asleep: ScalingPolicy
):
    warning = "A start takes 4 min 0 s (p95), and a request may wait 60 s"
    assert warning not in olga.get(PAGE).content.decode()
    ScalingPolicy.objects.update(wait_seconds=60)
    assert warning in olga.get(PAGE).content.decode()
    ScalingPolicy.objects.update(min_replicas=1, slept_at=None)
    assert warning not in olga.get(PAGE).content.decode()


def test_a_person_wakes_it(olga: Client, asleep: ScalingPolicy, scene: SimpleNamespace):
    assert signed_in(scene.vic).post(f"{PAGE}wake/").status_code in (403, 404)
    assert olga.post(f"{PAGE}wake/", {"why": "a demo"})["Location"] == PAGE
    asleep.refresh_from_db()
    assert asleep.called_at is not None
    asleep.woken_at = timezone.now()
    asleep.save()
    Deployment.objects.filter(service=asleep.service).update(replicas=1)
    for page in (PAGE, "/services/chat-small/"):
        assert "Wakes since" in olga.get(page).content.decode()
    assert "Wake it now" not in olga.get(PAGE).content.decode()
    assert olga.post(f"{PAGE}wake/").status_code == 409


def test_a_plan_says_that_the_service_sleeps(
    olga: Client, asleep: ScalingPolicy, scene: SimpleNamespace
):
    page = olga.get(f"/new/rollout/?release={scene.spare.pk}").content.decode()
    assert "chat-small sleeps at 0 replicas: wake it first" in page


def test_a_stranger_changes_nothing(scene: SimpleNamespace):
    for person in (scene.vic, scene.mallory):
        client = signed_in(person)
        assert client.post(f"{LARGE}edit/", bounds()).status_code in (403, 404)
        assert client.post(f"{PAGE}clear/").status_code in (403, 404)
    assert ScalingPolicy.objects.count() == 1


def test_the_number_of_a_scaled_service_is_refused_at_its_field(
    olga: Client, scene: SimpleNamespace
):
    form = service_form(replicas=5, cluster_id=scene.cluster.pk)
    answer = olga.post("/services/chat-small/edit/", form | {"version": ""})
    assert answer.status_code == 422
    assert "A policy scales it between 1 and 6 replicas" in answer.content.decode()
