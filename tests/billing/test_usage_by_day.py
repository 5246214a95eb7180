"""A database that runs becomes one of parts by day: nothing is lost, and nobody waits for long."""

import os
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from django.db import connection
from django.utils import timezone

from billing.actions.ingest import ingest
from billing.actions.rating import rate_due
from billing.actions.rollup import roll_up
from sandbox.stores.postgres import connect_as_superuser
from tests.billing.damaged import make_books
from tests.billing.factories import batch, usage
from tests.billing.test_old_books import manage
from tests.plugins.stores import SOCKETS

RUNNING = "usage_of_before"
BEFORE = "0108_ids_are_forgotten"
DAY = timedelta(days=1)
LONGEST = 3.0  # seconds that a writer waits for the change, on a machine with other work
SUMS = """
SELECT count(*), min(id), max(id), min(event_time), max(event_time), sum(prompt_tokens),
    sum(cached_tokens), sum(completion_tokens), sum(gpu_ms),
    md5(string_agg(usage_event::text, '|' ORDER BY id))
FROM usage_event
"""
KIND = "SELECT relkind FROM pg_class WHERE oid = 'usage_event'::regclass"
PARTS = """
SELECT tableoid::regclass::text, count(*) FROM usage_event GROUP BY 1 ORDER BY 1
"""
GRANTED = """
SELECT array_agg(privilege_type ORDER BY privilege_type)
FROM (SELECT (aclexplode(relacl)).* FROM pg_class WHERE oid = %s::regclass) AS given
WHERE grantee = 'console_app'::regrole
"""
COPIED = """
INSERT INTO usage_event (request_id, event_time, {others})
SELECT gen_random_uuid(), clock_timestamp(), {others} FROM usage_hour_of_before
"""
OTHERS = """
SELECT string_agg(column_name, ', ') FROM information_schema.columns
WHERE table_name = 'usage_event' AND column_name NOT IN ('id', 'request_id', 'event_time')
"""


@pytest.fixture
def books(acme, globex, gateway, fin, vic):
    """Closed books of October, open ones of November, and requests of the last days."""
    make_books(acme, globex, gateway, fin, vic)
    now = timezone.now()
    for days in range(4):
        for tenant in acme, globex:
            at = now - days * DAY
            ingest(gateway, batch(usage(tenant, at=at), usage(tenant, at=at)), now=now)
    while roll_up(now):
        pass
    while rate_due(now).hours:
        pass


@pytest.fixture
def running(books):
    """A copy of these books as they were stored before, and the settings of a process on it."""
    sockets, name = Path(os.environ[SOCKETS]), connection.settings_dict["NAME"]
    connection.close()
    connection.close_pool()
    with connect_as_superuser(sockets, "postgres") as server:
        server.execute(f"CREATE DATABASE {RUNNING} TEMPLATE {name} OWNER console_owner")
        where = f"{RUNNING}?host={quote(str(sockets), safe='')}"
        env = os.environ | {
            "DATABASE_URL": f"postgresql://console_app@/{where}",
            "DATABASE_OWNER_URL": f"postgresql://console_owner@/{where}",
        }
        try:
            manage(env, "migrate", "-v0", "billing", BEFORE)
            yield env
        finally:
            server.execute(f"DROP DATABASE {RUNNING} WITH (FORCE)")


def underneath():
    return connect_as_superuser(Path(os.environ[SOCKETS]), RUNNING)


def all_of(server, query=SUMS, *values):
    return server.execute(query, values).fetchall()


@pytest.mark.django_db(transaction=True)
def test_it_goes_on_with_all_that_it_had(running):
    with underneath() as server:
        assert all_of(server, KIND) == [("r",)]
        before = all_of(server)
        granted = all_of(server, GRANTED, "usage_event")
        assert before[0][0] > 20
        assert "All sums agree" in manage(running, "billing", "check", "--days", "3650")

        manage(running, "migrate", "-v0")

        assert all_of(server, KIND) == [("p",)]
        assert all_of(server) == before
        assert all_of(server, GRANTED, "usage_event") == granted
        assert all_of(server, GRANTED, "usage_event_first") == [(None,)]
        assert [name for name, _ in all_of(server, PARTS)] == ["usage_event_first"]
        assert "All sums agree" in manage(running, "billing", "check", "--days", "3650")

        manage(running, "migrate", "-v0", "billing", BEFORE)

        assert all_of(server, KIND) == [("r",)]
        assert all_of(server) == before
        assert all_of(server, GRANTED, "usage_event") == granted


@pytest.mark.django_db(transaction=True)
def test_writers_and_readers_go_on_meanwhile(running):
    """A reader that is in nobody's way for long is waited for, and nobody behind it for long."""
    over = threading.Event()
    stored, longest, failed = [0], [0.0], []

    def write():
        with psycopg.connect(running["DATABASE_URL"], autocommit=True) as client:
            client.execute("SELECT set_config('app.fleet', 'on', false)")
            others = client.execute(OTHERS).fetchone()[0]
            row = "usage_hour_of_before"
            client.execute(f"CREATE TEMP TABLE {row} AS SELECT * FROM usage_event LIMIT 1")
            while not over.is_set():
                began = time.perf_counter()
                try:
                    client.execute(COPIED.format(others=others))
                except psycopg.Error as error:
                    failed.append(error)
                    return
                stored[0] += 1
                longest[0] = max(longest[0], time.perf_counter() - began)
                time.sleep(0.005)

    with underneath() as server:
        before = all_of(server)[0][0]
        writers = [threading.Thread(target=write) for _ in range(2)]
        for writer in writers:
            writer.start()
        try:
            manage(running, "migrate", "-v0")
        finally:
            time.sleep(0.2)
            over.set()
            for writer in writers:
                writer.join()
        assert not failed
        assert stored[0] > 100
        assert longest[0] < LONGEST
        assert all_of(server)[0][0] == before + stored[0]
        found = all_of(server, "SELECT count(*), count(DISTINCT id) FROM usage_event")
        assert found == [(before + stored[0],) * 2]


@pytest.mark.django_db(transaction=True)
def test_an_event_of_a_day_far_ahead_moves_where_days_begin(running):
    """It may have been taken from quarantine, so it must not stop the change."""
    ahead = datetime.now(UTC) + 40 * DAY
    with underneath() as server:
        server.execute("SET session_replication_role = replica")
        server.execute(
            "UPDATE usage_event SET event_time = %s WHERE id = (SELECT max(id) FROM usage_event)",
            [ahead],
        )
        before = all_of(server)
        manage(running, "migrate", "-v0")
        assert all_of(server) == before
        assert [name for name, _ in all_of(server, PARTS)] == ["usage_event_first"]
