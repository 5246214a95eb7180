"""The door over HTTP: credentials, bodies, encodings."""

import gzip
import json

import pytest
from django.test import Client
from django.utils import timezone

from billing.models import UsageEvent
from tenants.base.scope import fleet_scope
from tenants.models import UsageSource
from tenants.rules.secrets import Kind, compose, digest
from tests.billing.factories import batch, cloud, usage

pytestmark = pytest.mark.django_db
URL = "/api/v1/usage/events"
TYPE = "application/cloudevents-batch+json"
SECRET = compose(Kind.USAGE_SOURCE, "gateway1", "x" * 43)


@pytest.fixture
def source():
    return UsageSource.objects.create(name="gw", public_id="gateway1", digest=digest(SECRET))


@pytest.fixture
def send(source):
    def send(body, *, secret=SECRET, content_type=TYPE, **headers):
        return Client().post(
            URL,
            body,
            content_type=content_type,
            headers={"Authorization": f"Bearer {secret}"} | headers,
        )

    return send


def test_it_takes_a_batch(acme, send):
    body = batch(usage(acme, at=timezone.now()))
    answer = send(body)
    assert answer.status_code == 200
    assert answer.json() == {"accepted": 1, "duplicates": 0, "quarantined": []}
    assert send(body).json()["duplicates"] == 1


def test_it_takes_a_gzip_body(acme, send):
    body = gzip.compress(batch(usage(acme, at=timezone.now())))
    assert send(body, **{"Content-Encoding": "gzip"}).json()["accepted"] == 1


def test_it_names_what_went_to_quarantine(acme, send):
    data = usage(acme, at=timezone.now(), tenant_id=999_999)
    (bad,) = send(batch(data)).json()["quarantined"]
    assert (bad["id"], bad["reason"]) == (data["request_id"], "unknown_tenant")


HALF = '"\\ud800"'  # of a surrogate pair: JSON allows to write it, and it is no letter


def test_half_a_surrogate_pair_is_the_fault_of_its_event_alone(acme, send):
    good, bad, named = (usage(acme, at=timezone.now()) for _ in range(3))
    for name in ("tenant_id", "application_id"):
        del named[name]
    named |= {"tenant": "acme", "application": "app"}
    texts = [json.dumps(cloud(data | {"pod": ""})) for data in (bad, good, named)]
    texts[0] = texts[0].replace('"pod": ""', f'"pod": {HALF}')
    texts[2] = texts[2].replace('"pod": ""', f'"pod": {HALF}')
    body = f" [ {texts[0]} , {texts[1]},{texts[2]}\n] "
    answer = send(body).json()
    assert answer["accepted"] == 1
    assert [(b["position"], b["reason"]) for b in answer["quarantined"]] == [
        (0, "bad_schema"), (2, "bad_schema"),
    ]  # fmt: skip
    assert send(body).json()["duplicates"] == 1


@pytest.mark.parametrize(
    "body", ["[{%s: 1}", "[{%s: 1},]", "[{%s: 1}] 1", "[{%s: 1} 2]", "{%s:1}", "[,%s]"]
)
def test_what_is_no_array_is_refused_whole(send, body):
    refused = send(body % HALF)
    assert (refused.status_code, refused.json()["code"]) == (400, "bad_batch")


def test_it_lists_each_refusal_by_its_place_in_the_batch(acme, send):
    now = timezone.now()
    named = usage(acme, at=now, model="x" * 129)
    for name in ("tenant_id", "application_id"):
        del named[name]
    named |= {"tenant": "acme", "application": "app"}
    bad = [usage(acme, at=now, tenant_id=999_999), usage(acme, at=now, cached_tokens=101)]
    data = [usage(acme, at=now), bad[1], named, usage(acme, at=now), bad[0], bad[1]]
    events = [*map(cloud, data), 7, {**cloud(named), "data": {**named, "application": "other"}}]
    spaced = json.dumps(cloud(named), indent=1)  # the same event in another spelling
    body = f"{json.dumps(events)[:-1]}, {spaced}]".encode()
    answer = send(body).json()
    assert answer["accepted"] == 2
    assert [(b["position"], b["id"], b["reason"]) for b in answer["quarantined"]] == [
        (1, bad[1]["request_id"], "bad_schema"),
        (2, named["request_id"], "bad_schema"),
        (4, bad[0]["request_id"], "unknown_tenant"),
        (5, bad[1]["request_id"], "bad_schema"),
        (6, "", "bad_schema"),
        (7, named["request_id"], "unknown_tenant"),
        (8, named["request_id"], "bad_schema"),
    ]


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"{}", {}, 400),
        (b"\xff", {}, 400),
        (b"[]", {"Content-Encoding": "br"}, 400),
        (b"[]", {"Content-Encoding": "gzip"}, 400),
        (gzip.compress(b"[]", mtime=0)[:-6], {"Content-Encoding": "gzip"}, 400),
        (gzip.compress(b"[]", mtime=0) * 2, {"Content-Encoding": "gzip"}, 400),
        (gzip.compress(b" " * 40_000_000, mtime=0), {"Content-Encoding": "gzip"}, 413),
        (json.dumps([1] * 10_001).encode(), {}, 413),
        (b"[" + b" " * (33 * 1024 * 1024) + b"]", {}, 413),
    ],
)
def test_it_refuses_what_it_cannot_read_as_a_problem(send, body, headers, status):
    answer = send(body, **headers)
    assert answer.status_code == status
    assert answer["Content-Type"].startswith("application/problem+json")
    assert answer.json()["status"] == status


def test_it_refuses_another_media_type(send):
    assert send(b"[]", content_type="text/plain").status_code == 415


@pytest.mark.parametrize("secret", ["", "qms_gateway1_" + "y" * 43, "qmk_gateway1_" + "x" * 43])
def test_it_opens_to_usage_sources_only(acme, send, secret):
    answer = send(batch(usage(acme, at=timezone.now())), secret=secret)
    assert answer.status_code == 401
    with fleet_scope():
        assert not UsageEvent.objects.exists()


def test_it_refuses_a_revoked_source(acme, source, send):
    UsageSource.objects.update(revoked_at=timezone.now())
    assert send(batch(usage(acme, at=timezone.now()))).status_code == 401
