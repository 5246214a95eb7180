"""A day of long ago that has a part of its own, as after months of use: only such a day may go.

The database drops no part within 3 months of its end by its own clock, so what tests call the
first part has to end before that day, and what lies between is a part too. Made by the owner.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from django.db import connection
from django.utils import timezone

from billing.drive.retention import drop_parts
from tests.plugins.database import superuser

DAY = timedelta(days=1)
AGO = 100 * DAY
FIRST, BETWEEN = "usage_event_first", "usage_event_between"
END_OF_FIRST = r"""
SELECT (regexp_match(pg_get_expr(relpartbound, oid), 'TO \(''([^'']+)''\)'))[1]
FROM pg_class WHERE oid = 'usage_event_first'::regclass
"""
MAKE = """
CREATE TABLE {0} (LIKE usage_event INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES
    INCLUDING STORAGE);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {0}
    FOR EACH STATEMENT EXECUTE FUNCTION qm_append_only();
SELECT qm_close_part('{0}'::regclass);
ALTER TABLE usage_event ATTACH PARTITION {0} FOR VALUES FROM ('{1}') TO ('{2}');
"""
FIRST_ENDS = """
ALTER TABLE usage_event DETACH PARTITION usage_event_first;
ALTER TABLE usage_event ATTACH PARTITION usage_event_first FOR VALUES FROM (MINVALUE) TO ('{}');
"""
GONE = "DROP TABLE IF EXISTS {0}"  # a test may have dropped it


def noon_long_ago():
    """In the middle of a month, so that the day before and after are in it too."""
    noon = timezone.now().astimezone(UTC) - AGO
    return noon.replace(day=min(max(noon.day, 2), 26), hour=12, minute=30, second=0, microsecond=0)


def part_of(at):
    return f"usage_event_{at.astimezone(UTC):%Y%m%d}"


@contextmanager
def old_day():
    """Noon of it. Nothing else may have `usage_event` open where this begins and ends."""
    noon = noon_long_ago()
    midnight = noon.replace(hour=0, minute=0)
    with owner() as server:
        ((ends,),) = server.execute(END_OF_FIRST).fetchall()
        server.execute(FIRST_ENDS.format(midnight.isoformat()))
        server.execute(MAKE.format(part_of(noon), midnight.isoformat(), next_day(midnight)))
        server.execute(MAKE.format(BETWEEN, next_day(midnight), ends))
    try:
        yield noon
    finally:
        with owner() as server:
            for part in (part_of(noon), BETWEEN):
                server.execute(GONE.format(part))
            server.execute(FIRST_ENDS.format(ends))


def next_day(midnight: datetime) -> str:
    return (midnight + DAY).isoformat()


def drop_beside(old):
    """How many parts workers beside each other dropped, and one after them."""

    def work(_):
        try:
            return drop_parts(old)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as workers:
        dropped = list(workers.map(work, range(4)))
    while again := drop_parts(old):
        dropped.append(again)
    return sum(dropped)


@contextmanager
def owner():
    """In a transaction, as the role that owns the tables, in UTC as migrations are."""
    with superuser() as server, server.transaction():
        server.execute("SET LOCAL timezone = 'UTC'")
        server.execute("SET LOCAL lock_timeout = '20s'")
        server.execute(
            "SELECT set_config('role', tableowner, true) FROM pg_tables"
            " WHERE tablename = 'usage_event'"
        )
        yield server
