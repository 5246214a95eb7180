"""Pages of drills: what they show, and that they call the action."""

from types import SimpleNamespace

import pytest
from django.test import Client
from django.utils import timezone

from fleet.models import Drill, DrillReport, PodLoss
from tenants.base.scope import fleet_scope
from tenants.models import ChangeRequest
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
    kept = DrillReport.objects.get(drill=drilled.drill)
    found = olga.get(f"{address}report.json").json()
    assert (found["digest"], found["report"]) == (kept.digest, kept.report)
    assert b"rolled_back" in olga.get(f"{address}report.csv").content


def test_the_list_filters_and_says_who_needs_one(olga: Client, drilled: SimpleNamespace):
    label, service = str(drilled.drill), drilled.drill.service.name
    page = olga.get("/drills/").content.decode()
    assert label in page and "Needs a drill" in page
    assert label in olga.get(f"/drills/?show=failed&service={service}").content.decode()
    assert "No drill fits this view" in olga.get("/drills/?show=not_run").content.decode()
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
    assert Drill.objects.count() == 2


def test_a_lost_replica_has_its_page_report_and_files(olga: Client, drilled: SimpleNamespace):
    address = f"/drills/{drilled.lost.pk}/"
    page = olga.get(address).content.decode()
    for words in ("a replica is killed", "chat-b-9q1zz serves instead", "300.0 s", "Kept"):
        assert words in page
    assert "watching" in olga.get(f"{address}report.csv").content.decode()
    listed = olga.get("/drills/").content.decode()
    assert "when a replica is killed" in listed and "chat-b-x2k4n" in listed
    approval = f"/approvals/{PodLoss.objects.get().change_id}/"
    assert address in olga.get(approval).content.decode()


def test_it_plans_the_loss_of_a_replica(olga: Client, drilled: SimpleNamespace):
    name = drilled.drill.service.name
    address = f"/new/drill/pod/?service={name}"
    assert address in olga.get("/new/drill/").content.decode()
    form = {"traffic_back": 20, "full_back": 300, "lost": 8, "reason": "a node may die"}
    refused = olga.post(address, form | {"lost": -1})
    assert refused.status_code == 422 and "a node may die" in refused.content.decode()
    answer = olga.post(address, form)
    with fleet_scope():
        drill = Drill.objects.latest("id")
        change = ChangeRequest.objects.get(kind="pod_loss", target_id=drill.pk, state="waiting")
    assert answer["Location"] == f"/drills/{drill.pk}/"
    assert (drill.limits["requests_lost"], change.payload["service"]) == (8, name)
    assert "Proposed" in olga.get(f"/drills/{drill.pk}/").content.decode()
    again = olga.post(address, form)
    assert "is open: let it end first" in again.content.decode()
