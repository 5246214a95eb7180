"""When keys were last used: told by the usage that gateways deliver."""

from datetime import UTC, datetime, timedelta

import pytest

from tenants.actions.keys import create_key, mark_used
from tenants.base.scope import fleet_scope
from tenants.models import ApiKey
from tenants.rules.keys import Wish

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def key(olga, chat):
    with olga.scope():
        wish = Wish("ci", ("inference",), None, "batch", None)
        return create_key(olga.viewer, "acme", "chat", wish=wish)[0]


def marked(key, *moments):
    with fleet_scope():
        for moment in moments:
            whose = key.tenant_id
            mark_used({(key.pk, whose): moment, (999_999, whose): moment})
        return ApiKey.objects.get(pk=key.pk).last_used_at


def test_it_keeps_the_latest_use(key):
    assert marked(key, NOON, NOON + timedelta(hours=1)) == NOON + timedelta(hours=1)


def test_it_never_goes_back(key):
    assert marked(key, NOON, NOON - timedelta(days=1)) == NOON


def test_it_does_not_write_for_a_few_seconds(key):
    assert marked(key, NOON, NOON + timedelta(seconds=30)) == NOON


def test_a_key_of_another_tenant_stays_as_it_is(key):
    with fleet_scope():
        mark_used({(key.pk, key.tenant_id + 1): NOON})
        assert ApiKey.objects.get(pk=key.pk).last_used_at is None


def test_it_takes_no_use_at_all(key):
    with fleet_scope():
        mark_used({})
