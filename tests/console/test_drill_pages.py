"""Pages of drills: what they show, and that they call the action."""

from types import SimpleNamespace

import pytest
from django.test import Client
from django.utils import timezone

from fleet.models import Drill, DrillReport
from tests.console.drill_scene import furnish_drill
from tests.console.test_fleet_pages import signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def drilled(scene: SimpleNamespace) -> SimpleNamespace:
    return furnish_drill(scene, timezone.now())


@pytest.fixture
def olga(drilled: SimpleNamespace) -> Client:
    return signed_in(drilled.olga)


def test_a_report_is_shown_and_taken_as_files(olga: Client, drilled: SimpleNamespace):
    address = f"/drills/{drilled.drill.pk}/"
    page = olga.get(address).content.decode()
    assert "Not as it must be. requests lost: 3, at most 0" in page
    assert "Not kept" in page and "acme 3" in page
    kept = DrillReport.objects.get()
    found = olga.get(f"{address}report.json").json()
    assert (found["digest"], found["report"]) == (kept.digest, kept.report)
    assert b"rolled_back" in olga.get(f"{address}report.csv").content


def test_the_list_filters_and_says_who_needs_one(olga: Client, drilled: SimpleNamespace):
    label, service = str(drilled.drill), drilled.drill.service.name
    page = olga.get("/drills/").content.decode()
    assert label in page and "Needs a drill" in page
    assert label in olga.get(f"/drills/?show=failed&service={service}").content.decode()
    assert "No drill fits this view" in olga.get("/drills/?show=passed").content.decode()
    assert label in olga.get("/drills/?format=csv").content.decode()
    assert "Way back not proved lately" in olga.get(f"/services/{service}/").content.decode()


def test_without_any_it_says_what_a_drill_is(scene: SimpleNamespace):
    page = signed_in(scene.olga).get("/drills/").content.decode()
    assert "No way back was drilled yet" in page


def test_a_form_plans_one_and_keeps_what_was_refused(olga: Client, drilled: SimpleNamespace):
    service = drilled.services[0]
    address = f"/new/drill/?service={service.name}"
    given = {
        "release": drilled.spare.pk, "moment": "step", "step": "30", "traffic_back": "10",
        "full_back": "600", "lost": "0", "reason": "as every quarter",
    }  # fmt: skip
    answer = olga.post(address, given)
    assert answer.status_code == 422
    assert "There is no step 30" in answer.content.decode()
    assert "as every quarter" in answer.content.decode()
    assert Drill.objects.count() == 1
