"""Who asks for usage of a time opens the parts of that time and no others: by the plans."""

import re
from contextlib import contextmanager
from datetime import UTC, timedelta
from uuid import UUID, uuid4

import pytest
import uuid_utils
from django.db import connection
from django.utils import timezone

from billing.actions.cost_methods import calibrate_due
from billing.actions.event_parts import make_parts
from billing.actions.ingest import ingest
from billing.actions.rollup import CROWDED, roll_up
from billing.models import UsageHour
from billing.queries.requests import UsageFilter, get_request, request_page
from billing.rules.request_ids import LONGEST, likely_span
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import NotFound
from tests.billing.factories import batch, usage

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
PART = re.compile(r"usage_event_(?:first|default|\d{8})")


@contextmanager
def opened():
    """The parts in the plan of each statement about usage, in their order."""
    found = []

    def look(execute, sql, params, many, context):
        if "usage_event" in sql and not sql.startswith(("COPY", "CREATE")):
            execute(f"EXPLAIN {sql}", params, many, context)
            found.append(set(PART.findall(str(context["cursor"].fetchall()))))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(look):
        yield found


@pytest.fixture
def today():
    """Half past noon: hours about it lie in one day."""
    now = timezone.now()
    make_parts(now)
    return now.astimezone(UTC).replace(hour=12, minute=30)


def part_of(at):
    return f"usage_event_{at:%Y%m%d}"


def sent(gateway, tenant, at, **changes):
    data = usage(tenant, at=at, **changes)
    assert ingest(gateway, batch(data), now=at).accepted == 1
    return data["request_id"]


def named_at(at):
    return str(uuid_utils.uuid7(timestamp=int(at.timestamp())))


def test_the_drill_to_a_request_opens_the_day_that_its_id_names(acme, gateway, fiona, today):
    at = today + DAY
    request_id = sent(gateway, acme, at, request_id=named_at(at))
    sent(gateway, acme, at + DAY, request_id=named_at(at + DAY))
    with scope_of(fiona), opened() as plans:
        assert get_request(fiona, request_id).row.at == at
    assert plans[0] <= {part_of(at), part_of(at + LONGEST)}
    assert part_of(at) in plans[0]
    assert len(plans) == 1


@pytest.mark.parametrize("days", [-50, 0, 3, 30])
@pytest.mark.parametrize("kind", ["another time", "no time"])
def test_it_finds_a_request_wherever_it_is(acme, gateway, fiona, today, days, kind):
    name = named_at(today - 5 * DAY) if kind == "another time" else str(uuid4())
    sent(gateway, acme, today + days * DAY, request_id=name)
    with scope_of(fiona):
        assert get_request(fiona, name).row.at == today + days * DAY
        with pytest.raises(NotFound):
            get_request(fiona, str(uuid4()))


@pytest.mark.parametrize(
    "largest", ["ffffffff-ffff-7fff-bfff-ffffffffffff", "b85f27ab-f7b3-4967-b5a7-2cdd83fcf799"]
)
def test_an_id_without_a_time_of_a_request_says_none(largest):
    assert likely_span(UUID(largest)) is None


def test_the_list_of_requests_opens_the_days_it_shows(acme, gateway, fiona, today):
    sent(gateway, acme, today)
    wanted = UsageFilter(today - timedelta(hours=2), today + timedelta(hours=2))
    with scope_of(fiona), opened() as plans:
        assert len(request_page(fiona, wanted).rows) == 1
    assert plans == [{part_of(today)}]


@pytest.mark.parametrize("events", [1, CROWDED])
def test_the_roll_up_opens_the_days_of_its_hours(acme, gateway, today, events):
    for day in range(3):
        sent(gateway, acme, today + day * DAY)
    while roll_up(today):
        pass
    at = today + DAY
    for _ in range(events):
        sent(gateway, acme, at)
    with opened() as plans:
        assert roll_up(at) == 1
    assert plans == [{part_of(at)}]
    with fleet_scope():
        hour = at.replace(minute=0, second=0, microsecond=0)
        assert UsageHour.objects.get(hour=hour).requests == events + 1


def test_weights_of_tokens_open_the_last_day(acme, gateway, today):
    sent(gateway, acme, today)
    with opened() as plans:
        calibrate_due(today)
    assert len(plans) == 1
    assert plans[0] <= {"usage_event_first", part_of(today), part_of(today - DAY)}
