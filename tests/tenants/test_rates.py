"""Limits of requests to the API: by token, by address for wrong credentials, and without Valkey."""

import json
from datetime import timedelta

import pytest
from django.test import Client

from tenants.actions import tokens
from tenants.rules.rates import Rate, group_of

pytestmark = pytest.mark.django_db
ME = "/api/v1/me"
DAY = timedelta(days=1)
DEAD = "redis://127.0.0.1:1/0"


def bearer(secret):
    return Client(headers={"authorization": f"Bearer {secret}"})


@pytest.fixture
def token(olga):
    def make(name):
        with olga.scope():
            _, secret = tokens.create_token(
                olga.viewer, name=name, permissions=["view"], lifetime=DAY
            )
        return bearer(secret)

    return make


def test_it_refuses_a_token_that_is_too_fast_and_says_when_to_come_again(settings, token):
    settings.QM_API_REQUESTS_PER_MINUTE = 2
    fast = token("fast")
    first, second, third = (fast.get(ME) for _ in range(3))
    assert (first.status_code, second.status_code, third.status_code) == (200, 200, 429)
    assert first["RateLimit-Policy"] == '"requests";q=2;w=60'
    assert first["RateLimit"].startswith('"requests";r=1;t=')
    assert third["RateLimit"].startswith('"requests";r=0;t=')
    assert 1 <= int(third["Retry-After"]) <= 60
    assert third["Content-Type"] == "application/problem+json"
    problem = json.loads(third.content)
    assert problem["code"] == "too_many_requests"
    assert problem["detail"].startswith("2 requests a minute are answered; the next in ")


def test_each_token_and_each_person_has_a_count_of_its_own(settings, token, olga):
    settings.QM_API_REQUESTS_PER_MINUTE = 1
    one, other = token("one"), token("other")
    assert [one.get(ME).status_code, one.get(ME).status_code] == [200, 429]
    assert other.get(ME).status_code == 200
    assert [olga.client.get(ME).status_code for _ in range(2)] == [200, 429]


def test_nothing_is_limited_where_the_limit_is_zero(settings, token):
    settings.QM_API_REQUESTS_PER_MINUTE = 0
    answer = token("any").get(ME)
    assert answer.status_code == 200
    assert "RateLimit" not in answer


def test_wrong_credentials_of_an_address_are_refused_and_right_ones_are_not(settings, token):
    settings.QM_API_FAILURES_PER_MINUTE = 2
    mallory = {"REMOTE_ADDR": "192.0.2.7"}
    guess = bearer("qmt_nonsense")
    assert [guess.get(ME, **mallory).status_code for _ in range(3)] == [401, 401, 429]
    answer = guess.get(ME, **mallory)
    assert answer["RateLimit-Policy"] == '"failures";q=2;w=60'
    assert int(answer["Retry-After"]) > 0
    assert token("good").get(ME, **mallory).status_code == 200
    assert guess.get(ME, REMOTE_ADDR="192.0.2.8").status_code == 401
    assert Client().get(ME, **mallory).status_code == 401, "no credential is no wrong one"


def test_a_refused_write_writes_nothing(settings, olga):
    settings.QM_API_REQUESTS_PER_MINUTE = 1
    olga.client.get(ME)
    body = {"slug": "initech", "name": "Initech"}
    answer = olga.client.post("/api/v1/tenants", body, content_type="application/json")
    assert answer.status_code == 429
    assert olga.client.get("/tenants/initech/").status_code == 404


def test_a_gateway_is_not_limited(settings, olga):
    settings.QM_API_REQUESTS_PER_MINUTE = 1
    with olga.scope():
        _, secret = tokens.create_source(olga.viewer, name="gateway-1")
    for _ in range(3):
        answer = bearer(secret).post(
            "/api/v1/usage/events", b"[]", content_type="application/cloudevents-batch+json"
        )
        assert answer.status_code == 200
        assert "RateLimit" not in answer


def test_everything_is_answered_while_valkey_is_away(settings, token):
    settings.REDIS_URL = DEAD
    settings.QM_API_REQUESTS_PER_MINUTE = settings.QM_API_FAILURES_PER_MINUTE = 1
    client = token("any")
    assert [client.get(ME).status_code for _ in range(3)] == [200] * 3
    assert [bearer("qmt_nonsense").get(ME).status_code for _ in range(3)] == [401] * 3


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("", "unknown"),
    ],
)
def test_addresses_of_one_site_count_together(address, group):
    assert group_of(address) == group


def test_a_limit_says_never_less_than_nothing():
    rate = Rate("requests", 5, 9, 12)
    assert rate.is_over
    assert rate.state == '"requests";r=0;t=12'
    assert not Rate("requests", 5, 5, 12).is_over
