"""Ids of deliveries are forgotten once their events are too late, and nothing is billed twice."""

from datetime import timedelta

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from billing.actions import seen_retention
from billing.actions.ingest import ingest
from billing.actions.quarantine import ask
from billing.actions.seen_retention import KEPT, forget_seen
from billing.models import UsageEvent, UsageQuarantine, UsageSeen
from billing.rules.events import FUTURE, MAX_LATE
from billing.rules.quarantine import Kind
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import Conflict
from tests.billing.factories import batch, usage
from tests.plugins.database import superuser

DAY = timedelta(days=1)


def seen_ago(span):
    """Past the trigger: all that is known now was seen so long ago."""
    with superuser() as server, server.transaction():
        server.execute("SET LOCAL session_replication_role = replica")
        server.execute("UPDATE usage_seen SET seen_at = seen_at - %s", [span])


@pytest.fixture
def events(acme, gateway):
    now = timezone.now()
    sent = [usage(acme, at=now) for _ in range(3)]
    ingest(gateway, batch(*sent), now=now)
    return sent


def test_an_id_outlives_every_delivery_of_its_event():
    assert KEPT > MAX_LATE + FUTURE + 7 * DAY


@pytest.mark.django_db(transaction=True)
def test_it_forgets_what_is_too_late_and_keeps_the_rest(acme, gateway, events, monkeypatch):
    now = timezone.now()
    seen_ago(KEPT + DAY)
    ingest(gateway, batch(usage(acme, at=now)), now=now)
    monkeypatch.setattr(seen_retention, "PAGES", 1)
    assert forget_seen(now) == 3
    assert forget_seen(now) == 0
    assert UsageSeen.objects.count() == 1
    with fleet_scope():
        assert UsageEvent.objects.count() == 4


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("span", [62 * DAY, timedelta(0)])
def test_no_clock_of_a_worker_makes_it_forget_sooner(events, span):
    seen_ago(span)
    assert forget_seen(timezone.now() + 400 * DAY) == 0
    with (
        fleet_scope(),
        pytest.raises(DatabaseError, match="could be delivered again"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("DELETE FROM usage_seen")


@pytest.mark.django_db(transaction=True)
def test_a_forgotten_event_that_comes_again_is_never_stored_again(acme, gateway, events, fin):
    seen_ago(KEPT + DAY)
    later = timezone.now() + KEPT + DAY
    assert forget_seen(later) == 3
    receipt = ingest(gateway, batch(*events), now=later)
    assert (receipt.accepted, len(receipt.quarantined)) == (0, 3)
    with fleet_scope():
        row = UsageQuarantine.objects.first()
    with scope_of(fin), pytest.raises(Conflict, match="billed twice"):
        ask(fin, [row.pk], kind=Kind.TAKE, why="It came again", now=later)
    with fleet_scope():
        assert UsageEvent.objects.count() == 3
