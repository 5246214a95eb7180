"""A source that reports for one tenant only must not reach what is of others."""

from datetime import timedelta

import pytest

from billing.actions.ingest import ingest
from fleet.queries.traffic import window
from tenants.actions.tokens import create_source
from tenants.base.scope import fleet_scope
from tenants.models import ApiKey
from tenants.queries.access import viewer_of_secret
from tests.billing.factories import NOW, SYSTEM, batch, usage

pytestmark = pytest.mark.django_db


@pytest.fixture
def theirs(acme, globex):
    with fleet_scope():
        _, secret = create_source(SYSTEM, name="theirs", tenants=["acme"])
    return viewer_of_secret(secret)


def test_it_marks_no_key_of_another_tenant_as_used(theirs, acme, globex):
    with fleet_scope():
        key = ApiKey.objects.create(
            tenant=globex,
            application=globex.app,
            name="k",
            public_id="k1",
            digest="d" * 64,
            traffic_class="interactive",
        )
    ingest(theirs, batch(usage(acme, credential_id=key.pk)), now=NOW)
    with fleet_scope():
        key.refresh_from_db()
    assert key.last_used_at is None


def test_it_says_nothing_of_the_gates_of_a_release(theirs, acme):
    """Gates of rollouts read the traffic of a release, of all tenants."""
    ingest(theirs, batch(usage(acme, service_id=4, release_id=77, outcome="failed")), now=NOW)
    seen = window(4, 77, NOW - timedelta(minutes=5), NOW + timedelta(minutes=5))
    assert not sum(seen.outcomes.values()), seen.outcomes
