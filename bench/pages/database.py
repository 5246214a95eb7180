"""A throw-away database with a large fleet in it."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import django
import psycopg
from django.core.management import call_command

from sandbox.stores.launcher import launch, scratch_folder
from sandbox.stores.postgres import connect_as_superuser

SEED = Path(__file__).with_name("seed.sql")
LONGEST = 61  # days that the seed goes back
# Filled without their indexes, which are made afterwards: several times faster.
LARGE = (
    "usage_event",
    "usage_hour",
    "usage_hour_head",
    "traffic_slot",
    "latency_slot",
    "charge",
    "charge_day",
    "cost_day",
    "allocation",
    "engine_sample",
    "audit_event",
)
CONSTRAINTS = """
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = %s::regclass AND contype IN ('u', 'c')
"""
LEAVES = """
SELECT c.oid::regclass::text FROM pg_class c WHERE c.relkind = 'r'
AND c.oid IN (SELECT %(table)s::regclass UNION SELECT inhrelid FROM pg_inherits
    WHERE inhparent = %(table)s::regclass)
"""
# A table that was made just now has a part for each day from today on; its first takes all before.
DAYS = """
ALTER TABLE usage_event DETACH PARTITION usage_event_first;
CREATE TEMPORARY TABLE moved AS
SELECT * FROM usage_event_first WHERE event_time >= current_date - {days};
ALTER TABLE usage_event_first DISABLE TRIGGER append_only;
DELETE FROM usage_event_first WHERE event_time >= current_date - {days};
ALTER TABLE usage_event_first ENABLE TRIGGER append_only;
DO $$
DECLARE
    first_day date := current_date - {days};
BEGIN
    EXECUTE format('ALTER TABLE usage_event ATTACH PARTITION usage_event_first'
        ' FOR VALUES FROM (MINVALUE) TO (%L)', first_day::timestamptz);
    PERFORM qm_make_event_part(first_day + n) FROM generate_series(0, {days}) AS n;
END $$;
INSERT INTO usage_event SELECT * FROM moved;
DROP TABLE moved;
"""
INDEXES = """
SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) FROM pg_index i
WHERE i.indrelid = %s::regclass AND NOT i.indisprimary
    AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)
"""


@contextmanager
def database(keep: Path | None) -> Iterator[Path]:
    """Yield the folder of the server's socket. Without a folder to keep, all goes at the end."""
    with (
        kept_folder(keep) if keep else scratch_folder() as folder,
        launch(folder / "stores", throwaway=True) as running,
    ):
        os.environ |= running.urls | {
            "DJANGO_SETTINGS_MODULE": "console.settings",
            "QM_SECRET_KEY": "a-key-for-benchmarks-only-that-protects-nothing",
            "QM_DATA": str(folder / "data"),
        }
        assert running.sockets is not None
        yield running.sockets


@contextmanager
def kept_folder(folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)  # the server's account passes through
    yield folder.resolve()


def migrate() -> None:
    """As the owner of the tables; the pages are then asked for as the application."""
    django.setup()
    connection = django.db.connections["default"]
    application = connection.settings_dict["USER"]
    connection.settings_dict["USER"] = "console_owner"
    call_command("migrate", verbosity=0)
    connection.close()
    connection.close_pool()
    connection.settings_dict["USER"] = application


def fill(sockets: Path, events: int) -> float:
    """Seconds that it took."""
    began = time.perf_counter()
    with connect_as_superuser(sockets, "console") as server:
        divide(server, LONGEST)
        again = [statement for table in LARGE for statement in bare(server, table)]
        for statement in SEED.read_text().replace(":events", str(events)).split(";\n"):
            if statement.strip():
                server.execute(statement)
        for statement in again:
            server.execute(statement)
        server.execute("VACUUM ANALYZE")
    return time.perf_counter() - began


def bare(server: psycopg.Connection, table: str) -> list[str]:
    """Drop what slows filling down; return the statements that make it again."""
    again = []
    for name, definition in server.execute(CONSTRAINTS, (table,)).fetchall():
        server.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        again.append(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
    for name, definition in server.execute(INDEXES, (table,)).fetchall():
        server.execute(f"DROP INDEX {name}")
        again.append(definition.replace(" ON ONLY ", " ON "))  # and on each part
    for (name,) in server.execute(LEAVES, {"table": table}).fetchall():
        server.execute(f"ALTER TABLE {name} SET UNLOGGED")  # no second copy of it in the log
    return again


def divide(server: psycopg.Connection, days: int) -> None:
    """Usage of the last `days` as it is stored after so many days: each has a part."""
    server.execute("SET timezone = 'UTC'")
    server.execute(DAYS.format(days=days))
