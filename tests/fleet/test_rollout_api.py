"""The REST API of releases and rollouts: by the whole cast, with everything that can be wrong."""

import json
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from fleet.actions.traffic import record
from fleet.api.rollout_urls import urlpatterns
from fleet.models import Node, Release, Rollout, Service, StartSample
from fleet.rules.phases import Phase
from fleet.rules.traffic import TrafficSample
from tenants.base.scope import fleet_scope
from tenants.models import AuditEvent
from tests.fleet.makers import make_cluster, make_deployment

pytestmark = pytest.mark.django_db
V1 = "/api/v1/"
PRODUCT = "NVIDIA-H100-80GB-HBM3"


@pytest.fixture
def service():
    now = timezone.now()
    cluster = make_cluster(observed_at=now)
    Node.objects.create(
        cluster=cluster, name="h100-1", gpu_product=PRODUCT, gpus_allocatable=8, gpus_used=0,
        ready=True, changed_at=now, observed_at=now,
    )  # fmt: skip
    return Service.objects.create(name="chat", cluster=cluster, replicas=2)


def body(service, **changes):
    return {
        "service_id": service.pk,
        "model": {"name": "org/model", "commit": "a" * 40},
        "image": "registry.local/vllm:0.32.0@sha256:" + "d" * 64,
        "arguments": ["--max-num-seqs=64"],
        "resources": {"gpu_product": PRODUCT, "gpus": 1},
    } | changes


def post(person, path, data, **headers):
    return person.client.post(
        V1 + path, json.dumps(data), content_type="application/json", headers=headers
    )


@pytest.fixture
def release(olga, service):
    answer = post(olga, "releases", body(service))
    assert answer.status_code == 201, answer.content
    return answer.json()["release"]


UNKNOWN = {
    "tenant": ({"first": ["nobody"]}, "There is no tenant 'nobody'"),
    "application": ({"first": ["nobody/chat"]}, "There is no application 'nobody/chat'"),
    "tenant that goes last": ({"last": ["nobody"]}, "There is no tenant 'nobody'"),
    "class": ({"first_classes": ["royal"]}, "royal"),
    "field": ({"second": []}, "second"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_it_refuses_a_canary_for_an_unknown(case, olga, service, release):
    audience, words = UNKNOWN[case]
    wish = {"service_id": service.pk, "release_id": release["id"], "audience": audience}
    answer = post(olga, "rollouts", wish)
    assert answer.status_code in (400, 422), answer.content
    assert words in answer.content.decode()


def test_it_says_when_nobody_can_go_first(olga, service, release):
    wish = {"service_id": service.pk, "release_id": release["id"]}
    answer = post(olga, "rollouts", wish | {"audience": {"first_classes": ["batch"]}})
    assert answer.status_code == 409
    assert "more for all others" in answer.content.decode()


@pytest.fixture
def rollout(olga, service, release):
    wish = {"service_id": service.pk, "release_id": release["id"], "reason": "first"}
    answer = post(olga, "rollouts", wish)
    assert answer.status_code == 201, answer.content
    return answer.json()["rollout"]


def test_it_pins_a_release_and_shows_it(olga, service, release):
    assert release["label"] == "r1"
    assert release["fingerprint"] == f"rel-{release['digest'][:12]}"
    found = olga.client.get(f"{V1}releases/{release['id']}").json()
    assert found["arguments"] == ["--max-num-seqs=64"]
    assert olga.client.get(f"{V1}releases?service_id={service.pk}").json()[0]["id"] == release["id"]
    with fleet_scope():
        assert AuditEvent.objects.filter(verb="release.create").count() == 1


REFUSED = {
    "a tag": ({"image": "registry.local/vllm:latest"}, "image", "the tag 'latest'"),
    "a branch": ({"model": {"name": "org/model", "commit": "main"}}, "commit", "moves"),
    "an unknown flag": ({"arguments": ["--max-modle-len=3"]}, "arguments", "did you mean"),
    "a reserved flag": ({"arguments": ["--port=1"]}, "arguments", "set by the console"),
    "too many GPUs": (
        {
            "resources": {"gpu_product": PRODUCT, "gpus": 16},
            "arguments": ["--tensor-parallel-size=16"],
        },
        "resources",
        "the largest has 8",
    ),
    "a mismatch of GPUs": ({"arguments": ["--tensor-parallel-size=2"]}, "resources", "1 missing"),
    "a short context": ({"arguments": ["--max-model-len=512"]}, "arguments", "4,096 tokens"),
    "a secret": ({"environment": {"HF_TOKEN": "x"}}, "environment", "looks like a secret"),
    "the development mode": (
        {"environment": {"VLLM_SERVER_DEV_MODE": "1"}}, "environment", "without authentication",
    ),
    "foreign code": (
        {"arguments": ['--kv-transfer-config={"kv_connector_module_path": "x"}']},
        "arguments",
        "no digest of the release",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_it_refuses_a_release_with_a_sentence(olga, service, case):
    changes, field, words = REFUSED[case]
    answer = post(olga, "releases", body(service, **changes))
    assert answer.status_code == 422
    errors = {e["pointer"]: e["detail"] for e in answer.json()["errors"]}
    assert words in errors[f"/{field}"]
    assert not Release.objects.exists()


def test_it_refuses_a_label_that_moved(olga, service, release):
    moved = "registry.local/vllm:0.32.0@sha256:" + "e" * 64
    answer = post(olga, "releases", body(service, image=moved))
    assert answer.status_code == 422
    assert "0.32.0 moved: in chat r1" in answer.json()["detail"]


def test_it_refuses_the_same_content_twice(olga, service, release):
    answer = post(olga, "releases", body(service))
    assert answer.status_code == 409
    assert answer.json()["release"] == release["id"]


def test_it_compares_two_releases(olga, service, release):
    other = post(olga, "releases", body(service, arguments=["--max-num-seqs=128"])).json()
    path = f"{V1}releases/{release['id']}/compare?to={other['release']['id']}"
    changes = olga.client.get(path).json()["changes"]
    assert [(c["name"], c["before"], c["after"]) for c in changes] == [
        ("--max-num-seqs", "64", "128")
    ]


def test_it_computes_plans_and_stores_nothing(olga, service, release):
    answer = post(olga, "plans", {"service_id": service.pk, "release_id": release["id"]})
    assert answer.status_code == 200
    plan = answer.json()["plans"][0]
    assert (plan["answer"], plan["gpus_on_top"]) == ("possible", 2)
    assert not Rollout.objects.exists()


def test_it_refuses_what_never_fits_with_the_number_that_is_missing(olga, service, release):
    wish = {"service_id": service.pk, "release_id": release["id"], "replicas": 9}
    answer = post(olga, "rollouts", wish)
    assert answer.status_code == 409
    assert "never fit" in answer.json()["detail"]


def test_it_proposes_and_waits_for_somebody_else(olga, vic, rollout):
    found = olga.client.get(f"{V1}rollouts/{rollout['id']}").json()
    assert found["approval"]["state"] == "waiting"
    assert found["rollout"]["phase"] == Phase.VALIDATING
    change, digest = found["approval"]["change_id"], found["approval"]["digest"]
    yes = {"digest": digest, "approve": True}
    assert post(olga, f"changes/{change}/decide", yes).status_code == 403


def test_it_refuses_a_second_open_rollout(olga, service, release, rollout):
    answer = post(olga, "rollouts", {"service_id": service.pk, "release_id": release["id"]})
    assert answer.status_code == 409
    assert answer.json()["rollout"] == rollout["id"]


def test_it_supersedes_an_open_one_when_that_is_chosen(olga, service, release, rollout):
    second = post(olga, "releases", body(service, arguments=["--max-num-seqs=32"])).json()[
        "release"
    ]
    wanted = {"service_id": service.pk, "release_id": second["id"], "supersede": True}
    steps = [{"percent": 20, "hold_seconds": 10, "min_samples": 20, "approval": True}]
    answer = post(olga, "rollouts", wanted | {"steps": steps})
    assert answer.status_code == 201, answer.content
    found = answer.json()
    assert (found["supersedes"], found["step_approval"]) == (rollout["id"], None)
    first = olga.client.get(f"{V1}rollouts/{rollout['id']}").json()
    assert (first["rollout"]["wish"], first["superseded_by"]) == ("abort", found["rollout"]["id"])
    assert first["approval"]["state"] == "withdrawn"
    answer = post(olga, "rollouts", wanted)
    assert answer.status_code == 409
    assert "waits already" in answer.json()["detail"]


def test_it_takes_an_abort_twice_and_withdraws_the_question(olga, rollout):
    for _ in range(2):
        answer = post(olga, f"rollouts/{rollout['id']}/abort", {"why": "wrong model"})
        assert answer.status_code == 200
    found = answer.json()
    assert (found["rollout"]["wish"], found["approval"]["state"]) == ("abort", "withdrawn")


WRONG = {
    "pause before it moves": ("pause", {}, 409),
    "resume what is not paused": ("resume", {}, 409),
    "skip a gate that is not open": ("skip-gate", {"step": 0, "why": "x"}, 409),
    "an unknown field": ("abort", {"wyh": "x"}, 422),
    "a wrong type": ("abort", {"why": {"a": 1}}, 422),
}


@pytest.mark.parametrize("case", WRONG)
def test_it_refuses_what_cannot_be_asked(olga, rollout, case):
    verb, data, status = WRONG[case]
    assert post(olga, f"rollouts/{rollout['id']}/{verb}", data).status_code == status


BAD_STEPS = {
    "a shadow after traffic": [
        {"percent": 5, "hold_seconds": 1, "min_samples": 1},
        {"percent": 50, "hold_seconds": 1, "min_samples": 1, "shadow": True},
    ],
    "falling": [{"percent": 50, "hold_seconds": 1, "min_samples": 1},
                {"percent": 10, "hold_seconds": 1, "min_samples": 1}],
    "everything": [{"percent": 100, "hold_seconds": 1, "min_samples": 1}],
    "no samples": [{"percent": 10, "hold_seconds": 1, "min_samples": 0}],
    "text": [{"percent": "10", "hold_seconds": 1, "min_samples": 1}],
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_STEPS)
def test_it_refuses_impossible_steps(olga, service, release, case):
    wish = {"service_id": service.pk, "release_id": release["id"], "steps": BAD_STEPS[case]}
    assert post(olga, "rollouts", wish).status_code == 422


@pytest.mark.parametrize("raw", [b"{", b'{"service_id": 1, "service_id": 2}', b"[]", b"\xff"])
def test_it_refuses_bodies_that_are_none(olga, raw):
    answer = olga.client.post(V1 + "rollouts", raw, content_type="application/json")
    assert answer.status_code in (400, 422)
    assert answer["Content-Type"].startswith("application/problem+json")


def test_it_gives_the_first_answer_to_a_repeated_request(olga, service, release):
    wish = {"service_id": service.pk, "release_id": release["id"]}
    first = post(olga, "rollouts", wish, **{"Idempotency-Key": "one"})
    again = post(olga, "rollouts", wish, **{"Idempotency-Key": "one"})
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert Rollout.objects.count() == 1


def addresses(rollout, release):
    for route in urlpatterns:
        numbers = {"<int:rollout_id>": rollout["id"], "<int:release_id>": release["id"]}
        numbers |= {"<int:freeze_id>": 1, "<int:resolution_id>": 1, "<int:log_id>": 1}
        path = str(route.pattern)
        for part, number in numbers.items():
            path = path.replace(part, str(number))
        yield path + (f"?to={release['id']}" if path.endswith("compare") else "")


def tried(person, path, data):
    with transaction.atomic():  # each request has one of its own
        read = person.client.get(V1 + path)
    with transaction.atomic():
        return read, post(person, path, data)


def test_it_shows_a_stranger_nothing(mallory, rollout, release, service):
    for path in addresses(rollout, release):
        for answer in tried(mallory, path, body(service)):
            assert answer.status_code in (403, 404, 405, 422), path
            assert "chat" not in answer.content.decode(), path
    assert Rollout.objects.get().wish == "run"


def test_it_refuses_a_wish_of_somebody_who_may_only_look(vic, rollout):
    answer = post(vic, f"rollouts/{rollout['id']}/abort", {})
    assert answer.status_code == 403
    assert Rollout.objects.get().wish == "run"


def test_it_asks_who_one_is(client, rollout, release):
    for path in addresses(rollout, release):
        assert client.get(V1 + path).status_code == 401


@pytest.fixture
def second(olga, service, release):
    """A release serves with two replicas, and another one is made."""
    first = Release.objects.get(pk=release["id"])
    make_deployment(service, first, service.cluster, replicas=2)
    Service.objects.filter(pk=service.pk).update(current_release=first)
    answer = post(olga, "releases", body(service, arguments=["--max-num-seqs=128"]))
    return answer.json()["release"]


def test_it_compares_four_ways(olga, service, second):
    answer = post(olga, "plans", {"service_id": service.pk, "release_id": second["id"]}).json()
    ways = {p["kind"]: p for p in answer["plans"]}
    assert list(ways) == ["surge_canary", "blue_green", "replace", "recreate"]
    assert [p["gpus_on_top"] for p in ways.values()] == [1, 2, 0, 0]
    assert [p["min_replicas"] for p in ways.values()] == [2, 2, 1, 0]
    assert ways["recreate"]["answer"] == "needs_consent"
    assert answer["starts_new"]["samples"] == 0
    assert "quota of the namespace: it could not be read" in ways["replace"]["unmeasured"]


def test_it_says_when_each_way_begins_and_takes_a_stated_time(olga, service, second):
    wish = {"service_id": service.pk, "release_id": second["id"]}
    opens = timezone.now() + timedelta(hours=3)
    ways = post(olga, "plans", wish | {"begins_from": opens.isoformat()}).json()["ways"]
    assert ways[0]["earliest"]["text"] == "as it was asked for"
    late = post(olga, "rollouts", wish | {"begins_before": "2020-01-01T00:00:00Z"})
    assert late.status_code == 422
    answer = post(olga, "rollouts", wish | {"begins_from": opens.isoformat()})
    assert answer.status_code == 201, answer.content
    rollout = Rollout.objects.get(pk=answer.json()["rollout"]["id"])
    assert rollout.plan["begins"] == {"opens": opens.isoformat(), "closes": None}


def test_it_learns_cold_starts_of_the_model_on_the_same_gpus(olga, service, second):
    first = Release.objects.get(service=service, number=1)
    for number, product in enumerate((PRODUCT, PRODUCT, "NVIDIA-L40S")):
        StartSample.objects.create(
            service=service, release=first, cluster=service.cluster, gpu_product=product,
            pod_uid=f"p{number}", seconds=100 * (number + 1),
        )  # fmt: skip
    answer = post(olga, "plans", {"service_id": service.pk, "release_id": second["id"]}).json()
    found = answer["starts_new"]
    assert (found["samples"], found["p95"], found["of"]) == (2, 200, "org/model")
    assert (found["borrowed"], found["pool"]) == (True, PRODUCT)
    assert answer["starts_old"]["borrowed"] is False


def test_it_names_who_is_touched_and_what_a_gap_costs(olga, acme, service, second):
    sample = TrafficSample(
        timezone.now(), acme.pk, service.pk, 0, "interactive", "served", ttft_ms=9, itl_ms=9
    )
    StartSample.objects.create(
        service=service, release_id=second["id"], cluster=service.cluster, pod_uid="p",
        seconds=3480,
    )  # fmt: skip
    with fleet_scope():
        record([sample] * 30)
    answer = post(olga, "plans", {"service_id": service.pk, "release_id": second["id"]}).json()
    assert [(t["tenant"], t["requests"]) for t in answer["touched"]] == [("acme", 30)]
    recreate = next(p for p in answer["plans"] if p["kind"] == "recreate")
    assert recreate["requests_at_risk"] == 30  # an hour: the drain and this start


def test_it_refuses_to_recreate_without_consent_and_keeps_the_plan(olga, service, second):
    wish = {"service_id": service.pk, "release_id": second["id"], "kind": "recreate"}
    answer = post(olga, "rollouts", wish)
    assert answer.status_code == 409
    assert "needs your consent" in answer.json()["detail"]
    answer = post(olga, "rollouts", wish | {"consent": True})
    assert answer.status_code == 201
    rollout = Rollout.objects.get(pk=answer.json()["rollout"]["id"])
    assert (rollout.plan_kind, rollout.steps) == ("recreate", [])
    kept = olga.client.get(f"{V1}rollouts/{rollout.pk}/plan").json()
    assert kept["plan"]["kind"] == "recreate"
    figures = {c["name"]: (c["planned"], c["actual"], c["verdict"]) for c in kept["compared"]}
    assert figures["Minimum capacity"] == (0, None, "open")
    assert figures["GPUs at the peak"] == (2, None, "open")
