"""A source that reports for one tenant only must not reach what is of others."""

from datetime import timedelta

import pytest

from billing.actions.calendars import keep_periods
from billing.actions.ingest import ingest
from billing.models import EngineHour, LimitedHour
from billing.queries.confidence import compare_hours
from billing.queries.periods import period_checks
from fleet.queries.traffic import window
from tenants.actions.tokens import create_source
from tenants.base.scope import fleet_scope
from tenants.models import ApiKey
from tenants.queries.access import viewer_of_secret
from tests.billing.books import GRACE, NOVEMBER, OCTOBER, engines_agree, find_period, spend
from tests.billing.factories import NOW, SYSTEM, batch, make_prices, settle, usage

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


def confidence_of(tenant):
    """How many hours hold its period."""
    with fleet_scope():
        checks = period_checks(SYSTEM, find_period(tenant), now=NOVEMBER, grace=GRACE)
    return next(c for c in checks if c.key == "confidence").number


@pytest.fixture
def told(theirs, acme, globex, gateway):
    """Both used a service in one hour; acme's own source says 900,000 tokens and 30 more."""
    make_prices()
    spend(gateway, globex, service_id=4)
    engines_agree()
    event = usage(acme, at=OCTOBER, service_id=4, prompt_tokens=900_000)
    for _ in range(2):
        ingest(theirs, batch(event), now=OCTOBER)
    settle(OCTOBER)
    keep_periods(NOVEMBER)


def test_it_holds_its_own_period_and_none_of_another_tenant(told, acme, globex):
    assert (confidence_of(acme), confidence_of(globex)) == (1, 0)
    with fleet_scope():
        assert LimitedHour.objects.get().tokens == 900_030
        (of_all,) = compare_hours(SYSTEM, OCTOBER, OCTOBER + timedelta(hours=1))
    assert of_all.state == "off", "the fleet's own people see it"


def test_what_engines_counted_of_it_is_no_loss(told, acme, globex):
    engines_agree()
    assert (confidence_of(acme), confidence_of(globex)) == (0, 0)


def test_a_loss_that_it_does_not_explain_still_holds(told, globex):
    EngineHour.objects.update(prompt_tokens=2_000_000)
    assert confidence_of(globex) == 1
