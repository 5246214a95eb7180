"""Limits of gates through every door: chosen, refused, frozen, told to who approves."""

import pytest

from fleet.models import Rollout
from tenants.models import ChangeRequest
from tests.fleet.makers import make_deployment
from tests.fleet.test_rollout_api import body, post, release, service

__all__ = ["release", "service"]

pytestmark = pytest.mark.django_db


@pytest.fixture
def newer(olga, service, release):
    """A release that follows the one that serves."""
    make_deployment(service, service.releases.get(pk=release["id"]), service.cluster, weight=100)
    service.current_release_id = release["id"]
    service.save()
    made = post(olga, "releases", body(service, arguments=["--max-num-seqs=32"]))
    return made.json()["release"]


def wish(service, newer, **limits):
    return {"service_id": service.pk, "release_id": newer["id"], "limits": limits}


def test_the_api_takes_them_and_the_approver_sees_the_unusual_ones(olga, service, newer):
    limits = {"ttft_ratio": 2, "gpu_ratio": None, "error_points": 0.01}
    answer = post(olga, "rollouts", wish(service, newer, **limits))
    assert answer.status_code == 201, answer.content
    told = answer.json()
    assert told["numbers"]["limits"]["ttft_ratio"] == 2.0
    assert told["numbers"]["limits"]["gpu_ratio"] is None
    assert told["limits"]["TTFT"] == "2 times stable's"
    assert told["limits"]["Prompt tokens from the cache, fewer"] == "shown, not judged"
    change = ChangeRequest.objects.get()
    assert change.payload["gate_limits"] == {
        "TTFT": "2 times stable's",
        "GPU time of a token": "shown, not judged",
    }


WRONG = {
    "unknown": ({"speed": 2}, "speed"),
    "too much": ({"error_points": 2}, "error_points"),
    "a text": ({"ttft_ratio": "2"}, "Not a number"),
    "true": ({"ttft_ratio": True}, "Not a number"),
    "none of one that must be": ({"itl_ratio": None}, "itl_ratio"),
    "better than stable": ({"itl_ratio": 0.1}, "itl_ratio"),
}


@pytest.mark.parametrize("case", WRONG)
def test_the_api_refuses_what_makes_no_sense(case, olga, service, newer):
    limits, words = WRONG[case]
    answer = post(olga, "rollouts", wish(service, newer, **limits))
    assert answer.status_code in (400, 422), answer.content
    assert words in answer.content.decode()
    assert not Rollout.objects.exists()


def form_of(page):
    return page.context["propose"]


def sent(page, **changes):
    fields = {name: form_of(page)[name].value() for name in form_of(page).fields}
    given = {k: "" if v is None else v for k, v in fields.items()}
    proposal = page.context["proposal"]
    return given | {
        "kind": "surge_canary", "reason": "faster", "replicas": proposal.replicas,
        "soak_seconds": proposal.soak_seconds, "steps": page.context["steps_text"],
        "consent": "", "supersede": "", "first_classes": [],
    } | changes  # fmt: skip


def test_the_form_shows_the_usual_ones_and_takes_others(olga, service, newer):
    address = f"/new/rollout/?release={newer['id']}"
    page = olga.client.get(address)
    assert form_of(page)["limit_error_points"].value() == 1.0
    assert form_of(page)["limit_cache_points"].value() is None
    changed = {"limit_error_points": "2", "limit_cache_points": "20", "limit_gpu_ratio": ""}
    answer = olga.client.post(address, sent(page, **changed))
    assert answer.status_code == 302, form_of(answer).errors
    limits = Rollout.objects.get().plan["numbers"]["limits"]
    assert (limits["error_points"], limits["cache_points"], limits["gpu_ratio"]) == (
        0.02,
        0.2,
        None,
    )
    assert limits["ttft_ratio"] == 1.25
    shown = olga.client.get(answer["Location"]).content.decode()
    assert "Limits of its gates" in shown and "20 points <b>(chosen)</b>" in shown
    approval = olga.client.get(f"/approvals/{ChangeRequest.objects.get().pk}/").content.decode()
    assert "20 points <b>(chosen)</b>" in approval and "1.25 times stable" in approval


def test_the_form_says_what_is_wrong_at_its_field(olga, service, newer):
    address = f"/new/rollout/?release={newer['id']}"
    page = olga.client.get(address)
    answer = olga.client.post(address, sent(page, limit_ttft_ratio="0.5"))
    assert answer.status_code == 422
    assert "limit_ttft_ratio" in form_of(answer).errors
    assert not Rollout.objects.exists()


def test_a_form_without_them_asks_for_the_usual_ones(olga, service, newer):
    address = f"/new/rollout/?release={newer['id']}"
    given = sent(olga.client.get(address))
    bare = {k: v for k, v in given.items() if not k.startswith("limit_")}
    assert olga.client.post(address, bare).status_code == 302
    assert ChangeRequest.objects.get().payload["gate_limits"] == {}
