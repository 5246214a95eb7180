"""A stranger who guesses keeps nobody out of the browser in which he signed in before."""

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.test import Client

from console import known_browser
from console.known_browser import COOKIE
from tests.tenants.conftest import PASSWORD, make_person
from tests.tenants.test_account import LOGIN

pytestmark = pytest.mark.django_db
TRIES = 5  # of an account in five minutes, in the settings


@pytest.fixture(autouse=True)
def _counts_of_its_own():
    cache.clear()
    yield
    cache.clear()


def attempt(client, email, password, address):
    given = {"login": email, "password": password}
    return client.post(LOGIN, given, REMOTE_ADDR=address).status_code == 302


def guess(email, client=None):
    """As often as the limit allows, and once more."""
    for n in range(TRIES + 1):
        assert not attempt(client or Client(), email, "not-the-password", f"127.0.1.{n}")


@pytest.fixture
def known(olga):
    """A browser in which olga signed in, and out."""
    client = Client()
    assert attempt(client, olga.user.email, PASSWORD, "127.0.0.1")
    client.post("/account/logout/")
    return client


def test_a_stranger_keeps_nobody_out_of_a_known_browser(olga, known):
    guess(olga.user.email)
    assert not attempt(Client(), olga.user.email, PASSWORD, "127.0.0.2")  # of nobody we know
    assert attempt(known, olga.user.email.upper(), PASSWORD, "127.0.0.3")


def test_who_is_refused_reads_what_to_do(olga):
    guess(olga.user.email)
    given = {"login": olga.user.email, "password": PASSWORD}
    answer = Client().post(LOGIN, given, REMOTE_ADDR="127.0.0.2")
    assert "wait five minutes, or use a browser" in answer.content.decode()


def test_a_known_browser_has_no_more_attempts_than_others(olga, known):
    guess(olga.user.email, known)
    assert not attempt(known, olga.user.email, PASSWORD, "127.0.0.2")


def test_a_stranger_keeps_nobody_from_his_second_step(olga):
    """Which asks for the password again."""
    client = Client()
    assert attempt(client, olga.user.email, PASSWORD, "127.0.0.1")
    guess(olga.user.email)
    assert client.post("/account/reauthenticate/", {"password": PASSWORD}).status_code == 302


def test_it_is_known_for_its_own_account_alone(olga, known):
    paul = make_person("paul", "viewer")
    guess(paul.user.email)
    assert not attempt(known, paul.user.email, PASSWORD, "127.0.0.2")


@pytest.mark.parametrize("wrong", ["", "a:b:c", "\x00", "é", "x" * 4_000])
def test_a_made_up_name_is_nobodys(olga, wrong):
    guess(olga.user.email)
    client = Client()
    client.cookies[COOKIE] = wrong
    assert not attempt(client, olga.user.email, PASSWORD, "127.0.0.2")


def test_it_is_forgotten_after_half_a_year(olga, known, monkeypatch):
    monkeypatch.setattr(known_browser, "KEPT", timedelta(0))
    guess(olga.user.email)
    assert not attempt(known, olga.user.email, PASSWORD, "127.0.0.2")


def test_no_script_and_no_other_site_sees_the_cookie(known):
    cookie = known.cookies[COOKIE]
    assert cookie["httponly"] and cookie["samesite"] == "Lax"
    assert cookie["max-age"] == 180 * 24 * 3600
