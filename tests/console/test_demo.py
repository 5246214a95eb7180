"""The demo's people, tenants, keys and prices: made once, kept, mended where secrets were lost."""

import json
import stat
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.contrib.auth import authenticate
from django.core.management import call_command

from billing.queries.books import read_books
from billing.queries.budgets import tenant_budgets
from billing.queries.grants import left_of, list_grants
from console.demo import credentials
from console.demo.cast import MODELS, TENANTS
from console.demo.people import MACHINE, prepare, viewer_named
from console.demo.services import rows_by_name
from tenants.base.scope import fleet_scope
from tenants.queries.access import viewer_of_secret
from tenants.queries.directory import tenant_refs
from tenants.queries.keys import in_state, list_keys
from tenants.queries.people import list_people
from tenants.queries.tenants import get_tenant, visible_tenants
from tenants.rules.access import Permission

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 18, 15, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _cheap_passwords(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def made():
    return prepare({}, NOW)


def live_keys(tenant: str) -> set[str]:
    with fleet_scope():
        rows = in_state(list_keys(MACHINE, tenant=get_tenant(MACHINE, tenant)), "live")
        return {key.public_id for key in rows}


def test_it_makes_three_tenants_with_all_that_they_need(made):
    assert list(made["api_keys"]) == ["acme", "globex", "initech"]
    with fleet_scope():
        rows = visible_tenants(MACHINE)
        assert {row.slug: row.demo for row in rows} == dict.fromkeys(made["api_keys"], True)
        assert set(rows_by_name()) == set(MODELS)
        assert "USD" in read_books()
    applications = [app for tenant in TENANTS for app in tenant.applications]
    assert len(made["clients"]) == len(applications)


def test_it_gives_people_the_roles_of_their_names(made):
    for who in ("operator", "approver", "finance", "viewer"):
        person = made[who]
        user = authenticate(None, email=person["email"], password=person["password"])
        assert user is not None, who
    with fleet_scope():
        olga, vic = viewer_named("operator"), viewer_named("approver")
        ada = viewer_named("tenant_viewer")
    assert olga.may(Permission.PROPOSE) and not olga.may(Permission.APPROVE)
    assert vic.may(Permission.APPROVE) and not vic.may(Permission.PROPOSE)
    assert not ada.is_fleet


def test_it_gives_finance_a_token_that_reads_money_and_manages_no_tenant(made):
    viewer = viewer_of_secret(made["finance_token"])
    assert viewer is not None
    assert viewer.may(Permission.VIEW_MONEY)
    assert not viewer.may(Permission.MANAGE_TENANTS)


def test_it_changes_nothing_the_second_time(made):
    keys = {tenant: live_keys(tenant) for tenant in made["api_keys"]}
    assert prepare(json.loads(json.dumps(made)), NOW) == json.loads(json.dumps(made))
    assert {tenant: live_keys(tenant) for tenant in made["api_keys"]} == keys


def test_it_replaces_secrets_that_were_lost_and_revokes_what_nobody_knows(made):
    before = live_keys("acme")
    again = prepare({}, NOW)
    after = live_keys("acme")
    assert len(after) == len(before) and not after & before
    assert again["api_keys"]["acme"].split("_")[1] in after
    assert viewer_of_secret(made["ingest_token"]) is None
    assert viewer_of_secret(again["ingest_token"]) is not None
    old = made["operator"]
    assert authenticate(None, email=old["email"], password=old["password"]) is None


def test_it_leaves_a_password_alone_that_its_owner_has_changed(made):
    with fleet_scope():
        user = list_people(MACHINE).get(email=made["operator"]["email"])
    user.set_password("olga-chose-this-herself")
    user.save()
    prepare(made, NOW)
    email = made["operator"]["email"]
    assert authenticate(None, email=email, password="olga-chose-this-herself") is not None


def test_it_keeps_prices_that_somebody_else_published(made):
    with fleet_scope():
        first = read_books()
    prepare(made, NOW)
    with fleet_scope():
        assert read_books() == first
    prices = first["USD"][0].prices
    usual = prices["chat-small", "prompt", "", ""]
    assert prices["chat-small", "prompt", "batch", ""].unit_price * 2 == usual.unit_price
    assert usual.unit_price == Decimal("0.0000005")


def test_it_sets_budgets_of_money_and_of_tokens(made):
    with fleet_scope():
        globex = tenant_refs([get_tenant(MACHINE, "globex").pk]).popitem()[1]
        found = tenant_budgets(viewer_named("finance"), globex, now=NOW)
    assert [(b.application, b.words, b.use.limit) for b in found] == [
        ("", "", 700),
        ("reports", "tokens", 250_000_000),
    ]


def test_it_grants_credits_once_by_two_people(made):
    prepare(made, NOW)
    with fleet_scope():
        fiona, acme = viewer_named("finance"), get_tenant(MACHINE, "acme")
        found = [
            (g.name, g.state, g.paid, g.rest, g.asked_by.partition("@")[0], g.decided_by[:3])
            for g in list_grants(fiona)
        ]
        assert left_of(fiona, acme.pk) == {("USD", False): 25, ("USD", True): 500}
    assert found == [
        ("Welcome credit", "active", False, 25, "fiona", "vic"),
        ("Prepaid balance", "active", True, 500, "fiona", "vic"),
    ]


def test_the_command_writes_the_file_for_its_user_only(tmp_path, capsys):
    path = tmp_path / "demo.json"
    call_command("demo", "--prepare", "--file", str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert credentials.read(path)["finance_token"].startswith("qmt_")
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["percent"] == 100
