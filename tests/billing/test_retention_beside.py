"""Parts go, and days leave the default, beside readers, writers and workers that die."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta

import pytest
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from billing.actions.event_parts import make_parts, move_days
from billing.actions.ingest import ingest
from billing.drive.reconciliations import reconcile_due
from billing.drive.retention import drop_parts
from billing.models import DroppedPart, UsageEvent
from billing.queries.event_parts import event_parts
from tenants.base.scope import fleet_scope
from tests.billing.books import close_month, spend
from tests.billing.factories import batch, usage
from tests.billing.old_days import drop_beside, old_day, part_of
from tests.plugins.database import superuser

DAY = timedelta(days=1)
DEFAULT = "usage_event_default"
pytestmark = pytest.mark.django_db(transaction=True)


def names():
    return {part.name for part in event_parts()}


def stored():
    with fleet_scope():
        return UsageEvent.objects.count()


@pytest.fixture
def no_more_parts():
    """Parts that a test commits go again, and those of before are there."""
    make_parts(timezone.now())
    before = names()
    yield
    with superuser() as server:
        for name in names() - before:
            server.execute(f"DROP TABLE {name}")
    assert names() == before


@pytest.fixture
def at(no_more_parts):
    """Noon of a day whose part the test itself makes."""
    with old_day() as noon:
        yield noon


@pytest.fixture
def old(at, acme, gateway, priced, settings):
    """That day has two requests and may go, as the only one."""
    settings.QM_USAGE_MONTHS = 3
    for _ in range(2):
        spend(gateway, acme, at=at)
    close_month(acme, f"{at:%Y-%m}", now=at + 60 * DAY)
    later = at + 200 * DAY
    reconcile_due(later)
    return later


def only(at, monkeypatch):
    """Other parts are of other tests."""
    of = "billing.queries.retention.event_parts"
    monkeypatch.setattr(of, lambda: [p for p in event_parts() if p.name == part_of(at)])


def test_a_long_reader_is_waited_for_a_moment_and_writers_go_on(
    old, at, acme, gateway, monkeypatch
):
    only(at, monkeypatch)
    with superuser() as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM usage_event")
        began = timezone.now()
        assert drop_parts(old) == 0
        assert timezone.now() - began < timedelta(seconds=10)
        ingest(gateway, batch(usage(acme, at=timezone.now())), now=timezone.now())
        assert stored() == 3
        with fleet_scope():
            assert not DroppedPart.objects.exists()
        reader.execute("ROLLBACK")
    assert drop_parts(old) == 1
    assert stored() == 1


STEPS = (
    "SELECT qm_hold_event_part(%s)",
    "SELECT qm_keep_event_part(%s, 'a rule')",
    "SELECT qm_drop_event_part(%s)",
)


def die_after(at, done, server):
    with transaction.atomic(), fleet_scope(), connection.cursor() as cursor:
        for step in STEPS[:done]:
            cursor.execute(step, [part_of(at)])
        cursor.execute("SELECT pg_backend_pid()")
        server.execute("SELECT pg_terminate_backend(%s, 5000)", [cursor.fetchone()[0]])
        cursor.execute("SELECT 1")


@pytest.mark.parametrize("done", [1, 2, 3])
def test_a_worker_that_dies_leaves_the_part_or_its_record(old, at, done, monkeypatch):
    only(at, monkeypatch)
    with superuser() as server:
        with pytest.raises(OperationalError):
            die_after(at, done, server)
        connection.close()
        assert part_of(at) in names()
        assert server.execute("SELECT count(*) FROM usage_part_dropped").fetchone() == (0,)
    assert stored() == 2
    assert drop_parts(old) == 1
    assert stored() == 0
    with fleet_scope():
        assert DroppedPart.objects.get().requests == 2


def test_workers_beside_each_other_drop_each_part_once(old, at, monkeypatch):
    only(at, monkeypatch)

    assert drop_beside(old) == 1
    with fleet_scope():
        assert DroppedPart.objects.count() == 1


def test_days_leave_the_default_beside_writers_and_readers(no_more_parts, acme, gateway):
    day = timezone.now().astimezone(UTC).replace(hour=12, minute=0) + 12 * DAY
    later = day + DAY
    for _ in range(3):
        ingest(gateway, batch(*(usage(acme, at=day) for _ in range(200))), now=day)
    make_parts(later)
    assert part_of(day) not in names()
    over, least, sent = threading.Event(), [600], [600]

    def write():
        try:
            while not over.is_set():
                body = batch(*(usage(acme, at=day) for _ in range(20)), usage(acme, at=later))
                sent[0] += ingest(gateway, body, now=later).accepted
        finally:
            connection.close()

    def read():
        try:
            while not over.is_set():
                found = stored()
                assert found >= least[0], "a request was out of sight"
                least[0] = found
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as others:
        beside = [others.submit(write), others.submit(read)]
        moved = 0
        while not moved:
            moved = move_days(later)
        over.set()
        for one in beside:
            one.result()
    assert moved >= 600
    assert part_of(day) in names()
    assert stored() == sent[0] == distinct()
    with superuser() as server:
        assert server.execute(f"SELECT count(*) FROM {DEFAULT}").fetchone() == (0,)
    assert move_days(later) == 0


def distinct():
    with fleet_scope():
        return UsageEvent.objects.values("request_id").distinct().count()


def test_the_day_that_runs_stays_in_the_default_until_it_is_over(no_more_parts, acme, gateway):
    day = timezone.now().astimezone(UTC).replace(hour=12, minute=0) + 12 * DAY
    ingest(gateway, batch(usage(acme, at=day)), now=day)
    make_parts(day)
    assert move_days(day) == 0
    assert move_days(day + DAY) == 1
    assert part_of(day) in names()
    assert make_parts(day + DAY) == 1, "the day that became the last of the week"
