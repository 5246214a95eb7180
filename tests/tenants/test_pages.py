"""The pages of tenants: who sees them, what their forms do, and what they keep."""

import csv
import io
import json

import pytest
from django.test import Client

from tenants.actions import changes, keys, people, quotas, tenants, tokens
from tenants.base.scope import fleet_scope
from tenants.models import AccessToken, ApiKey, AuditEvent, Quota, RoleBinding, Tenant, User
from tenants.rules.keys import Wish
from tenants.rules.quotas import Limits

pytestmark = pytest.mark.django_db

WISH = Wish("ci", ("inference",), None, "batch", None)
PAGES = {
    "tenants": "/tenants/",
    "new tenant": "/new/tenant/",
    "tenant": "/tenants/acme/",
    "change": "/tenants/acme/edit/",
    "applications": "/tenants/acme/applications/",
    "all keys of it": "/tenants/acme/applications/?show=all",
    "new application": "/tenants/acme/new/application/",
    "change application": "/tenants/acme/applications/chat/edit/",
    "new key": "/tenants/acme/applications/chat/new/key/",
    "rotate": "/tenants/acme/keys/{key}/rotate/",
    "quotas of it": "/tenants/acme/quotas/",
    "new quota": "/tenants/acme/new/quota/",
    "models": "/tenants/acme/models/",
    "people of it": "/tenants/acme/people/",
    "activity": "/tenants/acme/activity/",
    "quotas": "/quotas/",
    "quota": "/quotas/{series}/",
    "people": "/people/",
    "invite": "/new/person/",
    "person": "/people/{person}/",
    "keys": "/people/keys/",
    "sources": "/people/sources/",
    "tokens": "/tokens/",
    "new token": "/new/token/",
    "my activity": "/me/activity/",
    "audit": "/audit/",
    "event": "/audit/{event}/",
    "api": "/reference/api/",
    "api of quotas": "/reference/api/?q=quotas",
}
# What everybody who signed in may open: it shows one's own slice.
OWN = {
    "api",
    "api of quotas",
    "tenants",
    "quotas",
    "keys",
    "tokens",
    "new token",
    "my activity",
    "audit",
}
SENDS = {
    "suspend": ("/tenants/acme/suspend/", {"typed": "acme", "why": "unpaid"}),
    "drop prefixes": ("/tenants/acme/renew-salt/", {"typed": "acme", "why": "leak"}),
    "grant": ("/tenants/acme/models/grant/", {"model": "big-chat"}),
    "withdraw": ("/tenants/acme/models/withdraw/", {"model": "tiny-chat", "typed": "tiny-chat"}),
    "revoke a key": ("/tenants/acme/keys/{key}/revoke/", {"typed": "ci"}),
    "clear a quota": ("/quotas/{series}/clear/", {"typed": "acme", "why": "x"}),
    "give a role": ("/people/{person}/give-role/", {"role": "finance"}),
    "take a role": ("/people/{person}/take-role/", {"role": "viewer"}),
    "deactivate": ("/people/{person}/deactivate/", {"typed": "pat@example.com"}),
    "revoke a source": ("/people/sources/gateway-1/revoke/", {"typed": "gateway-1"}),
}
MADE = {
    "key": ("/tenants/acme/applications/chat/new/key/", "qmk_",
            {"name": "k", "traffic_class": "batch", "scopes": ["inference"], "lifetime": "30"}),
    "rotated key": ("/tenants/acme/keys/{key}/rotate/", "qmk_", {"overlap": "24"}),
    "token": ("/new/token/", "qmt_", {"name": "t", "permissions": ["view"], "days": "30"}),
    "source": ("/people/sources/", "qms_", {"name": "gateway-2"}),
    "new secret": ("/people/sources/gateway-1/renew/", "qms_", {"typed": "gateway-1"}),
}  # fmt: skip


RELATED = {RoleBinding: ("tenant",)}


@pytest.fixture
def world(olga, chat, search):
    with olga.scope():
        tenants.grant_model(olga.viewer, "acme", "tiny-chat")
        key, _ = keys.create_key(olga.viewer, "acme", "chat", wish=WISH)
        quota = quotas.set_quota(
            olga.viewer, quotas.Target("acme"), limits=Limits(concurrency=3, monthly_budget=100)
        )
        person, _ = people.invite_person(olga.viewer, email="pat@example.com", role="viewer")
        tokens.create_source(olga.viewer, name="gateway-1")
        changes.propose(olga.viewer, kind="rollout", target_id=1, title="Go", payload={})
        event = AuditEvent.objects.filter(tenant_id=chat.tenant_id).first()
    return {"key": key.public_id, "series": quota.series, "person": person.pk, "event": event.pk}


def get(person, world, name):
    return person.client.get(PAGES[name].format(**world))


def rows(model, /, **which):
    with fleet_scope():
        return model.objects.select_related(*RELATED.get(model, ())).get(**which)


@pytest.mark.parametrize("name", PAGES)
def test_it_shows_every_page_to_an_operator(world, olga, name):
    answer = get(olga, world, name)
    assert answer.status_code == 200
    assert "<style" not in answer.content.decode()
    assert " style=" not in answer.content.decode()


@pytest.mark.parametrize("name", PAGES)
def test_it_shows_a_stranger_only_his_own(world, mallory, name):
    answer = get(mallory, world, name)
    text = answer.content.decode()
    assert answer.status_code == (200 if name in OWN else 404)
    assert "ACME" not in text.upper().replace("/TENANTS/ACME", "")


@pytest.mark.parametrize("name", PAGES)
def test_it_sends_people_to_sign_in_first(world, name):
    answer = Client().get(PAGES[name].format(**world))
    assert (answer.status_code, answer["Location"][:15]) == (302, "/account/login/")


@pytest.mark.parametrize(
    "name", ["tenant", "applications", "quotas of it", "people of it", "event"]
)
@pytest.mark.parametrize("who", ["vic", "fiona", "adam"])
def test_it_lets_others_look(world, request, who, name):
    assert get(request.getfixturevalue(who), world, name).status_code == 200


@pytest.mark.parametrize("name", ["new tenant", "change", "new quota", "new key", "invite"])
@pytest.mark.parametrize("who", ["vic", "fiona"])
def test_it_gives_no_form_to_those_who_only_look(world, request, who, name):
    assert get(request.getfixturevalue(who), world, name).status_code == 403


@pytest.mark.parametrize("name", SENDS)
def test_it_does_what_the_button_says(world, olga, name):
    address, fields = SENDS[name]
    assert olga.client.post(address.format(**world), fields).status_code == 302


@pytest.mark.parametrize("name", SENDS)
@pytest.mark.parametrize("who", ["mallory", "vic", "fiona"])
def test_it_does_nothing_for_others(world, request, who, name):
    person = request.getfixturevalue(who)
    with fleet_scope():
        before = AuditEvent.objects.count()
    address, fields = SENDS[name]
    answer = person.client.post(address.format(**world), fields)
    assert answer.status_code in ({404} if who == "mallory" else {403, 404})
    with fleet_scope():
        assert AuditEvent.objects.count() == before


@pytest.mark.parametrize("name", [n for n, (_, f) in SENDS.items() if "typed" in f])
def test_it_wants_the_name_typed(world, olga, name):
    address, fields = SENDS[name]
    answer = olga.client.post(address.format(**world), {**fields, "typed": "something else"})
    assert answer.status_code == 422


@pytest.mark.parametrize("address", [a for a, _ in SENDS.values()])
def test_it_changes_nothing_by_a_link(world, olga, address):
    assert olga.client.get(address.format(**world)).status_code == 405


@pytest.mark.parametrize("name", MADE)
def test_it_shows_a_secret_once(world, olga, name):
    address, prefix, fields = MADE[name]
    body = {**fields, "once": "ticket"}
    first = olga.client.post(address.format(**world), body)
    again = olga.client.post(address.format(**world), body)
    assert first.status_code == 200
    assert prefix in first.content.decode()
    assert first["Cache-Control"] == "no-store"
    assert again.status_code == 409
    assert "cannot be shown again" in again.content.decode()


@pytest.mark.parametrize("name", MADE)
def test_it_makes_no_secret_without_a_ticket(world, olga, name):
    address, _, fields = MADE[name]
    assert olga.client.post(address.format(**world), fields).status_code in {409, 422}


def test_it_keeps_what_was_typed_when_it_refuses(world, olga):
    fields = {"name": "My tenant", "slug": "Not Good", "traffic_class": "batch",
              "currency": "USD", "time_zone": "Mars/Base", "residency": "eu-1"}  # fmt: skip
    answer = olga.client.post("/new/tenant/", fields)
    text = answer.content.decode()
    assert answer.status_code == 422
    assert "My tenant" in text
    assert "Not Good" in text
    assert "IANA" in text
    assert not Tenant.objects.filter(name="My tenant").exists()


def test_it_lets_a_refused_form_with_a_ticket_be_sent_again(world, olga):
    address, _, fields = MADE["key"]
    wrong = {**fields, "traffic_class": "critical", "once": "t2"}
    assert olga.client.post(address, wrong).status_code == 422
    assert olga.client.post(address, {**fields, "once": "t2"}).status_code == 200


def test_it_makes_a_tenant_and_leads_to_its_models(world, olga):
    fields = {
        "name": "Initech",
        "slug": "initech",
        "traffic_class": "batch",
        "currency": "EUR",
        "time_zone": "Europe/Berlin",
        "residency": "eu-1, eu-2",
        "why": "new contract",
    }
    answer = olga.client.post("/new/tenant/", fields)
    assert answer["Location"] == "/tenants/initech/models/"
    made = rows(Tenant, slug="initech")
    assert (made.residency, made.currency) == (["eu-1", "eu-2"], "EUR")
    assert rows(AuditEvent, target_kind="tenant", target_name="initech").why == "new contract"


def test_it_refuses_an_edit_of_what_somebody_else_changed(world, olga):
    fields = {"name": "A", "traffic_class": "batch", "time_zone": "UTC", "version": "1"}
    assert olga.client.post("/tenants/acme/edit/", fields).status_code == 302
    answer = olga.client.post("/tenants/acme/edit/", {**fields, "name": "B"})
    assert answer.status_code == 422
    assert "Somebody else changed this" in answer.content.decode()
    assert rows(Tenant, slug="acme").name == "A"


def test_it_makes_a_new_version_of_a_quota(world, olga):
    address = f"/quotas/{world['series']}/"
    fields = {"concurrency": "9", "version": "1", "why": "launch"}
    assert olga.client.post(address, fields).status_code == 302
    stale = olga.client.post(address, {**fields, "concurrency": "10"})
    assert (stale.status_code, "Version 2 holds" in stale.content.decode()) == (422, True)
    with fleet_scope():
        current = Quota.objects.get(series=world["series"], superseded_at=None)
    assert (current.version, current.concurrency, current.monthly_budget) == (2, 9, None)


def test_it_sets_a_quota_of_an_application_and_a_model(world, olga):
    fields = {
        "application": "chat",
        "model": "tiny-chat",
        "tokens_per_minute": "1000",
        "monthly_output_tokens": "2000000",
    }
    assert olga.client.post("/tenants/acme/new/quota/", fields).status_code == 302
    again = olga.client.post("/tenants/acme/new/quota/", fields)
    assert again.status_code == 422
    quota = rows(Quota, model="tiny-chat")
    assert (quota.tokens_per_minute, quota.monthly_output_tokens) == (1000, 2_000_000)
    page = olga.client.get("/tenants/acme/quotas/").content.decode()
    assert "output 2,000,000" in page


def test_it_invites_and_shows_the_password_once(world, olga):
    fields = {"email": "new@example.com", "role": "finance", "tenant": "acme", "once": "t"}
    text = olga.client.post("/new/person/", fields).content.decode()
    password = text.split('id="secret">')[1].split("<")[0]
    user = User.objects.get(email="new@example.com")
    assert user.check_password(password)
    assert rows(RoleBinding, user=user).tenant.slug == "acme"


def test_it_lets_everybody_revoke_his_own_token(world, mallory):
    mallory.client.post("/new/token/", {**MADE["token"][2], "once": "t"})
    token = AccessToken.objects.get(user=mallory.user)
    assert mallory.client.post(f"/tokens/{token.public_id}/revoke/").status_code == 302
    assert "token.create" in mallory.client.get("/me/activity/").content.decode()


def test_it_lets_a_tenants_admin_revoke_his_key(world, adam):
    address, fields = SENDS["revoke a key"]
    assert adam.client.post(address.format(**world), fields).status_code == 302
    assert rows(ApiKey, public_id=world["key"]).revoked_at


@pytest.mark.parametrize(
    "address", ["/tenants/", "/quotas/", "/people/", "/people/keys/", "/audit/"]
)
def test_it_gives_the_rows_of_the_filter_as_files(world, olga, address):
    found = json.loads(olga.client.get(address, {"format": "json"}).content)
    text = olga.client.get(address, {"format": "csv"}).content.decode()
    table = list(csv.DictReader(io.StringIO(text)))
    assert len(table) == len(found) > 0
    assert list(table[0]) == list(found[0])


def test_it_filters_the_list_and_its_file_alike(world, olga):
    wanted = {"search": "glob", "state": "active"}
    assert "globex" in olga.client.get("/tenants/", wanted).content.decode()
    found = json.loads(olga.client.get("/tenants/", {**wanted, "format": "json"}).content)
    assert [t["slug"] for t in found] == ["globex"]


def test_it_writes_no_formula_into_a_file(world, olga):
    fields = {"name": "=cmd|' /C calc'!A0", "traffic_class": "batch", "time_zone": "UTC"}
    olga.client.post("/tenants/acme/edit/", {**fields, "version": "1"})
    text = olga.client.get("/tenants/", {"format": "csv"}).content.decode()
    (acme,) = [t for t in csv.DictReader(io.StringIO(text)) if t["slug"] == "acme"]
    assert acme["name"].startswith("'=cmd")


def test_it_says_which_filter_to_drop(world, olga):
    answer = olga.client.get("/tenants/", {"search": "acme", "traffic_class": "critical"})
    text = answer.content.decode()
    assert "No tenant matches all 2 filters" in text
    assert "Remove “critical”: 1 row" in text


@pytest.mark.parametrize("query", ["page=9999", "page=x", "sort=password", "state=no"])
def test_it_takes_any_address(world, olga, query):
    assert olga.client.get(f"/tenants/?{query}").status_code == 200


@pytest.mark.parametrize("address", ["/tenants/?search=%00", "/audit/?actor=a%00b"])
def test_it_refuses_a_nul(world, olga, address):
    assert olga.client.get(address).status_code == 422
    assert olga.client.post("/tenants/acme/resume/", {"why": "\x00"}).status_code == 422


@pytest.mark.parametrize("query", ["since=nonsense", "until=2026-02-31", "actor=x"])
def test_it_takes_any_filter_of_the_record(world, olga, query):
    assert olga.client.get(f"/audit/?{query}").status_code == 200


def test_it_finds_objects_by_name_and_id(world, olga):
    def kinds(text):
        found = olga.client.get("/search/", {"q": text}).json()["results"]
        return {(hit["kind"], hit["url"].split("#")[0].split("?")[0]) for hit in found}

    assert ("tenant", "/tenants/acme/") in kinds("acm")
    assert ("application", "/tenants/acme/applications/") in kinds("chat")
    assert ("API key", "/tenants/acme/applications/") in kinds(f"qmk_{world['key']}")
    assert ("person", f"/people/{world['person']}/") in kinds("pat@")
    assert kinds("a") == set()


def test_it_finds_nothing_of_others(world, mallory):
    for text in ("acme", "chat", world["key"], "pat@", "tiny"):
        assert mallory.client.get("/search/", {"q": text}).json()["results"] == []


@pytest.mark.parametrize("name", PAGES)
def test_it_asks_few_questions(world, olga, name, django_assert_max_num_queries):
    get(olga, world, name)  # the first request of a session records it
    with django_assert_max_num_queries(30):
        get(olga, world, name)


def test_it_describes_every_operation_of_the_api(olga):
    text = olga.client.get("/reference/api/").content.decode()
    for path in ("/api/v1/tenants/{slug}/keys/{key}/rotate", "/api/v1/usage/events"):
        assert path in text
    assert "overlap_hours" not in text  # members are a step away


def test_it_describes_the_members_of_few_operations(olga):
    text = olga.client.get("/reference/api/?q=keys_rotate").content.decode()
    assert "If-Match" in text
    assert "overlap_hours" in text
