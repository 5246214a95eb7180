"""The test database, in which row level security really binds.

Tables are made by the role that owns them; tests then connect as the role of web and workers,
which owns nothing: a missing policy or grant fails here as it would in production.
"""

import os
from collections.abc import Generator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from django.db import connection
from django.test import TransactionTestCase
from django.test.utils import setup_databases
from psycopg import sql

from sandbox.stores.postgres import connect_as_superuser
from tests.plugins.stores import SOCKETS

MIGRATED = "migrated"  # the database that workers copy
LOCK = 7_201
TABLES = """
    SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
    AND relkind IN ('r', 'p') AND NOT relispartition AND relname <> 'django_migrations'
    ORDER BY relname
"""


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment, django_db_modify_db_settings, django_db_blocker
) -> Generator[None]:
    """Migrate as the owner, then be the application. The servers' end is the database's end."""
    with django_db_blocker.unblock():
        application = connection.settings_dict["USER"]
        become(urlsplit(os.environ["DATABASE_OWNER_URL"]).username)
        migrate_or_copy()
        become(application)
        sown = Seeds()
    # Django would truncate as the application, which may not, and past triggers, which forbid it.
    original = TransactionTestCase._fixture_teardown
    TransactionTestCase._fixture_teardown = lambda _self: sown.restore()
    yield
    TransactionTestCase._fixture_teardown = original
    with django_db_blocker.unblock():
        connection.close()
        connection.close_pool()


def migrate_or_copy() -> None:
    """Migrate once for all workers of a run, one after the other; the others copy the result.

    The copy is taken by the servers, in a fraction of the seconds that the migrations take.
    """
    sockets = Path(os.environ[SOCKETS])
    with connect_as_superuser(sockets, "postgres") as server:
        server.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        copied = server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [MIGRATED])
        if is_there := copied.fetchone() is not None:
            copy(server, MIGRATED, connection.creation._get_test_db_name())
        setup_databases(verbosity=0, interactive=False, serialized_aliases=[], keepdb=is_there)
        connection.close()
        connection.close_pool()
        if not is_there:
            copy(server, connection.settings_dict["NAME"], MIGRATED)


def copy(server: psycopg.Connection, source: str, target: str) -> None:
    parts = [sql.Identifier(name) for name in (target, source, connection.settings_dict["USER"])]
    server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(*parts))


def become(role: str | None) -> None:
    connection.close()
    connection.close_pool()
    connection.settings_dict["USER"] = role


def superuser() -> psycopg.Connection:
    """Connect past row level security and triggers: for cleaning and for looking underneath."""
    return connect_as_superuser(Path(os.environ[SOCKETS]), connection.settings_dict["NAME"])


def end_connections() -> int:
    """As an administrator, or the end of a server that comes back, does to everybody."""
    with superuser() as server:
        ended = server.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return ended.fetchone()[0]


class Seeds:
    """The rows that migrations made, to which every transactional test returns."""

    def __init__(self) -> None:
        with superuser() as server:
            self.tables = [sql.Identifier(name) for (name,) in server.execute(TABLES)]
            copies = [(table, self._read(server, table)) for table in self.tables]
        self.rows = [(table, copy) for table, copy in copies if copy]

    def restore(self) -> None:
        with superuser() as server, server.transaction():
            server.execute("SET LOCAL session_replication_role = replica")  # no triggers
            server.execute("SET LOCAL lock_timeout = '20s'")  # a test left a transaction open
            everything = sql.SQL(", ").join(self.tables)
            server.execute(sql.SQL("LOCK {} IN SHARE ROW EXCLUSIVE MODE").format(everything))
            # To truncate makes new files for every partition and index: several times as long.
            each = [sql.SQL("DELETE FROM {}").format(table) for table in self.tables]
            server.execute(sql.SQL("; ").join(each))
            for table, rows in self.rows:
                copy = sql.SQL("COPY {} FROM STDIN").format(table)
                with server.cursor().copy(copy) as into:
                    into.write(rows)

    @staticmethod
    def _read(server: psycopg.Connection, table: sql.Identifier) -> bytes:
        query = sql.SQL("COPY (SELECT * FROM {}) TO STDOUT").format(table)
        with server.cursor().copy(query) as copy:
            return b"".join(bytes(part) for part in copy)
