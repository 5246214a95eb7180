"""Pages of scaling: they call the actions, keep what was typed, and say what was decided."""

from types import SimpleNamespace

import pytest
from django.test import Client

from fleet.models import ScalingPolicy
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
    "nothing": ({"min_replicas": 0}, "nothing keeps requests waiting"),
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
