"""The REST API of scaling: by the whole cast, with ETags, and with what can be wrong."""

import json

import pytest
from django.utils import timezone

from fleet.models import Cluster, ScalingDecision, ScalingPolicy
from tests.fleet.makers import make_cluster, make_service

pytestmark = pytest.mark.django_db
HOURS = {"weekdays": [4, 0], "from_time": "08:00", "to_time": "24:00", "min_replicas": 4}


@pytest.fixture
def service():
    return make_service(cluster=make_cluster())


@pytest.fixture
def address(service):
    return f"/api/v1/services/{service.pk}/scaling"


def put(person, address, **changes):
    headers = changes.pop("headers", {})
    body = {"min_replicas": 1, "max_replicas": 6, "target": 16} | changes
    return person.client.put(
        address, json.dumps(body), content_type="application/json", headers=headers
    )


def test_a_policy_is_set_read_changed_and_taken_away(olga, address):
    assert olga.client.get(address).status_code == 404
    made = put(olga, address, hours=[HOURS], zone="Europe/Berlin", why="busy")
    assert made.status_code == 200, made.content
    found = made.json()
    assert found["hours"] == [
        HOURS
        | {"weekdays": [0, 4], "to_time": "00:00", "max_replicas": None,
           "words": "Mon,Fri 08:00-24:00 min 4"}
    ]  # fmt: skip
    assert (found["stable_seconds"], found["pause_seconds"]) == (300, 60)
    assert found["now"]["max_replicas"] == 6
    etag = olga.client.get(address)["ETag"]
    assert put(olga, address).status_code == 428
    changed = put(olga, address, max_replicas=8, headers={"If-Match": etag})
    assert changed.json()["max_replicas"] == 8
    assert put(olga, address, headers={"If-Match": etag}).status_code == 412
    assert olga.client.delete(address, headers={"If-Match": etag}).status_code == 412
    gone = olga.client.delete(address, headers={"If-Match": changed["ETag"]})
    assert gone.status_code == 204
    assert ScalingPolicy.objects.count() == 0
    assert put(olga, address).status_code == 200
    of_the_one_before = {"If-Match": etag}  # of version 1, as the new one is
    assert put(olga, address, max_replicas=8, headers=of_the_one_before).status_code == 412
    assert olga.client.delete(address, headers=of_the_one_before).status_code == 412


def test_a_service_that_sleeps_says_so_and_is_woken(olga, vic, mallory, service, address):
    made = put(olga, address, min_replicas=0, idle_seconds=60, wait_seconds=90, max_waiting=5)
    found = made.json()
    assert (found["idle_seconds"], found["wait_seconds"], found["max_waiting"]) == (60, 90, 5)
    assert (found["state"], found["told"], found["waiting"]) == ("awake", "", 0)
    assert olga.client.post(f"{address}/wake", "{}", "application/json").status_code == 409
    ScalingPolicy.objects.update(slept_at=timezone.now())
    Cluster.objects.update(observed_at=timezone.now())
    asleep = olga.client.get(address).json()
    assert (asleep["state"], asleep["waiting"]) == ("sleeping", 0)
    assert "The first request wakes it and waits for it, 90 s at most" in asleep["told"]
    shown = olga.client.get(f"/api/v1/services/{service.pk}").json()["service"]
    assert (shown["health"], shown["woken_at"]) == ("sleeping", None)
    for person in (vic, mallory):
        answer = person.client.post(f"{address}/wake", "{}", "application/json")
        assert answer.status_code in (403, 404)
    woken = olga.client.post(f"{address}/wake", '{"why": "a demo"}', "application/json")
    assert woken.status_code == 200, woken.content
    assert ScalingPolicy.objects.get().called_at is not None


WRONG = {
    "bounds": ({"min_replicas": 4, "max_replicas": 2}, "max_replicas", "raise it by 2"),
    "less than nothing": ({"min_replicas": -1}, "min_replicas", "At least 0, not -1"),
    "nobody may wait": ({"max_waiting": 0}, "max_waiting", "from 1 to 10,000, not 0"),
    "a zone": ({"zone": "Berlin"}, "zone", "no IANA zone"),
    "a day": ({"hours": [HOURS | {"weekdays": [9]}]}, "hours", "Days count from 0"),
    "a time": ({"hours": [HOURS | {"from_time": "8"}]}, "hours", "'8' is no time"),
    "a window": ({"stable_seconds": 3}, "stable_seconds", "from 10 to 86,400, not 3"),
    "a field": ({"replicas": 3}, "replicas", "not known here"),
}


@pytest.mark.parametrize("case", WRONG)
def test_it_refuses(case, olga, address):
    changes, field, words = WRONG[case]
    answer = put(olga, address, **changes)
    assert answer.status_code == 422
    (error,) = [e for e in answer.json()["errors"] if field in e["pointer"]]
    assert words in error["detail"]


def test_decisions_are_listed(olga, service, address):
    for given in (2, 3):
        ScalingDecision.objects.create(
            service=service, at=timezone.now(), running=9, waiting=1, queued=None, demand=None,
            target=4, serving=2, declared=2, wanted=3, given=given, changed=given == 3, why="busy",
        )  # fmt: skip
    rows = olga.client.get(f"{address}/decisions").json()
    assert [r["given"] for r in rows] == [3, 2]
    (row,) = olga.client.get(f"{address}/decisions?only_changed=true").json()
    assert (row["running"], row["queued"], row["why"]) == (9, None, "busy")
    assert olga.client.get("/api/v1/services/999999/scaling/decisions").status_code == 404
    assert put(olga, "/api/v1/services/999999/scaling").status_code == 404


def test_it_is_read_by_who_sees_the_fleet_and_set_by_operators(vic, mallory, olga, address):
    put(olga, address)
    assert vic.client.get(address).status_code == 200
    etag = vic.client.get(address)["ETag"]
    for person in (vic, mallory):
        assert put(person, address, headers={"If-Match": etag}).status_code in (403, 404)
        gone = person.client.delete(address, headers={"If-Match": etag})
        assert gone.status_code in (403, 404)
    assert mallory.client.get(address).status_code in (403, 404)
