"""Pins of a release by the API: what it takes, gives, compares and refuses."""

import json

import pytest
from django.utils import timezone

from fleet.models import Cluster, Node, Service
from tests.fleet.makers import make_cluster

pytestmark = pytest.mark.django_db
V1 = "/api/v1/"
A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64
PINS = {
    "configs": {"prompts": A},
    "secrets": {"hub": B},
    "files": {},
    "adapters": [{"name": "polite", "path": "/adapters/polite", "digest": A}],
    "regions": ["eu-1"],
    "confidential": False,
}


@pytest.fixture
def service():
    now = timezone.now()
    cluster = make_cluster(observed_at=now)
    Node.objects.create(
        cluster=cluster, name="h100-1", gpu_product="", gpus_allocatable=8, gpus_used=0,
        ready=True, changed_at=now, observed_at=now,
    )  # fmt: skip
    return Service.objects.create(name="chat", cluster=cluster, replicas=2)


def post(person, path, data):
    return person.client.post(V1 + path, json.dumps(data), content_type="application/json")


def make(person, service, **changes):
    body = {
        "service_id": service.pk,
        "model": {"name": "org/model", "commit": "a" * 40},
        "image": "registry.local/vllm@sha256:" + "d" * 64,
        "arguments": ["--enable-lora"],
    }
    return post(person, "releases", body | changes)


def test_the_api_takes_and_gives_all_pins(olga, service):
    made = make(olga, service, pins=PINS)
    assert made.status_code == 201, made.content
    found = made.json()
    assert found["pins"] == PINS
    assert found["served_names"] == ["chat", "polite"]
    assert found["kv_layout"].startswith("kv-")
    again = olga.client.get(f"{V1}releases/{found['release']['id']}").json()
    assert again["pins"] == PINS


def test_the_api_takes_contents_and_gives_their_digests(olga, service):
    files = {"prompts": {"chat.jinja": " {{ messages }}\n", "empty": ""}}
    made = make(olga, service, pins={"files": files})
    assert made.status_code == 201, made.content
    found = made.json()["pins"]
    assert found["files"] == files
    assert found["configs"]["prompts"].startswith("sha256:")
    wrong = make(olga, service, pins={"files": {"prompts": {"a/b": "x"}}})
    (fault,) = wrong.json()["errors"]
    assert (fault["pointer"], "not the name of a file" in fault["detail"]) == ("/files", True)


def test_the_api_compares_pins(olga, service):
    ids = [make(olga, service, **c).json()["release"]["id"] for c in ({}, {"pins": PINS})]
    found = olga.client.get(f"{V1}releases/{ids[0]}/compare?to={ids[1]}").json()
    assert {c["part"] for c in found["changes"]} == {"files", "secrets", "adapters", "data policy"}
    assert not found["kv_domain_changes"]


REFUSED = {
    "an unknown pin": ({"keys": {}}, "/pins/keys", "not known here"),
    "no digest": ({"configs": {"prompts": "v1"}}, "/configs", "prompts is not pinned"),
    "another region": ({"regions": ["us-1"]}, "/regions", "East is in eu-1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_api_refuses_what_does_not_pin_or_may_not_be_here(case, olga, service):
    pins, pointer, words = REFUSED[case]
    answer = make(olga, service, pins=pins)
    assert answer.status_code == 422
    (fault,) = answer.json()["errors"]
    assert (fault["pointer"], words in fault["detail"]) == (pointer, True)


def test_it_plans_no_rollout_to_where_data_may_not_be(olga, service):
    made = make(olga, service, pins=PINS).json()["release"]
    Cluster.objects.update(region="us-1")
    wanted = {"service_id": service.pk, "release_id": made["id"], "reason": "x"}
    answer = post(olga, "rollouts", wanted)
    assert answer.status_code == 409
    assert "The data policy allows eu-1, and East is in us-1" in answer.json()["detail"]
