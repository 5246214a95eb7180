"""The output contract on its page: tried on what serves, kept, refused, shown with a rollout."""

import json
from types import SimpleNamespace

import pytest
from django.test import Client

from fleet.actions import contracts as actions
from fleet.models import OutputContract
from fleet.rules.contract.answers import Said

pytestmark = pytest.mark.django_db
LONG = [{"name": "too long", "kind": "too_long"}]


def page_of(scene: SimpleNamespace, number: int = 0) -> str:
    return f"/services/{scene.services[number].name}/contract/"


def signed_in(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def form(**changes):
    usual = {"version": 2, "prompts": json.dumps(LONG), "why": "only this", "what": "keep"}
    return usual | changes


def test_it_shows_what_holds_and_its_versions(scene: SimpleNamespace):
    page = signed_in(scene.olga).get(page_of(scene)).content.decode()
    assert "calls weather with arguments valid under its schema" in page
    assert "Keep as version 3" in page
    assert "Tools are in use now" in page


def test_it_keeps_a_version_and_says_so(scene: SimpleNamespace):
    client = signed_in(scene.olga)
    answer = client.post(page_of(scene), form())
    assert (answer.status_code, answer["Location"]) == (302, page_of(scene))
    assert "Version 3 is kept" in client.get(page_of(scene)).content.decode()
    kept = OutputContract.objects.get(service=scene.services[0], version=3)
    assert (kept.prompts, kept.kept_by) == (LONG, scene.olga)


REFUSED = {
    "no JSON": ({"prompts": "["}, "This is no JSON"),
    "a bad prompt": ({"prompts": '[{"name": "a", "kind": "poem"}]'}, "a: its kind is one of"),
    "no reason": ({"why": ""}, "Say why"),
    "an old version": ({"version": 1}, "Version 2 was kept meanwhile"),
    "no version": ({"version": ""}, "Nothing was saved"),
    "a NUL": ({"why": "a\x00"}, "Null characters are not allowed"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_refuses_and_keeps_what_was_typed(case: str, scene: SimpleNamespace):
    changed, words = REFUSED[case]
    answer = signed_in(scene.olga).post(page_of(scene), form(**changed))
    page = answer.content.decode()
    assert answer.status_code in (412, 422)
    assert words in page
    assert 'name="prompts"' in page
    assert OutputContract.objects.filter(service=scene.services[0]).count() == 2


def test_it_tries_before_it_keeps(scene: SimpleNamespace, monkeypatch: pytest.MonkeyPatch):
    def answer(address, service, prompt):
        return Said(200, {"choices": [{"message": {"content": "<b>fine</b>"}}]}, 5.0)

    real = actions.try_contract
    monkeypatch.setattr(actions, "try_contract", lambda *given: real(*given, answer))
    tried = signed_in(scene.olga).post(page_of(scene), form(what="try", why=""))
    page = tried.content.decode()
    assert tried.status_code == 200
    assert "Not all as expected" in page
    assert "expected a refusal with 400, got 200" in page
    assert "<b>fine</b>" not in page
    assert OutputContract.objects.filter(service=scene.services[0]).count() == 2


def test_those_who_only_look_see_no_form_and_strangers_nothing(scene: SimpleNamespace):
    vic = signed_in(scene.vic)
    page = vic.get(page_of(scene))
    assert page.status_code == 200
    assert "Keep as version" not in page.content.decode()
    assert vic.post(page_of(scene), form()).status_code == 403
    mallory = signed_in(scene.mallory)
    assert mallory.get(page_of(scene)).status_code == 404
    assert mallory.post(page_of(scene), form()).status_code == 404
    assert signed_in(scene.olga).get("/services/nobody/contract/").status_code == 404


def test_a_rollout_shows_each_answer(scene: SimpleNamespace):
    olga = signed_in(scene.olga)
    kept = olga.get(f"/rollouts/{scene.rollouts['analyzing'].pk}/").content.decode()
    assert "Output contract kept: 5 of 5 answers as expected" in kept
    broken = olga.get(f"/rollouts/{scene.rollouts['rolled_back'].pk}/").content.decode()
    assert "expected JSON, got &#x27;The capital of France is Paris.&#x27;" in broken
    waiting = olga.get(f"/rollouts/{scene.rollouts['waiting'].pk}/").content.decode()
    assert "5 prompts are asked of the first replicas before they take traffic" in waiting
