"""Pages of placements and sequences: they call the actions and say what they did."""

from types import SimpleNamespace

import pytest
from django.test import Client
from django.utils import timezone

from fleet.models import Freeze, Placement, RolloutSequence, SequenceStage
from tests.console.sequence_scene import furnish_sequence
from tests.console.test_fleet_pages import signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def sequenced(scene: SimpleNamespace) -> SimpleNamespace:
    return furnish_sequence(scene, timezone.now())


@pytest.fixture
def olga(sequenced: SimpleNamespace) -> Client:
    return signed_in(sequenced.olga)


def test_a_sequence_is_shown_and_steered(olga: Client, sequenced: SimpleNamespace):
    address = f"/sequences/{sequenced.sequence.pk}/"
    page = olga.get(address).content.decode()
    assert "Frozen until seen again: asia-1" in page
    assert "Bakes for another 42 min" in page
    assert "Begins at the earliest" in page and "as it was approved" in page
    assert 'id="dlg-out-2"' in page and 'id="dlg-out-1"' not in page
    assert olga.post(f"{address}stages/2/leave-out/", {"why": "racks move"})["Location"] == address
    stage = SequenceStage.objects.get(sequence=sequenced.sequence, number=2)
    assert (stage.left_out_by, stage.left_out_why) == ("olga@example.test", "racks move")
    for verb, wish in (("pause", "pause"), ("resume", "run"), ("roll-back", "roll_back")):
        assert olga.post(f"{address}{verb}/", {"why": "as agreed"})["Location"] == address
        assert RolloutSequence.objects.get(pk=sequenced.sequence.pk).wish == wish
    assert "Roll back" in olga.get(address).content.decode()


def test_the_service_and_the_rollouts_lead_to_it(olga: Client, sequenced: SimpleNamespace):
    name = sequenced.placed.name
    for address in (f"/services/{name}/", f"/services/{name}-us-1/", "/rollouts/"):
        assert f'href="/sequences/{sequenced.sequence.pk}/"' in olga.get(address).content.decode()
    page = olga.get(f"/services/{name}/").content.decode()
    assert f'href="/new/sequence/?service={name}"' in page
    assert "home, asked first" in page


def test_clusters_are_named_on_a_form_that_keeps_what_was_typed(
    olga: Client, sequenced: SimpleNamespace
):
    RolloutSequence.objects.update(phase="succeeded")
    name = sequenced.placed.name
    address = f"/services/{name}/placements/"
    answer = olga.post(address, {"members": f"{name}-us-1, nobody"})
    assert answer.status_code == 422
    assert "There is no service &#x27;nobody&#x27;" in answer.content.decode()
    assert f"{name}-us-1, nobody" in answer.content.decode()
    olga.post(address, {"members": f"{name}-us-1"})
    assert [p.member.name for p in Placement.objects.all()] == [f"{name}-us-1"]


def test_a_refused_proposal_is_explained(olga: Client, sequenced: SimpleNamespace):
    name = sequenced.placed.name
    address = f"/new/sequence/?service={name}"
    assert f"{name}-us-1, {name}-asia-1, {name}" in olga.get(address).content.decode()
    release = sequenced.sequence.release
    given = {"release": release.pk, "order": name, "bake_minutes": "5", "reason": "x"}
    answer = olga.post(address, given)
    assert answer.status_code == 422
    assert "Name each of" in answer.content.decode()


def test_times_of_clusters_are_typed_and_the_calendar_is_beside_them(
    olga: Client, sequenced: SimpleNamespace
):
    name = sequenced.placed.name
    Freeze.objects.create(
        title="Incident", reason="GPU errors", starts_at=timezone.now(), created_by="vic",
        cluster=sequenced.placed.cluster,
    )  # fmt: skip
    address = f"/new/sequence/?service={name}"
    page = olga.get(address).content.decode()
    assert "What the change calendar says now" in page
    assert "when somebody ends “Incident”" in page
    given = {"release": sequenced.sequence.release.pk, "order": name, "bake_minutes": "5"}
    answer = olga.post(address, given | {"reason": "x", "begins_from": f"{name} on Saturday"})
    assert answer.status_code == 422
    assert "Saturday&#x27; is no IANA zone" in answer.content.decode()
    assert f"{name} on Saturday" in answer.content.decode()


def test_the_approval_says_what_it_does(olga: Client, sequenced: SimpleNamespace):
    page = olga.get(f"/approvals/{sequenced.sequence.change_id}/").content.decode()
    assert "each cluster begins by itself when the one before has baked" in page
