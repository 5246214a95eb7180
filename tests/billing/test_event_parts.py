"""Parts of usage by day: made ahead, by whoever comes first, reached only through the whole."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta
from uuid import uuid4

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from billing.actions.event_parts import AHEAD, make_parts, missing_days
from billing.actions.ingest import ingest
from billing.models import UsageEvent
from billing.queries.event_parts import event_parts
from billing.rules.events import Reason
from tenants.base.scope import fleet_scope
from tests.billing.factories import batch, usage
from tests.plugins.database import superuser

DAY = timedelta(days=1)
FIRST, DEFAULT = "usage_event_first", "usage_event_default"


def part_of(day):
    return f"usage_event_{day.astimezone(UTC):%Y%m%d}"


def placed():
    with fleet_scope(), connection.cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text, event_time FROM usage_event ORDER BY 2")
        return cursor.fetchall()


def names():
    return {part.name for part in event_parts()}


@pytest.fixture
def no_more_parts():
    """Parts that a test commits go again."""
    before = names()
    yield
    with superuser() as server:
        for name in names() - before:
            server.execute(f"DROP TABLE {name}")


@pytest.mark.django_db
def test_days_have_their_part_before_they_begin():
    now = timezone.now()
    assert len(missing_days(now)) <= 1, "migrations made the first ones"
    make_parts(now)
    later = now + 3 * DAY
    assert len(missing_days(later)) == 3
    assert make_parts(later) == 3
    assert make_parts(later) == 0
    parts = event_parts()
    assert parts[0].name == FIRST
    assert parts[0].starts_at is None
    assert all(a.ends_at == b.starts_at for a, b in zip(parts, parts[1:], strict=False))
    assert parts[-1].has(later + AHEAD)
    assert parts[-1].name == part_of(later + AHEAD)


@pytest.mark.django_db
def test_days_of_a_long_stop_get_theirs_too():
    make_parts(timezone.now())
    later = timezone.now() + 20 * DAY
    with connection.cursor() as cursor:
        cursor.execute("SELECT qm_make_event_part(%s)", [(later + 7 * DAY).date()])
    assert make_parts(later) == 19
    assert not missing_days(later)


@pytest.mark.django_db(transaction=True)
def test_workers_beside_each_other_make_each_part_once(no_more_parts):
    make_parts(timezone.now())
    later = timezone.now() + 4 * DAY

    def work(_):
        try:
            return make_parts(later)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as workers:
        made = list(workers.map(work, range(4)))
    while made_later := make_parts(later):
        made.append(made_later)
    assert sum(made) == 4
    assert not missing_days(later)


@pytest.mark.django_db
def test_an_event_is_stored_in_the_part_of_its_day(acme, gateway):
    now = timezone.now()
    times = [now - 60 * DAY, now - DAY, now, now + timedelta(minutes=4)]
    assert ingest(gateway, batch(*[usage(acme, at=at) for at in times]), now=now).accepted == 4
    assert all(part == part_of(at) or part == FIRST for part, at in placed())
    assert placed()[2][0] == part_of(now)
    assert placed()[0][0] == FIRST


@pytest.mark.django_db
def test_an_event_of_a_day_without_a_part_is_stored_and_stays_where_it_is(acme, gateway):
    later = timezone.now() + 12 * DAY
    ingest(gateway, batch(usage(acme, at=later)), now=later)
    assert placed()[0][0] == DEFAULT
    make_parts(later)
    assert missing_days(later) == [later.astimezone(UTC).date()]
    assert placed()[0][0] == DEFAULT
    ingest(gateway, batch(usage(acme, at=later + DAY)), now=later + DAY)
    assert placed()[1][0] == part_of(later + DAY)


@pytest.mark.django_db
def test_an_id_counts_once_over_all_days(acme, gateway):
    now = timezone.now()
    first = usage(acme, at=now)
    ingest(gateway, batch(first), now=now)
    moved = usage(acme, at=now - DAY) | {"request_id": first["request_id"]}
    receipt = ingest(gateway, batch(moved), now=now)
    assert [r.reason for r in receipt.quarantined] == [Reason.CONFLICT]
    assert ingest(gateway, batch(first), now=now + 30 * DAY).duplicates == 1
    with fleet_scope():
        assert UsageEvent.objects.get().event_time.date() == now.date()


@pytest.mark.django_db(transaction=True)
def test_who_reads_the_default_is_not_waited_for(no_more_parts, acme, gateway):
    make_parts(timezone.now())
    later = timezone.now() + 2 * DAY
    with superuser() as reader:
        reader.execute("BEGIN")
        reader.execute(f"SELECT count(*) FROM {DEFAULT}")
        assert make_parts(later) == 0
        ingest(gateway, batch(usage(acme, at=timezone.now())), now=timezone.now())
        reader.execute("ROLLBACK")
    assert make_parts(later) == 2


@pytest.mark.django_db
@pytest.mark.parametrize("days", [-63, 40])
def test_parts_are_made_for_days_about_now_alone(days):
    day = (timezone.now() + days * DAY).date()
    with (
        pytest.raises(DatabaseError, match="no more"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT qm_make_event_part(%s)", [day])


@pytest.mark.django_db
@pytest.mark.parametrize("which", ["first", "today", "new", "default"])
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT count(*) FROM {}",
        "INSERT INTO {} SELECT * FROM usage_event",
        "UPDATE {} SET gpu_ms = 0",
        "DELETE FROM {}",
        "TRUNCATE {}",
        "DROP TABLE {}",
        "ALTER TABLE usage_event DETACH PARTITION {}",
    ],
)
def test_nobody_but_the_owner_reaches_a_part(which, statement):
    """Row level security and the triggers are the whole's."""
    now = timezone.now()
    make_parts(now + DAY)
    part = {
        "first": FIRST,
        "today": part_of(now),
        "new": part_of(now + DAY + AHEAD),
        "default": DEFAULT,
    }[which]
    with (
        fleet_scope(),
        pytest.raises(DatabaseError, match="permission denied|must be owner"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement.format(part))


@pytest.mark.django_db
def test_each_part_has_all_that_the_whole_has():
    make_parts(timezone.now() + DAY)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT i.inhrelid::regclass::text, c.relrowsecurity,"
            " (SELECT count(*) FROM pg_index x JOIN pg_inherits a ON a.inhrelid = x.indexrelid"
            "  WHERE x.indrelid = i.inhrelid AND x.indisvalid),"
            " (SELECT array_agg(tgname::text) FROM pg_trigger WHERE tgrelid = i.inhrelid)"
            " FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
            " WHERE i.inhparent = 'usage_event'::regclass"
        )
        found = cursor.fetchall()
        cursor.execute(
            "SELECT count(*), bool_and(indisvalid) FROM pg_index"
            " WHERE indrelid = 'usage_event'::regclass"
        )
        indexes, all_valid = cursor.fetchone()
    assert all_valid
    assert {(secure, count) for _, secure, count, _ in found} == {(True, indexes)}
    assert {name for name, _, _, triggers in found if not triggers} <= {DEFAULT}


@pytest.mark.django_db
def test_ids_of_rows_go_on_over_all_parts(acme, gateway):
    now = timezone.now()
    for at in now - 50 * DAY, now, now - DAY, now:
        ingest(gateway, batch(usage(acme, at=at, request_id=str(uuid4()))), now=now)
    with fleet_scope():
        ids = list(UsageEvent.objects.order_by("id").values_list("id", flat=True))
    assert len(set(ids)) == 4
