"""A database that runs becomes one of parts by day: nothing is lost, and nobody waits for long."""

import os
import threading
import time
from contextlib import contextmanager
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
BEFORE, FULL = "0108_ids_are_forgotten", "0109_a_part_that_is_full"
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
ONE = "CREATE TEMP TABLE one AS SELECT * FROM usage_event LIMIT 1"
COPIED = """
INSERT INTO usage_event (request_id, event_time, {others})
SELECT gen_random_uuid(), clock_timestamp(), {others} FROM one
"""
OTHERS = """
SELECT string_agg(column_name, ', ') FROM information_schema.columns
WHERE table_name = 'usage_event' AND column_name NOT IN ('id', 'request_id', 'event_time')
"""


@pytest.fixture
def days(acme, globex, gateway):
    """Requests of the last days."""
    now = timezone.now()
    for n in range(4):
        for tenant in acme, globex:
            at = now - n * DAY
            ingest(gateway, batch(usage(tenant, at=at), usage(tenant, at=at)), now=now)


@contextmanager
def stored_as_before():
    """A copy of what is stored, in the tables of before; the settings of a process on it."""
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
def test_it_goes_on_with_all_that_it_had(acme, globex, gateway, fin, vic, days):
    make_books(acme, globex, gateway, fin, vic)
    now = timezone.now()
    while roll_up(now):
        pass
    while rate_due(now).hours:
        pass
    with stored_as_before() as running, underneath() as server:
        assert all_of(server, KIND) == [("r",)]
        before = all_of(server)
        granted = all_of(server, GRANTED, "usage_event")
        assert before[0][0] > 20

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


class Writer(threading.Thread):
    """Stores one event after another, each in a transaction, and knows its longest wait."""

    def __init__(self, url):
        super().__init__()
        self.url, self.over = url, threading.Event()
        self.stored, self.longest, self.failure = 0, 0.0, None

    def run(self):
        try:
            with psycopg.connect(self.url, autocommit=True) as client:
                client.execute("SELECT set_config('app.fleet', 'on', false)")
                client.execute(ONE)
                statement = COPIED.format(others=client.execute(OTHERS).fetchone()[0])
                while not self.over.wait(0.005):
                    began = time.perf_counter()
                    client.execute(statement)
                    self.stored += 1
                    self.longest = max(self.longest, time.perf_counter() - began)
        except psycopg.Error as error:
            self.failure = error


@pytest.mark.django_db(transaction=True)
def test_writers_go_on_meanwhile(days):
    with stored_as_before() as running, underneath() as server:
        before = all_of(server)[0][0]
        writers = [Writer(running["DATABASE_URL"]) for _ in range(2)]
        for writer in writers:
            writer.start()
        try:
            manage(running, "migrate", "-v0")
        finally:
            for writer in writers:
                writer.over.set()
                writer.join()
        assert [writer.failure for writer in writers] == [None, None]
        assert all(writer.longest < LONGEST for writer in writers)
        new = sum(writer.stored for writer in writers)
        assert new > 100
        found = all_of(server, "SELECT count(*), count(DISTINCT id) FROM usage_event")
        assert found == [(before + new,) * 2]


@pytest.mark.django_db(transaction=True)
def test_who_reads_for_long_is_waited_for_and_holds_nobody_up(days):
    with stored_as_before() as running, underneath() as server, underneath() as reader:
        manage(running, "migrate", "-v0", "billing", FULL)
        before = all_of(server)
        reader.execute("BEGIN")
        all_of(reader)
        writer = Writer(running["DATABASE_URL"])
        writer.start()
        ends = threading.Timer(8.0, reader.execute, ["ROLLBACK"])
        ends.start()
        try:
            manage(running, "migrate", "-v0")
        finally:
            writer.over.set()
            writer.join()
            ends.join()
        assert writer.failure is None
        assert writer.longest < LONGEST
        assert all_of(server)[0][0] == before[0][0] + writer.stored


@pytest.mark.django_db(transaction=True)
def test_an_event_of_a_day_far_ahead_moves_where_days_begin(days):
    """It may have been taken from quarantine, so it must not stop the change."""
    ahead = datetime.now(UTC) + 40 * DAY
    with stored_as_before() as running, underneath() as server:
        server.execute("SET session_replication_role = replica")
        server.execute(
            "UPDATE usage_event SET event_time = %s WHERE id = (SELECT max(id) FROM usage_event)",
            [ahead],
        )
        before = all_of(server)
        manage(running, "migrate", "-v0")
        assert all_of(server) == before
        assert [name for name, _ in all_of(server, PARTS)] == ["usage_event_first"]
