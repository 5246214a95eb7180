"""The REST API of placements and sequences: what it answers, to whom."""

import json
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from fleet.api.sequence_urls import urlpatterns
from fleet.models import Node, RolloutSequence, Service
from tests.fleet.makers import make_cluster

pytestmark = pytest.mark.django_db
V1 = "/api/v1/"
PRODUCT = "NVIDIA-H100-80GB-HBM3"


@pytest.fixture
def both():
    now = timezone.now()
    found = []
    for name, slug in (("chat", "east"), ("chat-west", "west")):
        cluster = make_cluster(slug, observed_at=now)
        Node.objects.create(
            cluster=cluster, name="h100-1", gpu_product=PRODUCT, gpus_allocatable=8, gpus_used=0,
            ready=True, changed_at=now, observed_at=now,
        )  # fmt: skip
        found.append(Service.objects.create(name=name, cluster=cluster, replicas=2))
    return found


def send(person, method, path, body=None):
    if method == "get":
        return person.client.get(V1 + path)
    return getattr(person.client, method)(
        V1 + path, json.dumps(body or {}), content_type="application/json"
    )


def test_a_sequence_from_placement_to_end(olga, both):
    home, west = both
    placed = send(olga, "put", f"services/{home.pk}/placements", {"members": ["chat-west"]})
    assert [(p["service"], p["is_home"]) for p in placed.json()] == [
        ("chat", True), ("chat-west", False),
    ]  # fmt: skip
    release = send(olga, "post", "releases", {
        "service_id": home.pk,
        "model": {"name": "org/model", "commit": "a" * 40},
        "image": "registry.local/vllm@sha256:" + "d" * 64,
        "resources": {"gpu_product": PRODUCT, "gpus": 1},
    }).json()  # fmt: skip
    made = send(olga, "post", "sequences", {
        "release_id": release["release"]["id"], "bake_seconds": 60, "steps": [],
        "limits": {"error_points": 0.02}, "begins_from": {"chat": "2099-11-28T22:00Z"},
    })  # fmt: skip
    assert made.status_code == 422
    assert "chat: At most 30 days ahead" in made.content.decode()
    opens = (timezone.now() + timedelta(hours=2)).replace(microsecond=0)
    made = send(olga, "post", "sequences", {
        "release_id": release["release"]["id"], "bake_seconds": 60, "steps": [],
        "limits": {"error_points": 0.02}, "begins_from": {"chat": opens.isoformat()},
    })  # fmt: skip
    assert made.status_code == 201, made.content
    sequence = made.json()["sequence"]
    assert sequence["phase"] == "awaiting_approval"
    assert [s["cluster"] for s in sequence["stages"]] == ["west", "east"]
    first, last = sequence["stages"]
    assert (first["begins_from"], first["opens_why"]) == (None, "")
    assert datetime.fromisoformat(last["opens_at"]) == opens
    assert (last["begins_from"], last["opens_why"]) == (last["opens_at"], "as it was approved")
    assert made.json()["approval"]["state"] == "waiting"
    address = f"sequences/{sequence['id']}"
    assert send(olga, "post", f"{address}/pause", {"why": "x"}).status_code == 409
    left = send(olga, "post", f"{address}/stages/1/leave-out", {"why": "not there yet"})
    assert left.json()["timeline"][0]["why"] == "Left out: not there yet"
    ended = send(olga, "post", f"{address}/end", {"why": "a mistake"})
    assert ended.json()["sequence"]["wish"] == "end"
    rows = olga.client.get(V1 + f"sequences?service_id={west.pk}&only_open=true").json()
    assert [r["label"] for r in rows] == [f"SQ-{sequence['id']}"]


def test_every_door_is_closed_to_strangers(mallory, both):
    for pattern in urlpatterns:
        address = str(pattern.pattern).replace("<int:service_id>", str(both[0].pk))
        address = address.replace("<int:sequence_id>", "1").replace("<int:number>", "1")
        view = pattern.callback.view_class
        for method in ("get", "put", "post"):
            if not hasattr(view, method):
                continue
            bodies = {"put": {"members": []}, "sequences": {"release_id": 1, "bake_seconds": 1}}
            body = bodies.get(method) or bodies.get(address, {"why": "x"})
            answer = send(mallory, method, address, body)
            assert answer.status_code in (403, 404, 422), (method, address, answer.status_code)
    assert not RolloutSequence.objects.exists()
