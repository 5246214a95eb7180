"""Events that were put aside: a person takes them after all, or drops them, and says why."""

from datetime import timedelta

import pytest

from billing.actions.ingest import ingest
from billing.actions.quarantine import drop, take
from billing.models import HourMark, UsageEvent, UsageQuarantine
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import Conflict, Forbidden, Invalid, NotFound
from tenants.models import Application, AuditEvent
from tests.billing.factories import NOW, batch, usage

pytestmark = pytest.mark.django_db


def put_aside(gateway, data):
    (bad,) = ingest(gateway, batch(data), now=NOW).quarantined
    with fleet_scope():
        return UsageQuarantine.objects.get(event_id=bad.event_id)


def test_it_takes_an_event_that_was_too_late(acme, gateway, fiona):
    row = put_aside(gateway, usage(acme, at=NOW - timedelta(days=70)))
    with scope_of(fiona):
        take(fiona, row.pk, why="The site was cut off for ten weeks")
    with fleet_scope():
        assert UsageEvent.objects.get().event_time == NOW - timedelta(days=70)
        assert HourMark.objects.count() == 1
        assert not UsageQuarantine.objects.exists()
        assert AuditEvent.objects.get().why == "The site was cut off for ten weeks"


def test_it_takes_an_event_once_its_application_is_known(acme, gateway, fiona):
    row = put_aside(gateway, usage(acme, application_id=777_777))
    with scope_of(fiona), pytest.raises(Conflict, match="no application"):
        take(fiona, row.pk, why="try")
    with fleet_scope():
        Application.objects.create(pk=777_777, tenant=acme, slug="new", name="New")
    with scope_of(fiona):
        take(fiona, row.pk, why="The application was restored")
    with fleet_scope():
        assert UsageEvent.objects.count() == 1


def test_it_never_takes_a_second_content_of_one_id(acme, gateway, fiona):
    first = usage(acme)
    ingest(gateway, batch(first), now=NOW)
    row = put_aside(gateway, first | {"completion_tokens": 9})
    with scope_of(fiona), pytest.raises(Conflict):
        take(fiona, row.pk, why="try")
    with fleet_scope():
        assert UsageEvent.objects.get().completion_tokens == 30


def test_it_drops_an_event_for_good(acme, gateway, fiona):
    row = put_aside(gateway, usage(acme, tenant_id=999_999))
    with scope_of(fiona):
        drop(fiona, row.pk, why="A test installation reported to us")
        with pytest.raises(NotFound):
            drop(fiona, row.pk, why="again")
    with fleet_scope():
        assert "999999" in AuditEvent.objects.get().before["payload"].replace(" ", "")


def test_it_asks_who_and_why(acme, gateway, fiona, olga):
    row = put_aside(gateway, usage(acme, tenant_id=999_999))
    with scope_of(fiona), pytest.raises(Invalid):
        drop(fiona, row.pk, why=" ")
    with scope_of(olga), pytest.raises(Forbidden):
        drop(olga, row.pk, why="because")
