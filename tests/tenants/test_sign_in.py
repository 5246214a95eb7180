"""The evidence of sign-ins, those that failed too, of sign-outs and of second steps."""

import uuid

import pytest
from allauth.usersessions.models import UserSession
from django.test import Client

from tenants.actions import sign_in as actions
from tenants.base.scope import fleet_scope
from tenants.models import AuditEvent
from tenants.rules.attempts import is_told
from tests.tenants.conftest import PASSWORD, make_person
from tests.tenants.test_account import LOGIN, code_of, sign_in, switch_on

pytestmark = pytest.mark.django_db
WRONG = "not-the-password-at-all"
FAILED = "person.sign_in_failed"


@pytest.fixture(autouse=True)
def _alone(settings, monkeypatch):
    """No limits, and counts of this test's own."""
    settings.ACCOUNT_RATE_LIMITS = False
    monkeypatch.setattr(actions, "NAME", f"sign-in:{uuid.uuid4()}")


def told(verb):
    with fleet_scope():
        rows = AuditEvent.objects.filter(verb=verb).order_by("id")
        return list(rows.values("actor", "target_name", "target_id", "address", "after", "why"))


def guess(login, password=WRONG, address="127.0.0.1"):
    return Client(REMOTE_ADDR=address).post(LOGIN, {"login": login, "password": password})


def test_it_keeps_that_somebody_tried_an_account(olga):
    guess("Olga@Example.com")
    (row,) = told(FAILED)
    assert (row["actor"], row["target_id"]) == ("not signed in", str(olga.user.pk))
    assert (row["address"], row["after"]) == ("127.0.0.1", {"step": "password", "failures": 1})


def test_it_keeps_nothing_of_what_was_typed_for_nobody(olga):
    """Whoever is in a hurry types the password into the field above."""
    guess(f"{WRONG}@example.com")
    (row,) = told(FAILED)
    assert (row["target_name"], row["target_id"]) == ("an account that does not exist", "0")
    with fleet_scope():
        assert WRONG not in str(list(AuditEvent.objects.values()))


def test_it_keeps_that_who_was_shut_out_came_back(olga):
    paul = make_person("paul", "viewer")
    paul.user.is_active = False
    paul.user.save()
    guess(paul.user.email, PASSWORD)
    (row,) = told(FAILED)
    assert row["target_id"] == str(paul.user.pk)
    assert row["after"] == {"step": "deactivated", "failures": 1}


def test_it_keeps_that_the_second_step_failed_after_the_password(olga):
    client, _ = sign_in(olga)
    switch_on(client)
    other, _ = sign_in(olga)
    other.post("/account/2fa/authenticate/", {"code": "000000"})
    (row,) = told(FAILED)
    assert (row["actor"], row["after"]["step"]) == ("not signed in", "second step")


def test_it_keeps_that_the_password_was_asked_again_in_vain(olga):
    client, _ = sign_in(olga)
    client.post("/account/reauthenticate/", {"password": WRONG})
    (row,) = told(FAILED)
    assert (row["actor"], row["after"]["step"]) == ("olga@example.com", "asked again")


@pytest.mark.parametrize(
    ("number", "want"), [(1, True), (2, False), (10, True), (11, False), (100, True), (110, False)]
)
def test_of_many_the_first_is_told_and_then_each_tenfold(number, want):
    assert is_told(number) is want


def test_it_writes_few_rows_of_many_guesses(olga):
    for _ in range(12):
        guess(olga.user.email)
        guess("nobody@example.com")
    rows = [(r["target_id"], r["after"]["failures"]) for r in told(FAILED)]
    me = str(olga.user.pk)
    assert sorted(rows) == sorted([(me, 1), (me, 10), ("0", 1), ("0", 10)])


def test_it_writes_a_bounded_number_of_rows_whatever_the_addresses(olga, monkeypatch):
    monkeypatch.setattr(actions, "MOST_ROWS", 3)
    for number in range(6):
        guess(olga.user.email, address=f"10.0.0.{number}")
    assert [row["why"] for row in told(FAILED)] == ["", "", actions.NO_MORE]


def test_it_writes_where_nothing_counts(olga, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    guess(olga.user.email)
    assert [row["after"] for row in told(FAILED)] == [{"step": "password", "failures": None}]


def test_it_keeps_that_somebody_signed_out(mallory):
    client, _ = sign_in(mallory)
    assert client.post("/account/logout/").status_code == 302
    (row,) = told("person.sign_out")
    assert (row["actor"], row["target_name"]) == ("mallory@example.com", "mallory")
    client.post("/account/logout/")
    Client().post("/account/logout/")
    assert len(told("person.sign_out")) == 1


def test_it_keeps_that_all_other_sessions_were_ended(olga):
    here, _ = sign_in(olga)
    sign_in(olga)
    before = UserSession.objects.filter(user=olga.user).count()
    assert here.post("/account/sessions/").status_code == 302
    (row,) = told("session.end_others")
    assert row["after"] == {"sessions_ended": before - 1}
    assert UserSession.objects.filter(user=olga.user).count() == 1


def test_a_change_of_the_second_step_is_kept_in_its_own_transaction(mallory):
    """None of what waits for the commit runs here, as when the process is killed right after it."""
    client, _ = sign_in(mallory)
    switch_on(client)
    assert told("person.add_second_step")[0]["after"] == {"kind": "totp"}
    assert len(told("person.renew_recovery_codes")) == 1  # the first ones come with the second step
    assert client.post("/account/2fa/recovery-codes/generate/").status_code == 302
    assert len(told("person.renew_recovery_codes")) == 2
    assert client.post("/account/2fa/totp/deactivate/").status_code == 302
    assert told("person.remove_second_step")[0]["after"] == {"kind": "totp"}


def test_a_code_that_is_used_changes_nothing(olga):
    client, _ = sign_in(olga)
    secret = switch_on(client)
    other, _ = sign_in(olga)
    other.post("/account/2fa/authenticate/", {"code": code_of(secret)})
    assert len(told("person.add_second_step")) == 1
