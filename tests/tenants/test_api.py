"""The REST API of tenants: each door tried by an operator, by those who look, by a stranger."""

import json

import pytest
from django.test import Client

from tenants.models import ApiKey, AuditEvent, IdempotencyRecord
from tenants.urls import urlpatterns
from tests.tenants.rest import V1, call

pytestmark = pytest.mark.django_db


# method, address, body of a good request; {…} are filled from `world`.
READS = {
    "me": "me",
    "tenants": "tenants",
    "tenant": "tenants/acme",
    "models": "tenants/acme/models",
    "applications": "tenants/acme/applications",
    "application": "tenants/acme/applications/chat",
    "keys": "tenants/acme/keys",
    "key": "tenants/acme/keys/{key}",
    "quotas of a tenant": "tenants/acme/quotas",
    "quotas": "quotas",
    "quota": "quotas/{series}",
    "versions": "quotas/{series}/versions",
    "people": "people",
    "person": "people/{person}",
    "tokens": "tokens",
    "sources": "usage-sources",
    "changes": "changes",
    "change": "changes/{change}",
    "audit": "audit",
    "event": "audit/{event}",
}
WRITES = {
    "create a tenant": ("POST", "tenants", {"slug": "initech", "name": "Initech"}),
    "change a tenant": ("PATCH", "tenants/acme", {"name": "Acme 2"}),
    "suspend": ("POST", "tenants/acme/suspend", {"why": "unpaid"}),
    "renew salt": ("POST", "tenants/acme/renew-salt", {}),
    "grant": ("PUT", "tenants/acme/models/other/name", {}),
    "withdraw": ("DELETE", "tenants/acme/models/tiny-chat", None),
    "create an application": ("POST", "tenants/acme/applications", {"slug": "x", "name": "X"}),
    "change an application": ("PATCH", "tenants/acme/applications/chat", {"name": "Chat 2"}),
    "create a key": ("POST", "tenants/acme/applications/chat/keys", {"name": "k"}),
    "rotate a key": ("POST", "tenants/acme/keys/{key}/rotate", {"overlap_hours": 1}),
    "revoke a key": ("POST", "tenants/acme/keys/{key}/revoke", {}),
    "create a quota": ("POST", "tenants/acme/quotas", {"model": "tiny-chat", "concurrency": 1}),
    "change a quota": ("PUT", "quotas/{series}", {"monthly_budget": "10.50"}),
    "clear a quota": ("DELETE", "quotas/{series}", None),
    "invite": ("POST", "people", {"email": "new@example.com", "role": "viewer"}),
    "give a role": ("POST", "people/{person}/give-role", {"role": "finance"}),
    "take a role": ("POST", "people/{person}/take-role", {"role": "viewer"}),
    "deactivate": ("POST", "people/{person}/deactivate", {}),
    "reset a password": ("POST", "people/{person}/reset-password", {}),
    "create a source": ("POST", "usage-sources", {"name": "gateway-2"}),
    "renew a source": ("POST", "usage-sources/gateway-1/renew", {}),
    "revoke a source": ("POST", "usage-sources/gateway-1/revoke", {}),
    "withdraw a change": ("POST", "changes/{change}/withdraw", {}),
}
OF_A_TENANT = {
    "create an application", "change an application",
    "create a key", "rotate a key", "revoke a key",
}  # fmt: skip


def write(person, world, name):
    method, address, body = WRITES[name]
    at = address.format(**world)
    read = call(person.client, "GET", at) if method in {"PATCH", "PUT", "DELETE"} else {}
    return call(person.client, method, at, body, if_match=read.get("ETag", '"x-1"'))


def test_it_lists_every_method_of_every_address():
    """A door that is not tried by the cast fails here."""
    tried = {address for _, address, _ in WRITES.values()} | set(READS.values()) | ELSEWHERE
    shapes = {shape_of(a) for a in tried}
    missing = [str(p.pattern) for p in urlpatterns if shape_of(str(p.pattern)) not in shapes]
    assert missing == []


ELSEWHERE = {
    "tenants/acme/resume",
    "people/{person}/reactivate",
    "changes/{change}/decide",
    "tokens/{token}/revoke",
    "routing/snapshot",
}
FILLED = {"acme", "chat", "gateway-1", "tiny-chat", "other"}


def shape_of(address):
    address = address.replace("other/name", "tiny-chat")
    return tuple("*" if part in FILLED or part[:1] in "{<" else part for part in address.split("/"))


@pytest.mark.parametrize("name", READS)
def test_it_shows_an_operator_everything(world, olga, name):
    assert call(olga.client, "GET", READS[name].format(**world)).status_code == 200


@pytest.mark.parametrize("name", READS)
def test_it_wants_a_credential_for_reading(world, name):
    answer = call(Client(), "GET", READS[name].format(**world))
    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")


@pytest.mark.parametrize("name", READS)
def test_it_shows_a_stranger_nothing_of_others(world, mallory, name):
    answer = call(mallory.client, "GET", READS[name].format(**world))
    if READS[name] in {"me", "tenants", "quotas", "tokens", "audit"}:  # own slices
        assert answer.status_code == 200
        assert "acme" not in answer.content.decode()
    else:
        assert answer.status_code == 404


@pytest.mark.parametrize("name", WRITES)
def test_it_lets_an_operator_do_it(world, olga, name):
    answer = write(olga, world, name)
    assert answer.status_code in {200, 201, 204}, answer.content


@pytest.mark.parametrize("name", WRITES)
def test_it_refuses_a_stranger(world, mallory, name):
    assert write(mallory, world, name).status_code == 404


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("role", ["vic", "fiona"])
def test_it_refuses_those_who_only_look(world, request, role, name):
    """Finance does not see the fleet, so its changes are not there for it."""
    answer = write(request.getfixturevalue(role), world, name)
    assert answer.status_code in {403, 404}


@pytest.mark.parametrize("name", WRITES)
def test_it_gives_a_tenants_admin_his_own_slice(world, adam, name):
    want = {200, 201} if name in OF_A_TENANT else {403, 404}
    assert write(adam, world, name).status_code in want


@pytest.mark.parametrize("name", WRITES)
def test_it_wants_a_credential_for_writing(world, name):
    method, address, body = WRITES[name]
    assert call(Client(), method, address.format(**world), body).status_code == 401


def test_it_answers_the_new_state_with_an_etag(world, olga):
    read = call(olga.client, "GET", "tenants/acme")
    answer = call(olga.client, "PATCH", "tenants/acme", {"name": "N"}, if_match=read["ETag"])
    assert answer.json()["name"] == "N"
    assert answer["ETag"] != read["ETag"]


@pytest.mark.parametrize("address", ["tenants/acme", "tenants/acme/applications/chat"])
def test_it_refuses_a_stale_change(world, olga, address):
    old = call(olga.client, "GET", address)["ETag"]
    assert call(olga.client, "PATCH", address, {"name": "A"}, if_match=old).status_code == 200
    answer = call(olga.client, "PATCH", address, {"name": "B"}, if_match=old)
    assert (answer.status_code, answer.json()["code"]) == (412, "stale")
    assert call(olga.client, "GET", address).json()["name"] == "A"


def test_it_refuses_a_stale_quota(world, olga):
    address = f"quotas/{world['series']}"
    body, old = {"concurrency": 9}, f'"{world["series"]}-1"'
    assert call(olga.client, "PUT", address, body, if_match=old).status_code == 200
    assert call(olga.client, "PUT", address, body, if_match=old).status_code == 412
    assert call(olga.client, "DELETE", address, if_match=old).status_code == 412


@pytest.mark.parametrize(
    "name", ["change a tenant", "change an application", "change a quota", "clear a quota"]
)
def test_it_takes_no_etag_of_another_object(world, olga, name):
    """Both are at version 1, so a client that mixes them up would change what it never read."""
    method, address, body = WRITES[name]
    for etag in ('"999999-1"', '"1"', '"-1"'):
        answer = call(olga.client, method, address.format(**world), body, if_match=etag)
        assert (answer.status_code, answer.json()["code"]) == (412, "stale")
    for etag in ("*", '"x"', '"7-²"', '"7-"'):
        answer = call(olga.client, method, address.format(**world), body, if_match=etag)
        assert answer.status_code == 422, etag


@pytest.mark.parametrize("name", ["change a tenant", "change a quota", "clear a quota"])
def test_it_wants_if_match_for_a_change(world, olga, name):
    method, address, body = WRITES[name]
    answer = call(olga.client, method, address.format(**world), body)
    assert (answer.status_code, answer.json()["code"]) == (428, "precondition_required")


def test_it_answers_a_repeat_the_same_without_doing_it_again(world, olga):
    body = {"slug": "initech", "name": "Initech"}
    first = call(olga.client, "POST", "tenants", body, idempotency_key="k1")
    again = call(olga.client, "POST", "tenants", body, idempotency_key="k1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again["ETag"] == first["ETag"]
    assert again["Idempotent-Replayed"] == "true"
    other = call(olga.client, "POST", "tenants", {**body, "name": "X"}, idempotency_key="k1")
    assert other.status_code == 422


def test_it_lets_a_refused_request_be_repeated(world, olga):
    body = {"slug": "acme", "name": "Again"}
    refused = call(olga.client, "POST", "tenants", body, idempotency_key="k2")
    assert refused.status_code == 422
    assert not IdempotencyRecord.objects.filter(key="k2").exists()


def test_it_never_keeps_a_secret(world, olga):
    address = "tenants/acme/applications/chat/keys"
    first = call(olga.client, "POST", address, {"name": "k"}, idempotency_key="k3").json()
    again = call(olga.client, "POST", address, {"name": "k"}, idempotency_key="k3").json()
    assert first["secret"].startswith(f"qmk_{first['id']}_")
    assert again == {**first, "secret": None}
    record = IdempotencyRecord.objects.get(key="k3")
    assert first["secret"] not in bytes(record.body).decode()
    with olga.scope():
        row = ApiKey.objects.get(public_id=first["id"])
        kept = json.dumps(list(AuditEvent.objects.values_list("after", "before")))
    assert first["secret"] not in kept
    assert row.digest not in kept


BAD = {
    "malformed": (b'{"slug": ', 400),
    "not an object": (b"[]", 422),
    "a key twice": (b'{"slug": "x", "slug": "y", "name": "n"}', 400),
    "not UTF-8": (b'{"slug": "\xff"}', 400),
    "not a number": (b'{"slug": "x", "name": NaN}', 400),
    "deeper than anybody needs": (b"[" * 200_000, 400),
    "wrong type": (b'{"slug": 5, "name": "n"}', 422),
    "unknown member": (b'{"slug": "x", "name": "n", "traffic_clas": "batch"}', 422),
    "unknown choice": (b'{"slug": "x", "name": "n", "traffic_class": "gold"}', 422),
    "NUL in a text": (b'{"slug": "x", "name": "a\\u0000b"}', 422),
    "half a character": (b'{"slug": "x", "name": "a\\ud800b"}', 422),
    "an address out of a name": (b'{"slug": "../x", "name": "n"}', 422),
    "a long name": (b'{"slug": "x", "name": "%s"}' % (b"n" * 200), 422),
    "a zone that is none": (b'{"slug": "x", "name": "n", "time_zone": "Mars/Base"}', 422),
    "the zone of a machine": (b'{"slug": "x", "name": "n", "time_zone": "localtime"}', 422),
    "a currency that is none": (b'{"slug": "x", "name": "n", "currency": "UDS"}', 422),
    "a slug that is taken": (b'{"slug": "acme", "name": "n"}', 422),
}


@pytest.mark.parametrize("name", BAD)
def test_it_refuses_a_bad_body_with_a_problem(world, olga, name):
    body, want = BAD[name]
    answer = olga.client.post(V1 + "tenants", body, content_type="application/json")
    problem = answer.json()
    assert (answer.status_code, answer["Content-Type"]) == (want, "application/problem+json")
    assert problem["detail"]
    assert problem["request_id"] == answer["X-Request-Id"]


def test_it_refuses_another_media_type(world, olga):
    answer = olga.client.post(V1 + "tenants", b"slug=x", content_type="text/plain")
    assert answer.status_code == 415


@pytest.mark.parametrize(
    "address", ["tenants/acme/models/%00", "tenants?search=%00", "audit?actor=%00"]
)
def test_it_refuses_a_nul_in_the_address(world, olga, address):
    method = "DELETE" if "models" in address else "GET"
    assert call(olga.client, method, address).status_code == 422


@pytest.mark.parametrize("address", ["tenants?sort=x", "audit?since=yesterday", "changes?state=x"])
def test_it_refuses_a_filter_that_it_does_not_know(world, olga, address):
    assert call(olga.client, "GET", address).status_code == 422


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"concurrency": -1},
        {"concurrency": "3"},
        {"monthly_budget": 5},
        {"monthly_tokens": 10**13},
        {"monthly_input_tokens": "5"},
        {"monthly_budget": "1.0000001"},
        {"monthly_budget": "NaN"},
        {"requests_per_minute": 10**10},
        {"concurrency": True},
        {"model": "never-granted", "concurrency": 1},
    ],
)
def test_it_refuses_limits_that_are_none(world, olga, limits):
    body = {"application": "chat", **limits}
    answer = call(olga.client, "POST", "tenants/acme/quotas", body)
    assert answer.status_code == 422, answer.content


@pytest.mark.parametrize(
    "wish",
    [
        {"traffic_class": "critical"},
        {"models": ["globex-only"]},
        {"models": []},
        {"scopes": []},
        {"name": " "},
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"expires_at": "2999-01-01T00:00:00Z"},
    ],
)
def test_it_refuses_a_key_with_more_than_its_tenant_has(world, olga, wish):
    address = "tenants/acme/applications/chat/keys"
    answer = call(olga.client, "POST", address, {"name": "k", **wish})
    assert answer.status_code == 422, answer.content


def test_it_keeps_the_old_key_for_the_overlap_only(world, olga):
    answer = call(olga.client, "POST", f"tenants/acme/keys/{world['key']}/rotate", {})
    old = call(olga.client, "GET", f"tenants/acme/keys/{world['key']}").json()
    assert answer.json()["traffic_class"] == "batch"
    assert old["state"] == "expiring"


@pytest.mark.parametrize("limit", ["abc", "", "0", "-1", "1.5", " 5", "1_0", "٣", "9" * 40])
def test_a_limit_that_is_no_count_is_told(world, olga, limit):
    answer = olga.client.get(V1 + "tenants", {"limit": limit})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].endswith("limit")


def test_it_pages_by_cursor(world, olga):
    for n in range(3):
        call(olga.client, "POST", "tenants", {"slug": f"t{n}", "name": "T"})
    first = olga.client.get(V1 + "tenants?limit=2").json()
    second = olga.client.get(first["next"]).json()
    slugs = [t["slug"] for page in (first, second) for t in page["results"]]
    assert slugs == ["acme", "globex", "t0", "t1"]
    assert olga.client.get(V1 + "tenants?cursor=nonsense").status_code == 404


def test_it_lets_an_approver_decide_what_he_saw(world, olga, vic):
    address = f"changes/{world['change']}"
    seen = call(vic.client, "GET", address).json()
    wrong = {"digest": "0" * 64, "approve": True}
    assert call(vic.client, "POST", f"{address}/decide", wrong).status_code == 412
    right = {"digest": seen["digest"], "approve": True}
    assert call(olga.client, "POST", f"{address}/decide", right).status_code == 403
    answer = call(vic.client, "POST", f"{address}/decide", right)
    assert (answer.json()["state"], answer.json()["decider"]) == ("approved", "vic@example.com")
    assert call(vic.client, "POST", f"{address}/decide", right).status_code == 409


def test_it_resumes_a_suspended_tenant(world, olga):
    assert call(olga.client, "POST", "tenants/acme/resume", {}).status_code == 409
    assert call(olga.client, "POST", "tenants/acme/suspend", {}).status_code == 422
    assert call(olga.client, "POST", "tenants/acme/suspend", {"why": "x"}).status_code == 200
    assert call(olga.client, "POST", "tenants/acme/suspend", {"why": "x"}).status_code == 409
    assert call(olga.client, "POST", "tenants/acme/resume", {}).json()["suspended_at"] is None
