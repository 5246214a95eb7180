"""Who asks: sessions for pages, bearer secrets for the API, never the two mixed."""

from types import SimpleNamespace

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db
JUNK = {"host": "127.0.0.1", "authorization": "Bearer qmt_abcdefgh_" + "x" * 43}


@pytest.fixture
def olga(scene: SimpleNamespace) -> Client:
    client = Client(headers={"host": "127.0.0.1"})
    client.force_login(scene.olga)
    return client


def test_it_takes_no_notice_of_a_bearer_secret_at_pages(olga):
    assert olga.get("/services/", headers=JUNK).status_code == 200
    assert Client().get("/services/", headers=JUNK).status_code == 302


def test_it_lets_a_bearer_secret_win_over_the_session_at_the_api(olga):
    assert olga.get("/api/v1/tenants").status_code == 200
    assert olga.get("/api/v1/tenants", headers=JUNK).status_code == 401


def test_it_refuses_a_text_that_no_name_can_have(olga):
    assert olga.get("/tenants/?search=a%00b").status_code == 422


def test_it_answers_unknown_addresses_of_the_api_with_a_problem_document(olga):
    answer = olga.get("/api/v1/nothing")
    assert answer.status_code == 404
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer["X-Request-Id"]
    assert b"<html" in olga.get("/nothing/").content
