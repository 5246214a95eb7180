"""One's own account: sign-in with a second step, sessions, passwords."""

import re
from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import (
    format_hotp_value,
    hotp_value,
    yield_hotp_counters_from_time,
)
from allauth.usersessions.models import UserSession
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from console import accounts
from tenants.actions import people, tokens
from tenants.base.scope import fleet_scope
from tenants.models import AuditEvent
from tests.tenants.conftest import PASSWORD, make_person
from tests.tenants.rest import bearer, call

pytestmark = pytest.mark.django_db

LOGIN = "/account/login/"


@pytest.fixture(autouse=True)
def _no_limits(settings):
    settings.ACCOUNT_RATE_LIMITS = False


def sign_in(person, password=PASSWORD):
    client = Client()
    answer = client.post(LOGIN, {"login": person.user.email, "password": password})
    return client, answer


def code_of(secret, shift=0):
    counter = next(yield_hotp_counters_from_time()) + shift
    return format_hotp_value(hotp_value(secret, counter))


def switch_on(client):
    """Walk through the set-up page as a person does; answer the app's secret."""
    again = client.get("/account/2fa/totp/activate/")
    assert again["Location"].startswith("/account/reauthenticate/")
    assert client.get(again["Location"]).status_code == 200
    assert client.post(again["Location"], {"password": PASSWORD}).status_code == 302
    page = client.get("/account/2fa/totp/activate/").content.decode()
    secret = re.search(r'<code class="mono wrap-any">([A-Z2-7=]+)</code>', page)[1]
    assert client.post("/account/2fa/totp/activate/", {"code": code_of(secret)}).status_code == 302
    return secret


def test_it_signs_in_by_password(olga):
    client, answer = sign_in(olga)
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert client.get("/tenants/").status_code == 200


def test_it_refuses_a_wrong_password(olga):
    client, answer = sign_in(olga, "not the password at all")
    assert answer.status_code == 200
    assert client.get("/tenants/").status_code == 302


def test_it_signs_nobody_in_who_was_deactivated(olga):
    olga.user.is_active = False
    olga.user.save()
    client, _ = sign_in(olga)
    assert client.get("/tenants/").status_code == 302


def test_it_revives_no_session_of_who_was_deactivated(olga, vic):
    """A session may be the very reason why somebody was shut out."""
    make_person("paul", "approver")
    client, _ = sign_in(vic)
    assert client.get("/tokens/").status_code == 200
    with olga.scope():
        people.deactivate_person(olga.viewer, vic.user.pk)
    assert not UserSession.objects.filter(user=vic.user).exists()
    with olga.scope():
        people.reactivate_person(olga.viewer, vic.user.pk)
    assert client.get("/tokens/").status_code == 302
    again, _ = sign_in(vic)
    assert again.get("/tokens/").status_code == 200


def test_it_asks_for_the_second_step_once_it_is_on(olga):
    client, _ = sign_in(olga)
    secret = switch_on(client)
    other, answer = sign_in(olga)
    assert answer["Location"] == "/account/2fa/authenticate/"
    assert other.get("/tenants/").status_code == 302
    wrong = other.post("/account/2fa/authenticate/", {"code": "000000"})
    assert wrong.status_code == 200
    code = {"code": code_of(secret)}
    assert other.post("/account/2fa/authenticate/", code).status_code == 302
    assert other.get("/tenants/").status_code == 200
    third, _ = sign_in(olga)
    assert third.post("/account/2fa/authenticate/", code).status_code == 200  # it works once
    assert third.get("/tenants/").status_code == 302


def test_it_keeps_the_secret_of_the_app_encrypted(olga):
    client, _ = sign_in(olga)
    secret = switch_on(client)
    kept = Authenticator.objects.get(user=olga.user, type="totp")
    assert secret not in str(kept.data)
    assert kept.wrap().validate_code(code_of(secret))


def test_it_signs_in_by_a_recovery_code_once(olga):
    client, _ = sign_in(olga)
    switch_on(client)
    client.post("/account/2fa/recovery-codes/generate/")
    page = client.get("/account/2fa/recovery-codes/").content.decode()
    code = re.search(r'Unused codes">([0-9a-z]+)', page)[1]
    for want in (302, 200):
        other, _ = sign_in(olga)
        answer = other.post("/account/2fa/authenticate/", {"code": code})
        assert answer.status_code == want


def test_it_ends_one_session_and_leaves_the_other(olga):
    here, _ = sign_in(olga)
    there, _ = sign_in(olga)
    far = UserSession.objects.get(session_key=there.session.session_key)
    assert here.post(f"/me/sessions/{far.pk}/end/").status_code == 302
    assert there.get("/tenants/").status_code == 302
    assert here.get("/tenants/").status_code == 200
    with fleet_scope():
        assert AuditEvent.objects.filter(verb="session.end").exists()


def test_it_writes_down_when_a_session_was_seen_but_not_each_time(olga):
    client, _ = sign_in(olga)
    session = UserSession.objects.get(user=olga.user)
    client.get("/tokens/")
    assert UserSession.objects.get(pk=session.pk).last_seen_at == session.last_seen_at
    with CaptureQueriesContext(connection) as asked:
        client.get("/tokens/")
    assert not [q for q in asked.captured_queries if "usersession" in q["sql"]]
    UserSession.objects.update(last_seen_at=session.last_seen_at - timedelta(minutes=2))
    another = Client()  # process: it does not know this session
    another.cookies = client.cookies
    another.get("/tokens/")
    assert UserSession.objects.get(pk=session.pk).last_seen_at > session.last_seen_at


def test_it_writes_down_again_after_a_minute(olga, monkeypatch):
    monkeypatch.setattr(accounts, "SEEN_EVERY", timedelta(0))
    client, _ = sign_in(olga)
    client.get("/tokens/")
    session = UserSession.objects.get(user=olga.user)
    client.get("/tokens/")
    assert UserSession.objects.get(pk=session.pk).last_seen_at > session.last_seen_at


def test_it_ends_no_session_of_others(olga, mallory):
    sign_in(olga)
    theirs = UserSession.objects.get(user=olga.user)
    assert mallory.client.post(f"/me/sessions/{theirs.pk}/end/").status_code == 404


def test_it_ends_all_others_at_once(olga):
    here, _ = sign_in(olga)
    there, _ = sign_in(olga)
    here.post("/account/sessions/")
    assert there.get("/tenants/").status_code == 302


def test_it_lists_the_sessions_that_live_and_forgets_the_others(olga):
    here, _ = sign_in(olga)
    sign_in(olga)
    gone, _ = sign_in(olga)
    gone.session.delete()  # it ran out, and was cleared away
    other = UserSession.objects.exclude(session_key=here.session.session_key).first()
    page = here.get("/account/sessions/").content.decode()
    assert f"/me/sessions/{other.pk}/end/" in page
    assert "This one" in page
    assert UserSession.objects.filter(user=olga.user).count() == 2


def test_it_changes_the_password(olga):
    client, _ = sign_in(olga)
    fields = {"oldpassword": PASSWORD, "password1": "short", "password2": "short"}
    assert client.post("/account/password/change/", fields).status_code == 200
    new = "another quite long password"
    fields |= {"password1": new, "password2": new}
    assert client.post("/account/password/change/", fields).status_code == 302
    _, answer = sign_in(olga, new)
    assert answer.status_code == 302


def test_it_wants_a_password_of_ones_own_first(olga):
    with olga.scope():
        user, password = people.invite_person(olga.viewer, email="n@example.com", role="viewer")
    client = Client()
    client.post(LOGIN, {"login": user.email, "password": password})
    assert client.get("/tenants/")["Location"] == "/account/password/change/"
    assert client.get("/api/v1/me").status_code == 401
    page = client.get("/account/password/change/").content.decode()
    assert "choose your own" in page
    new = "a password of my own"
    fields = {"oldpassword": password, "password1": new, "password2": new}
    assert client.post("/account/password/change/", fields).status_code == 302
    assert client.get("/tenants/").status_code == 200
    assert client.get("/api/v1/me").status_code == 200


@pytest.mark.parametrize("door", ["signup/", "password/reset/", "email/"])
def test_it_sends_to_an_operator_where_mail_would_be_needed(olga, door):
    client, _ = sign_in(olga)
    for visitor in (Client(), client):
        answer = visitor.get(f"/account/{door}")
        assert (answer.status_code, "Ask an operator" in answer.content.decode()) == (200, True)


@pytest.mark.parametrize("page", ["sessions/", "2fa/", "password/change/", "reauthenticate/"])
def test_it_shows_the_pages_of_the_account(olga, page):
    client, _ = sign_in(olga)
    answer = client.get(f"/account/{page}")
    assert answer.status_code == 200
    assert "<style" not in answer.content.decode()


def told(verb):
    with fleet_scope():
        rows = AuditEvent.objects.filter(verb=verb).order_by("id")
        return list(rows.values_list("actor", "target_name", "address", "credential", "request_id"))


def test_it_keeps_who_signed_in_and_from_where(olga):
    sign_in(olga, "not the password at all")
    assert told("person.sign_in") == []
    _, answer = sign_in(olga)
    want = ("olga@example.com", "olga", "127.0.0.1", "", answer["X-Request-Id"])
    assert told("person.sign_in") == [want]


def test_it_keeps_what_people_change_of_their_own_accounts(mallory):
    """Of a tenant's people too, whose rows belong to no tenant."""
    client, _ = sign_in(mallory)
    new = "another-long-password"
    body = {"oldpassword": PASSWORD, "password1": new, "password2": new}
    switch_on(client)
    assert client.post("/account/2fa/totp/deactivate/").status_code == 302
    assert client.post("/account/password/change/", body).status_code == 302
    acts = ("add_second_step", "renew_recovery_codes", "remove_second_step", "change_password")
    for act in acts:
        (row,) = told(f"person.{act}")
        assert row[:3] == ("mallory@example.com", "mallory", "127.0.0.1")


def test_it_keeps_which_token_did_it(olga):
    with olga.scope():
        token, secret = tokens.create_token(
            olga.viewer, name="t", permissions=["manage_tenants"], lifetime=timedelta(days=1)
        )
    body = {"slug": "new", "name": "New"}
    assert call(bearer(secret), "POST", "tenants", body).status_code == 201
    ((_, _, address, credential, _),) = told("tenant.create")
    assert (address, credential) == ("127.0.0.1", f"qmt_{token.public_id}")


@pytest.mark.parametrize(
    "at", ["/tenants/", "/tokens/", "/api/v1/me", "/account/2fa/", "/nothing/"]
)
def test_no_browser_keeps_what_a_person_may_see(olga, at):
    assert "no-store" in sign_in(olga)[0].get(at)["Cache-Control"]


def test_a_password_that_another_knows_is_not_chosen_again(olga):
    """Whoever made it could go on signing in as the person, and approve what he asked for."""
    with olga.scope():
        user, password = people.invite_person(olga.viewer, email="n@example.com", role="approver")
    client = Client()
    client.post(LOGIN, {"login": user.email, "password": password})
    fields = {"oldpassword": password, "password1": password, "password2": password}
    answer = client.post("/account/password/change/", fields)
    assert (answer.status_code, "not the one you have" in answer.content.decode()) == (200, True)
    assert client.get("/tenants/")["Location"] == "/account/password/change/"
