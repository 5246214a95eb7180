"""Requests go by whole days once nothing needs them; what was there stays known, and adds up."""

import hashlib
import json
from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from billing.actions.ingest import ingest
from billing.actions.quarantine import ask
from billing.drive.checks import check_all
from billing.drive.reconciliations import reconcile_due
from billing.drive.retention import drop_parts
from billing.models import (
    BillingPeriod,
    DroppedDay,
    DroppedEstimate,
    DroppedPart,
    ExportJob,
    HourMark,
    RatingMark,
    UsageDay,
    UsageEvent,
    UsageHour,
    UsageQuarantine,
)
from billing.queries.confidence import compare_hours
from billing.queries.event_parts import event_parts
from billing.queries.requests import get_request
from billing.queries.retention import list_parts, what_keeps, what_was_dropped
from billing.rules.quarantine import Kind
from billing.rules.retention import goes_at
from tenants.base.scope import fleet_scope, scope_of, tenant_scope
from tenants.errors import Conflict, NotFound
from tenants.models import AuditEvent
from tests.billing.books import close_month, spend
from tests.billing.factories import SYSTEM, batch, make_tenant, usage
from tests.billing.old_days import part_of
from tests.billing.test_pruning import named_at

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
# By the server's clock both were: what came less than 62 days ago is compared by its ids.
JUST_DELIVERED = {"ids delivered = events stored", "ids delivered = events stored, by digest"}
pytestmark = pytest.mark.django_db


@pytest.fixture
def at(old_noon):
    return old_noon


@pytest.fixture(autouse=True)
def three_months(settings):
    settings.QM_USAGE_MONTHS = 3


@pytest.fixture
def later(at):
    """When the day may go, and what came with it is no longer compared by its id."""
    return at + 200 * DAY


def closed(tenant, at):
    return close_month(tenant, f"{at:%Y-%m}", now=at + 60 * DAY)


def checked(now):
    reconcile_due(now)


def why(viewer, at, now):
    with scope_of(viewer):
        return {p.name: p for p in list_parts(viewer, now)}[part_of(at)].why


@pytest.fixture
def used(acme, gateway, priced, at):
    """Two requests of a day whose month is closed."""
    spend(gateway, acme, at=at, request_id=named_at(at))
    small = {"prompt_tokens": 1, "cached_tokens": 0, "completion_tokens": 1}
    spend(gateway, acme, at=at + MINUTE, usage_quality="estimated", **small)
    closed(acme, at)


def test_a_day_that_nothing_needs_goes_and_is_known(used, acme, fiona, at, later):
    with fleet_scope():
        rows = list(UsageEvent.objects.order_by("event_time", "id"))
    checked(later)
    assert why(fiona, at, later) == ()
    assert drop_parts(later) >= 1
    assert part_of(at) not in {p.name for p in event_parts()}
    with fleet_scope():
        assert not UsageEvent.objects.exists()
        part = DroppedPart.objects.get(part=part_of(at))
        day = DroppedDay.objects.get(day=at.date())
        assert (part.requests, part.prompt_tokens, part.completion_tokens) == (2, 101, 31)
        assert (day.tenant_id, day.requests, day.cached_tokens) == (
            acme.pk,
            2,
            sum(r.cached_tokens for r in rows),
        )
        assert day.sha256 == digest(rows)
        assert part.sha256 == hashlib.sha256(bytes.fromhex(day.sha256)).hexdigest()
        assert AuditEvent.objects.filter(verb="usage_part.drop", target_id=part.pk).exists()
        assert DroppedEstimate.objects.get().tokens == 2
        wrong = {c.sentence for c in check_all(at - 90 * DAY, later) if not c.holds}
        assert wrong == JUST_DELIVERED
    assert drop_parts(later) == 0


def digest(rows):
    """As the documentation says it is made."""
    found = hashlib.sha256()
    for r in rows:
        ended = round(r.event_time.timestamp() * 1_000_000)
        decides = [
            str(r.request_id), r.source_id, r.tenant_id, r.application_id, r.model,
            r.service_id, r.release, r.traffic_class, r.outcome, r.reason, r.usage_quality,
            r.prompt_tokens, r.cached_tokens, r.completion_tokens, r.gpu_ms, r.gpus,
            r.gpu_product, r.hosted, ended,
        ]  # fmt: skip
        found.update(hashlib.sha256(json.dumps(decides, ensure_ascii=False).encode()).digest())
    return found.hexdigest()


def test_hours_of_dropped_days_are_compared_with_what_is_kept(used, acme, at, later):
    checked(later)
    assert drop_parts(later) >= 1
    with fleet_scope():
        UsageHour.objects.filter(hour__date=at.date()).update(prompt_tokens=1)
        wrong = {c.sentence for c in check_all(at - 90 * DAY, later) if not c.holds}
    assert "prompt tokens: dropped = hours (of all time)" in wrong
    assert "requests: dropped = hours (of all time)" not in wrong


def test_a_dropped_hour_is_no_better_than_it_was(used, fiona, at, later):
    def figures():
        with scope_of(fiona):
            return compare_hours(fiona, at - DAY, at + DAY)

    before = figures()
    assert {h.measured for h in before} != {1.0}
    checked(later)
    drop_parts(later)
    assert figures() == before


def test_nothing_goes_before_its_time_or_without_the_setting(used, at, later, settings):
    checked(later)
    assert drop_parts(at + 80 * DAY) == 0
    settings.QM_USAGE_MONTHS = 0
    assert drop_parts(later) == 0


def spoil(kind, acme, gateway, now, at):
    if kind == "open":
        BillingPeriod.objects.create(
            tenant_id=make_tenant("hooli").pk,
            name="other",
            time_zone="UTC",
            starts_at=at,
            ends_at=at + DAY,
        )
    elif kind == "no period":
        UsageDay.objects.create(
            day=at.date(), tenant_id=make_tenant("hooli").pk, events=1, prompt_tokens=0,
            completion_tokens=0,
        )  # fmt: skip
    elif kind == "mark":
        HourMark.objects.create(hour=at.replace(minute=0), tenant_id=acme.pk)
    elif kind == "rating":
        RatingMark.objects.create(hour=at.replace(minute=0))
    elif kind == "quarantine":
        UsageQuarantine.objects.create(
            source_id=gateway.source_id, event_id="x", reason="conflict", detail="",
            tenant_id=acme.pk, payload="{}", payload_sha=b"1", ended_at=at,
        )  # fmt: skip
    elif kind == "export":
        ExportJob.objects.create(
            format="focus-1.4", starts_at=at, ends_at=at + DAY, requested_by="", look_again=now
        )


KEEPS = {
    "open": "1 billing periods that are not closed: other of hooli",
    "no period": "usage of 1 days of tenants that no billing period covers: {day} of hooli",
    "mark": "1 hours that wait to be rolled up",
    "rating": "1 hours that wait to be rated",
    "quarantine": "1 events of its time in quarantine: conflict of acme",
    "export": "1 exports of its time that are not done: export {export}",
}


@pytest.mark.parametrize("kind", KEEPS)
def test_it_says_what_keeps_a_day(used, acme, gateway, fiona, at, later, kind):
    checked(later)
    with fleet_scope():
        spoil(kind, acme, gateway, later, at)
        export = ExportJob.objects.order_by("-id").values_list("pk", flat=True).first()
    assert why(fiona, at, later) == (KEEPS[kind].format(day=at.date(), export=export),)
    drop_parts(later)
    with fleet_scope():
        assert UsageEvent.objects.count() == 2
        assert not DroppedPart.objects.filter(part=part_of(at)).exists()


def test_books_that_differ_or_were_not_checked_keep_every_day(used, fiona, at, later):
    assert why(fiona, at, later) == ("the books were not checked in the last two days",)
    with fleet_scope():
        UsageDay.objects.update(events=99)
    checked(later)
    (said,) = why(fiona, at, later)
    assert "sums of the books do not agree" in said
    assert drop_parts(later) == 0


def test_what_came_of_late_keeps_its_day(used, at):
    """Its ids are compared with its requests for 62 days."""
    now = timezone.now()
    (part,) = [p for p in event_parts() if p.name == part_of(at)]
    with fleet_scope():
        assert "2 requests that came less than 70" in what_keeps([part], now)[part.name][-1]
        assert "requests that" not in str(what_keeps([part], now + 71 * DAY))


@pytest.mark.parametrize("damage", ["open", "mark", "hours"])
def test_the_database_itself_refuses(used, acme, gateway, at, damage):
    with fleet_scope():
        if damage == "hours":
            UsageHour.objects.update(completion_tokens=0)
        else:
            spoil(damage, acme, gateway, at, at)
    words = {"open": "not closed", "mark": "rolled up", "hours": "not what its hours say"}
    with (
        fleet_scope(),
        pytest.raises(DatabaseError, match=words[damage]),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT qm_keep_event_part(%s, 'a rule')", [part_of(at)])


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("SELECT qm_drop_event_part('{part}')", "not kept what was in"),
        ("SELECT qm_keep_event_part('usage_event_default', '')", "no part of usage"),
        ("SELECT qm_keep_event_part('charge', '')", "no part of usage"),
        ("INSERT INTO usage_part_dropped (part) VALUES ('x')", "permission denied"),
        ("INSERT INTO usage_day_dropped (part) VALUES ('x')", "permission denied"),
    ],
)
def test_nobody_drops_or_pretends(used, at, statement, words):
    with (
        fleet_scope(),
        pytest.raises(DatabaseError, match=words),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement.format(part=part_of(at)))


@pytest.fixture
def dropped(used, later):
    checked(later)
    assert drop_parts(later) >= 1


def test_who_looks_for_a_dropped_request_is_told(dropped, acme, globex, fiona, mallory, at):
    name = named_at(at)
    with fleet_scope():
        day, part = DroppedDay.objects.get(), DroppedPart.objects.get(part=part_of(at))
    with scope_of(fiona):
        (gone,) = what_was_dropped(fiona, at, at + DAY, acme.pk)
        assert (gone.requests, gone.sha256, gone.of) == (2, day.sha256, str(at.date()))
        with pytest.raises(NotFound, match=part.sha256):
            get_request(fiona, name)
    with scope_of(mallory), pytest.raises(NotFound) as refused:
        get_request(mallory, name)
    assert "dropped" not in str(refused.value)


def test_a_tenant_sees_its_own_days_alone(dropped, acme, globex):
    for tenant, count in (acme, 1), (globex, 0):
        with tenant_scope(tenant.pk):
            assert DroppedDay.objects.count() == DroppedEstimate.objects.count() == count


def test_nothing_is_added_to_a_dropped_day(dropped, acme, gateway, at):
    receipt = None
    with pytest.raises(DatabaseError, match="were dropped, none is added"), transaction.atomic():
        receipt = ingest(gateway, batch(usage(acme, at=at)), now=at)
    assert receipt is None


def test_what_waits_in_quarantine_is_not_taken_into_a_dropped_day(
    dropped, acme, gateway, at, later
):
    ingest(gateway, batch(usage(acme, at=at)), now=later)
    with fleet_scope():
        (row,) = UsageQuarantine.objects.all()
        with pytest.raises(Conflict, match="of its day were dropped"):
            ask(SYSTEM, [row.pk], kind=Kind.TAKE, why="it is true", now=later)


def test_months_are_those_of_the_calendar():
    end = datetime(2026, 11, 30, tzinfo=UTC)
    assert goes_at(end, 0) is None
    assert goes_at(end, 3) == datetime(2027, 2, 28, tzinfo=UTC)
    assert goes_at(end, 13) == datetime(2027, 12, 30, tzinfo=UTC)
    assert goes_at(datetime(2027, 12, 1, tzinfo=UTC), 1).date() == date(2028, 1, 1)
