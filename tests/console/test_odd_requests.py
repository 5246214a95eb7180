"""Requests that no browser sends: refused or unheard, never a defect."""

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db

COOKIES = {
    "a NUL in the session": 'sessionid="\\000aaaaaaaaaaaa"',
    "bytes that are no text": 'sessionid="\\377\\376aaaaaaaaaa"',
    "a long session": "sessionid=" + "a" * 4000,
    "a NUL in a message": 'messages="\\000abc"',
}


@pytest.mark.parametrize("name", COOKIES)
@pytest.mark.parametrize(
    ("path", "want"), [("/account/login/", 200), ("/tenants/", 302), ("/api/v1/me", 401)]
)
def test_odd_cookies_sign_nobody_in(name, path, want):
    client = Client(raise_request_exception=False)
    assert client.get(path, headers={"Cookie": COOKIES[name]}).status_code == want


@pytest.mark.parametrize("secret", ["x" * 100_000, "\u00e9", "qmt_a, Bearer qmt_b"])
def test_odd_credentials_are_unknown_ones(secret):
    client = Client(raise_request_exception=False)
    answer = client.get("/api/v1/me", headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code == 401
