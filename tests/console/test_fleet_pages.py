"""Forms of the fleet's pages: they call the actions, keep what was typed, and refuse strangers."""

from types import SimpleNamespace
from urllib.parse import urlencode

import pytest
from django.test import Client

from fleet.models import Release, Rollout, Service
from tenants.base.scope import fleet_scope
from tenants.models import AuditEvent, ChangeRequest
from tests.browser.registry import PAGES

pytestmark = pytest.mark.django_db
COMMIT, DIGEST = "a" * 40, "sha256:" + "b" * 64


@pytest.fixture
def olga(scene: SimpleNamespace) -> Client:
    return signed_in(scene.olga)


def signed_in(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def service_form(**changes) -> dict[str, object]:
    usual = {
        "name": "summaries", "description": "", "cluster_id": "", "fallbacks": "", "replicas": 2,
        "max_model_len": 4096, "default_max_tokens": 256, "max_queue": 64, "request_seconds": 300,
        "chunk_seconds": 30, "prefetch_seconds": 900, "interactive_ttft_ms": 500,
    }  # fmt: skip
    return usual | changes


def release_form(scene: SimpleNamespace, **changes) -> dict[str, object]:
    usual = {
        "service_id": scene.services[0].pk, "note": "a try", "model": "example/chat-small",
        "commit": COMMIT, "image": f"vllm/vllm-openai@{DIGEST}",
        "arguments": "--max-num-seqs=64", "environment": "VLLM_LOGGING_LEVEL=INFO",
        "gpu_product": "h200-sxm", "gpus": 1, "cpu": "4", "memory": "16Gi",
        "shared_memory": "1Gi", "startup_seconds": 600, "pre_stop_seconds": 15,
        "drain_seconds": 60, "teardown_seconds": 15,
    }  # fmt: skip
    return usual | changes


def test_it_makes_a_service_and_says_so_in_the_audit(olga: Client):
    answer = olga.post("/new/service/", service_form())
    assert answer["Location"] == "/services/summaries/"
    with fleet_scope():
        made = Service.objects.get(name="summaries")
        assert made.objectives == {"interactive": {"ttft_ms": 500}}
        event = AuditEvent.objects.get(verb="service.create")
    assert (event.actor, event.target_name) == ("olga@example.test", "summaries")


def test_it_keeps_what_was_typed_when_a_service_is_refused(olga: Client):
    answer = olga.post("/new/service/", service_form(fallbacks="nothing-there", description="Mine"))
    page = answer.content.decode()
    assert answer.status_code == 422
    assert 'value="Mine"' in page
    assert "There is no service &#x27;nothing-there&#x27; to fall back to" in page
    assert 'aria-invalid="true"' in page


def test_it_refuses_to_overwrite_a_change_of_somebody_else(olga: Client, scene: SimpleNamespace):
    address = f"/services/{scene.services[0].name}/edit/"
    stale = service_form(cluster_id=scene.cluster.pk)
    with fleet_scope():
        Service.objects.filter(pk=scene.services[0].pk).update(version=7)
    answer = olga.post(address, stale | {"version": 3})
    assert answer.status_code == 422
    assert "Somebody else changed this meanwhile" in answer.content.decode()


def test_it_pins_a_release(olga: Client, scene: SimpleNamespace):
    answer = olga.post("/new/release/", release_form(scene))
    with fleet_scope():
        made = Release.objects.get(note="a try")
    assert answer["Location"] == f"/releases/{made.pk}/"
    assert made.arguments == ["--max-num-seqs=64"]
    assert made.environment == {"VLLM_LOGGING_LEVEL": "INFO"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"image": "vllm/vllm-openai:latest"}, "id_image-err"),
        ({"commit": "main"}, "err"),
        ({"arguments": "--tensor-parallel-size=64"}, "err"),
        ({"environment": "no equals sign"}, "id_environment-err"),
        ({"gpus": -1}, "id_gpus-err"),
    ],
)
def test_it_refuses_an_unpinned_or_impossible_release_with_a_sentence(
    olga: Client, scene: SimpleNamespace, changes: dict[str, object], field: str
):
    answer = olga.post("/new/release/", release_form(scene, **changes))
    assert answer.status_code == 422
    page = answer.content.decode()
    assert field in page or 'role="alert"' in page
    assert "a try" in page
    with fleet_scope():
        assert not Release.objects.filter(note="a try").exists()


def test_it_proposes_a_rollout_that_another_person_approves(olga: Client, scene: SimpleNamespace):
    plan = {"kind": "replace", "replicas": 2, "soak_seconds": 60, "steps": "25, 60, 100",
            "reason": "Longer answers"}  # fmt: skip
    answer = olga.post(f"/new/rollout/?release={scene.spare.pk}", plan)
    with fleet_scope():
        rollout = Rollout.objects.get(to_release=scene.spare)
    assert answer["Location"] == f"/rollouts/{rollout.pk}/"
    assert rollout.steps == [
        {"percent": 25, "hold_seconds": 60, "min_samples": 100, "shadow": False, "approval": False}
    ]
    decide(scene, rollout)


def test_it_offers_to_supersede_an_open_rollout(olga: Client, scene: SimpleNamespace):
    plan = {"kind": "replace", "replicas": 2, "soak_seconds": 60, "steps": "25, 60, 100, approval",
            "reason": "Longer answers"}  # fmt: skip
    first = olga.post(f"/new/rollout/?release={scene.spare.pk}", plan)["Location"]
    olga.post("/new/release/", release_form(scene, service_id=scene.spare.service_id))
    with fleet_scope():
        address = f"/new/rollout/?release={Release.objects.get(note='a try').pk}"
    page = olga.get(f"/new/rollout/?service={scene.spare.service}").content.decode()
    assert "A newer one can supersede it" in page and address.partition("?")[2] in page
    page = olga.get(address).content.decode()
    assert 'name="supersede"' in page and "is aborted, this one begins when it has ended" in page
    refused = olga.post(address, plan)
    assert "propose this one so that it supersedes it" in refused.content.decode()
    newer = olga.post(address, plan | {"supersede": "on"})["Location"]
    assert f'supersedes <a href="{first}"' in olga.get(newer).content.decode()
    assert f'superseded by <a href="{newer}"' in olga.get(first).content.decode()


NOBODY = {
    "unknown": ({"first": "nobody"}, "There is no tenant &#x27;nobody&#x27;"),
    "in place": ({"last": "acme", "kind": "replace"}, "needs both releases in full"),
}


@pytest.mark.parametrize("case", NOBODY)
def test_it_says_why_some_cannot_go_first_or_last(case, olga: Client, scene: SimpleNamespace):
    changes, words = NOBODY[case]
    plan = {"kind": "surge_canary", "replicas": 2, "soak_seconds": 60, "steps": "25, 60, 100",
            "reason": "Longer answers"}  # fmt: skip
    answer = olga.post(f"/new/rollout/?release={scene.spare.pk}", plan | changes)
    assert answer.status_code == 422
    assert words in answer.content.decode(), answer.context["propose"].errors


def test_it_plans_a_shadow_and_shows_it_to_who_approves(olga: Client, scene: SimpleNamespace):
    given = {"replicas": 2, "soak_seconds": 60, "steps": "shadow 10, 60, 50\n25, 60, 100"}
    page = olga.get(f"/new/rollout/?release={scene.spare.pk}&{urlencode(given)}").content.decode()
    assert "Shadow 10 %" in page
    assert "no client; requests of everybody are copied" in page
    again = 'name="steps" value="shadow 10 %, 60 s, 50\n25 %, 60 s, 100"'
    assert again in page
    plan = given | {"kind": "blue_green", "reason": "Longer answers"}
    answer = olga.post(f"/new/rollout/?release={scene.spare.pk}", plan)
    with fleet_scope():
        rollout = Rollout.objects.get(to_release=scene.spare)
    assert answer["Location"] == f"/rollouts/{rollout.pk}/"
    page = olga.get(answer["Location"]).content.decode()
    assert "Shadow 10 %" in page and "Step 1: Shadow 10 %" in page
    page = olga.get(f"/approvals/{rollout.change_id}/").content.decode()
    assert "Shadow 10 %" in page
    assert "no client; requests of everybody are copied" in page


def test_it_says_why_a_shadow_cannot_be_in_place(olga: Client, scene: SimpleNamespace):
    plan = {"kind": "replace", "replicas": 2, "soak_seconds": 60, "steps": "shadow 10, 60, 50",
            "reason": "Longer answers"}  # fmt: skip
    answer = olga.post(f"/new/rollout/?release={scene.spare.pk}", plan)
    assert answer.status_code == 422
    assert "A shadow step compares" in answer.content.decode()


def test_it_shows_how_a_gate_was_judged(olga: Client, scene: SimpleNamespace):
    page = olga.get(f"/rollouts/{scene.rollouts['analyzing'].pk}/").content.decode()
    cold = "Not judged: caches of new replicas start cold"
    whole = "5 % for the whole rollout"
    for words in ("tenant acme", "tenant initech 12", whole, "FROM traffic_slot", cold):
        assert words in page


def decide(scene: SimpleNamespace, rollout: Rollout) -> None:
    change = ChangeRequest.objects.get(pk=rollout.change_id)
    address = f"/approvals/{change.pk}/decide/"
    form = {"digest": change.digest, "verdict": "approve", "typed": "chat-small"}
    own = signed_in(scene.olga).post(address, form)
    assert own.status_code == 403  # nobody decides what they asked for
    vic = signed_in(scene.vic)
    assert vic.post(address, form | {"typed": "chat"}).status_code == 422
    assert vic.post(address, form | {"digest": "0" * 64}).status_code == 412
    assert vic.post(address, form)["Location"] == f"/rollouts/{rollout.pk}/"
    change.refresh_from_db()
    assert change.state == "approved"


@pytest.mark.parametrize(
    "changes",
    [{"steps": "50, 60, 100\n25, 60, 100"}, {"steps": "a lot"}, {"replicas": 0}, {"reason": ""},
     {"kind": "magic"}],
)  # fmt: skip
def test_it_refuses_a_plan_that_is_none(olga: Client, scene: SimpleNamespace, changes):
    plan = {"kind": "replace", "replicas": 2, "soak_seconds": 60, "steps": "", "reason": "Why not"}
    answer = olga.post(f"/new/rollout/?release={scene.spare.pk}", plan | changes)
    assert answer.status_code == 422
    with fleet_scope():
        assert not Rollout.objects.filter(to_release=scene.spare).exists()


def test_it_keeps_the_plan_in_its_address(olga: Client, scene: SimpleNamespace):
    page = olga.get(f"/new/rollout/?release={scene.spare.pk}&replicas=1&soak_seconds=60&steps=")
    assert page.status_code == 200
    assert page.context["proposal"].replicas == 1
    assert page.context["proposal"].steps == ()


@pytest.mark.parametrize(
    ("which", "verb", "wish"),
    [("analyzing", "pause", "pause"), ("paused", "resume", "run"), ("analyzing", "abort", "abort")],
)
def test_it_writes_what_people_wish_of_a_rollout(
    olga: Client, scene: SimpleNamespace, which: str, verb: str, wish: str
):
    rollout = scene.rollouts[which]
    assert olga.post(f"/rollouts/{rollout.pk}/{verb}/", {"why": "a reason"}).status_code == 302
    with fleet_scope():
        rollout.refresh_from_db()
    assert (rollout.wish, rollout.wish_by, rollout.wish_why) == (
        wish, "olga@example.test", "a reason",
    )  # fmt: skip


def test_it_refuses_what_does_not_fit_the_phase_and_says_why(olga: Client, scene: SimpleNamespace):
    answer = olga.post(f"/rollouts/{scene.rollouts['rolled_back'].pk}/pause/")
    assert answer.status_code == 409
    assert "has ended as rolled_back" in answer.content.decode()


def test_it_lets_approvers_look_but_not_touch(scene: SimpleNamespace):
    vic = signed_in(scene.vic)
    page = vic.get(f"/rollouts/{scene.rollouts['analyzing'].pk}/").content.decode()
    assert "Roll back: all traffic" not in page
    assert vic.post(f"/rollouts/{scene.rollouts['analyzing'].pk}/pause/").status_code == 403
    assert vic.post("/new/service/", service_form()).status_code == 403
    assert vic.get("/new/cluster/").status_code == 403


FLEET = ("services", "service", "service_edit", "releases", "release", "release_diff", "rollouts",
         "rollout", "clusters", "cluster", "nodes", "approvals", "approval")  # fmt: skip


def test_it_tells_a_tenants_people_nothing_about_the_fleet(scene: SimpleNamespace):
    mallory = signed_in(scene.mallory)
    seen = {name: mallory.get(PAGES[name](scene)).status_code for name in FLEET}
    assert {name: code for name, code in seen.items() if code not in (403, 404)} == {}


def test_it_asks_for_the_typed_name_before_a_cluster_is_removed(
    olga: Client, scene: SimpleNamespace
):
    answer = olga.post(f"/clusters/{scene.lost.slug}/remove/", {"typed": "wrong", "why": "gone"})
    assert answer.status_code == 422
    form = {"typed": scene.lost.slug, "why": "gone"}
    assert olga.post(f"/clusters/{scene.lost.slug}/remove/", form)["Location"] == "/clusters/"
    assert olga.get(f"/clusters/{scene.lost.slug}/").status_code == 404


def test_it_refuses_a_kubeconfig_that_runs_commands_before_it_connects(olga: Client):
    kubeconfig = "apiVersion: v1\nkind: Config\nusers:\n- {name: a, user: {exec: {command: sh}}}\n"
    form = {"slug": "new-one", "region": "eu", "namespace": "models", "kubeconfig": kubeconfig}
    answer = olga.post("/new/cluster/", form)
    assert answer.status_code == 422
    assert "id_kubeconfig-err" in answer.content.decode()


def test_it_gives_the_timeline_as_a_file(olga: Client, scene: SimpleNamespace):
    answer = olga.get(f"/rollouts/{scene.rollouts['analyzing'].pk}/timeline.json")
    assert answer["Content-Disposition"].startswith("attachment")
    assert answer.json()["timeline"][0]["phase"] == "validating"
