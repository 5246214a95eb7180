"""A change says which version of which object it read: any other is stale."""

import pytest

from billing.actions.schedules import create_schedule
from billing.models import ExportSchedule
from tenants.base.scope import fleet_scope
from tests.billing.factories import NOW, SYSTEM

pytestmark = pytest.mark.django_db


@pytest.fixture
def schedule(db):
    with fleet_scope():
        return create_schedule(
            SYSTEM, name="Daily", format="csv", local_time=NOW.time(), time_zone="UTC", now=NOW
        )


@pytest.mark.parametrize("etag", ['"{pk}-0"', '"0"', '"{pk}-2"', '"9{pk}-1"'])
def test_a_version_that_was_never_read_changes_nothing(finance, schedule, etag):
    given = {"If-Match": etag.format(pk=schedule.pk)}
    answer = finance("patch", f"export-schedules/{schedule.pk}", {"name": "Lost"}, **given)
    assert answer.status_code in (412, 422), answer.content
    with fleet_scope():
        assert ExportSchedule.objects.get().name == "Daily"


def test_the_version_that_was_read_changes_it(finance, schedule):
    given = {"If-Match": schedule.etag}
    answer = finance("patch", f"export-schedules/{schedule.pk}", {"name": "Nightly"}, **given)
    assert answer.status_code == 200, answer.content
