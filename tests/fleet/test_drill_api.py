"""The REST API of drills: what it answers, to whom."""

import json

import pytest
from django.utils import timezone

from fleet.api.drill_urls import urlpatterns
from fleet.models import Drill, Node, Release, Service
from tests.fleet.makers import make_cluster, make_deployment

pytestmark = pytest.mark.django_db
V1 = "/api/v1/"
PRODUCT = "NVIDIA-H100-80GB-HBM3"


def send(person, method, path, body=None):
    if method == "get":
        return person.client.get(V1 + path)
    return person.client.post(V1 + path, json.dumps(body or {}), content_type="application/json")


def release_of(olga, service, commit):
    made = send(olga, "post", "releases", {
        "service_id": service.pk,
        "model": {"name": "org/model", "commit": commit * 40},
        "image": "registry.local/vllm@sha256:" + "d" * 64,
        "resources": {"gpu_product": PRODUCT, "gpus": 1},
    })  # fmt: skip
    return made.json()["release"]["id"]


@pytest.fixture
def wish(olga):
    """A service with a release that serves, and another one to be taken back."""
    now = timezone.now()
    cluster = make_cluster(observed_at=now)
    Node.objects.create(
        cluster=cluster, name="h100-1", gpu_product=PRODUCT, gpus_allocatable=8, gpus_used=2,
        ready=True, changed_at=now, observed_at=now,
    )  # fmt: skip
    service = Service.objects.create(name="chat", cluster=cluster, replicas=2)
    first = Release.objects.get(pk=release_of(olga, service, "a"))
    make_deployment(service, first, cluster, replicas=2)
    Service.objects.filter(pk=service.pk).update(current_release=first)
    second = release_of(olga, service, "b")
    return {"service_id": service.pk, "release_id": second, "moment": "step", "step": 1}


def test_a_drill_is_planned_listed_and_read(olga, vic, wish):
    made = send(olga, "post", "drills", wish | {"reason": "as every quarter"})
    assert made.status_code == 201, made.content
    drill = made.json()
    assert (drill["state"], drill["report"], drill["from_label"]) == ("waiting", None, "r1")
    assert drill["limits"] == {
        "traffic_back_seconds": 10, "full_back_seconds": 600, "requests_lost": 0,
    }  # fmt: skip
    assert send(vic, "get", f"drills/{drill['id']}").json() == drill
    assert [d["id"] for d in send(vic, "get", "drills?state=open").json()] == [drill["id"]]
    assert send(vic, "get", "drills?state=passed").json() == []
    assert send(vic, "get", "drills/ages").json() == [
        {"service": "chat", "last": None, "is_stale": True}
    ]
    rollout = send(olga, "get", f"rollouts/{drill['rollout_id']}").json()
    assert rollout["reason"] == "Drill: it is taken back at step 1. as every quarter"


def test_the_loss_of_a_replica_is_planned_and_waits(olga, vic, wish):
    lost = {"service_id": wish["service_id"], "reason": "a node may die", "limits": {
        "traffic_back_seconds": 20, "full_back_seconds": 300, "requests_lost": 6,
    }}  # fmt: skip
    made = send(olga, "post", "drills/pod-losses", lost)
    assert made.status_code == 201, made.content
    drill = made.json()
    assert (drill["state"], drill["rollout_id"], drill["pod"], drill["moment"]) == (
        "waiting", None, "", "pod_lost",
    )  # fmt: skip
    change = send(vic, "get", f"changes/{drill['change_id']}").json()
    assert (change["kind"], change["reason"]) == ("pod_loss", "a node may die")
    assert send(olga, "post", "drills/pod-losses", lost).status_code == 409
    assert send(olga, "post", "drills/pod-losses", {"service_id": 999_999}).status_code == 404
    assert send(olga, "post", "drills", wish | {"moment": "pod_lost"}).status_code == 409


WRONG = {
    "another moment": ({"moment": "never"}, 422),
    "another way": ({"kind": "magic"}, 422),
    "no such step": ({"step": 30}, 409),
    "no time": (
        {"limits": {"traffic_back_seconds": 0, "full_back_seconds": 9, "requests_lost": 0}}, 422,
    ),
    "half of the limits": ({"limits": {"requests_lost": 0}}, 422),
    "an unknown field": ({"momnt": "step"}, 422),
    "no such release": ({"release_id": 999_999}, 404),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_is_refused_whole(olga, wish, case):
    change, status = WRONG[case]
    assert send(olga, "post", "drills", wish | change).status_code == status
    assert not Drill.objects.exists()


def test_strangers_see_nothing_and_lookers_plan_nothing(client, olga, vic, mallory, wish):
    made = send(olga, "post", "drills", wish).json()
    assert send(vic, "post", "drills", wish).status_code == 403
    lost = {"service_id": wish["service_id"]}
    assert send(vic, "post", "drills/pod-losses", lost).status_code == 403
    assert send(mallory, "post", "drills/pod-losses", lost).status_code in (403, 404)
    for route in urlpatterns:
        if "pod-losses" in str(route.pattern):
            continue  # nothing is read there
        path = str(route.pattern).replace("<int:drill_id>", str(made["id"]))
        assert client.get(V1 + path).status_code == 401
        assert send(mallory, "get", path).status_code == 404
