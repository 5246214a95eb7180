"""The cast: two tenants, their people, and the people of the fleet, each signed in."""

from dataclasses import dataclass

import pytest
from django.test import Client

from tenants.actions import changes, keys, people, quotas, tenants, tokens
from tenants.base.scope import fleet_scope, scope_of
from tenants.models import Application, AuditEvent, RoleBinding, Tenant, User
from tenants.queries.access import viewer_of_user
from tenants.rules.access import Viewer
from tenants.rules.keys import Wish
from tenants.rules.quotas import Limits

PASSWORD = "a-long-password-of-the-cast"
WISH = Wish("ci", ("inference",), None, "batch", None)


@dataclass
class Person:
    user: User
    viewer: Viewer
    client: Client

    def scope(self):
        return scope_of(self.viewer)


def make_tenant(slug, **fields):
    with fleet_scope():
        return Tenant.objects.create(slug=slug, name=slug.title(), **fields)


def make_person(name, role, tenant=None):
    user = User.objects.create_user(f"{name}@example.com", PASSWORD, name=name)
    with fleet_scope():
        RoleBinding.objects.create(user=user, role=role, tenant=tenant)
    client = Client()
    client.force_login(user)
    return Person(user, viewer_of_user(user), client)


@pytest.fixture(autouse=True)
def _cheap_passwords(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def acme(db):
    return make_tenant("acme")


@pytest.fixture
def globex(db):
    return make_tenant("globex")


@pytest.fixture
def chat(acme):
    with fleet_scope():
        return Application.objects.create(tenant=acme, slug="chat", name="Chat")


@pytest.fixture
def search(globex):
    with fleet_scope():
        return Application.objects.create(tenant=globex, slug="search", name="Search")


@pytest.fixture
def olga(db):
    """Operator of the fleet."""
    return make_person("olga", "operator")


@pytest.fixture
def vic(db):
    """Approver of the fleet, who otherwise only looks."""
    return make_person("vic", "approver")


@pytest.fixture
def fiona(db):
    """Finance, of the fleet."""
    return make_person("fiona", "finance")


@pytest.fixture
def adam(acme):
    """Acme's own admin."""
    return make_person("adam", "operator", acme)


@pytest.fixture
def mallory(globex):
    """Globex's own admin: a stranger to acme and to the fleet."""
    return make_person("mallory", "operator", globex)


@pytest.fixture
def world(olga, chat, search):
    """One of each, and their names in addresses."""
    with olga.scope():
        tenants.grant_model(olga.viewer, "acme", "tiny-chat")
        key, _ = keys.create_key(olga.viewer, "acme", "chat", wish=WISH)
        quota = quotas.set_quota(olga.viewer, quotas.Target("acme"), limits=Limits(concurrency=3))
        person, _ = people.invite_person(olga.viewer, email="pat@example.com", role="viewer")
        tokens.create_source(olga.viewer, name="gateway-1")
        change = changes.propose(
            olga.viewer, kind="rollout", target_id=1, title="Roll out", payload={"a": 1}
        )
        event = AuditEvent.objects.filter(tenant_id=chat.tenant_id).first()
    return {
        "key": key.public_id,
        "series": quota.series,
        "person": person.pk,
        "change": change.pk,
        "event": event.pk,
    }
