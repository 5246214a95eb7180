"""Sessions, tokens and people at the REST API: what each opens, and when it ends."""

import pytest
from django.test import Client

from tenants.actions import keys, tokens
from tenants.models import User
from tests.tenants.conftest import WISH, make_person
from tests.tenants.rest import bearer, call

pytestmark = pytest.mark.django_db


def test_it_narrows_a_token_to_its_scopes(world, olga):
    body = {"name": "report", "permissions": ["view"], "days": 30}
    made = call(olga.client, "POST", "tokens", body).json()
    client = bearer(made["secret"])
    assert call(client, "GET", "tenants").status_code == 200
    assert call(client, "POST", "tenants", {"slug": "x", "name": "X"}).status_code == 403
    assert call(client, "POST", "tokens", body).status_code == 403
    assert call(olga.client, "POST", f"tokens/{made['id']}/revoke", {}).status_code == 200
    assert call(client, "GET", "tenants").status_code == 401


@pytest.mark.parametrize(
    "change",
    [
        {"days": 366},
        {"days": 0},
        {"permissions": []},
        {"permissions": ["approve"]},
        {"permissions": ["root"]},
    ],
)
def test_it_refuses_a_token_that_is_too_wide_or_too_long(world, olga, change):
    body = {"name": "n", "permissions": ["view"], "days": 30, **change}
    assert call(olga.client, "POST", "tokens", body).status_code == 422


def test_it_hides_anothers_token(world, olga, mallory):
    body = {"name": "n", "permissions": ["view"], "days": 1}
    made = call(olga.client, "POST", "tokens", body).json()
    assert call(mallory.client, "POST", f"tokens/{made['id']}/revoke", {}).status_code == 404


def test_it_takes_no_other_kind_of_credential(world, olga):
    """A tenant's API key and a gateway's credential open other doors."""
    with olga.scope():
        _, api_key = keys.create_key(olga.viewer, "acme", "chat", wish=WISH)
        _, source = tokens.create_source(olga.viewer, name="gateway-9")
    assert call(bearer(api_key), "GET", "tenants").status_code == 401
    assert call(bearer(source), "GET", "tenants").status_code in {403, 404}
    assert call(bearer("qmt_nonsense"), "GET", "tenants").status_code == 401


def test_it_ends_everything_of_a_deactivated_person(world, olga, vic):
    make_person("paul", "approver")
    body = {"name": "n", "permissions": ["view"], "days": 1}
    made = call(vic.client, "POST", "tokens", body).json()
    address = f"people/{vic.user.pk}"
    assert call(olga.client, "POST", f"{address}/deactivate", {}).status_code == 200
    assert call(vic.client, "GET", "me").status_code == 401
    assert call(bearer(made["secret"]), "GET", "me").status_code == 401
    assert call(olga.client, "POST", f"{address}/reactivate", {}).status_code == 200
    assert call(bearer(made["secret"]), "GET", "me").status_code == 401


@pytest.mark.parametrize("act", ["give-role", "take-role", "deactivate", "reset-password"])
def test_it_lets_nobody_change_his_own_account(olga, act):
    body = {"role": "approver"} if "role" in act else {}
    answer = call(olga.client, "POST", f"people/{olga.user.pk}/{act}", body)
    assert answer.status_code == 403


def test_it_invites_with_a_password_that_signs_in(world, olga):
    made = call(olga.client, "POST", "people", {"email": "N@Example.com", "role": "viewer"}).json()
    assert made["email"] == "n@example.com"
    assert User.objects.get(email="n@example.com").check_password(made["password"])


def test_it_wants_the_csrf_token_of_a_browser(world, olga):
    client = Client(enforce_csrf_checks=True)
    client.force_login(olga.user)
    assert call(client, "POST", "tenants", {"slug": "x", "name": "X"}).status_code == 403


def test_a_token_that_is_bound_to_networks_opens_nothing_from_elsewhere(world, olga):
    body = {"name": "erp", "permissions": ["view"], "days": 30}
    networks = [" 203.0.113.7", "2001:db8::/48", "203.0.113.7/32"]
    made = call(olga.client, "POST", "tokens", body | {"networks": networks}).json()
    assert made["networks"] == ["2001:db8::/48", "203.0.113.7/32"]
    for address, want in (
        ("203.0.113.7", 200),
        ("::ffff:203.0.113.7", 200),
        ("2001:db8::9", 200),
        ("203.0.113.8", 401),
        ("2001:db9::9", 401),
        ("", 401),
    ):
        client = Client(REMOTE_ADDR=address, headers={"Authorization": f"Bearer {made['secret']}"})
        assert call(client, "GET", "me").status_code == want, address


@pytest.mark.parametrize(
    "networks", [["203.0.113.0/33"], ["203.0.113.1/24"], ["erp.example"], ["10.0.0.0/8"] * 21]
)
def test_it_refuses_networks_that_are_none(world, olga, networks):
    body = {"name": "n", "permissions": ["view"], "days": 1, "networks": networks}
    refused = call(olga.client, "POST", "tokens", body)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"].startswith("/networks")
