"""How long ids of delivered events stay: until the door refuses the event itself for being late.

An event ends at most `FUTURE` after it is seen, so `KEPT` later it is older than `MAX_LATE` and
goes to quarantine whether its id is known or not. Who takes it from there is told that it is stored
already: events stay, and are found by their id.

Rows are deleted page by page of the table, so that no index on the time has to be kept while events
come in; each step is a transaction of its own, and none waits for a writer.
"""

from datetime import datetime, timedelta

from django.db import connection

from billing.rules.events import MAX_LATE
from tenants.base.scope import fleet_scope

KEPT = MAX_LATE + timedelta(days=8)  # a week of a worker that is down, and a day of clocks
PAGES = 2_000  # of 8 KiB: about 150,000 ids
SIZE = "SELECT pg_relation_size('usage_seen') / current_setting('block_size')::int"
FORGET = """
DELETE FROM usage_seen WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM usage_seen
    WHERE ctid >= format('(%%s,0)', %s::bigint)::tid AND ctid < format('(%%s,0)', %s::bigint)::tid
        AND seen_at < least(%s, now() - interval '63 days')
    FOR UPDATE SKIP LOCKED
))
"""


def forget_seen(now: datetime) -> int:
    """Look at the whole table once; answers how many ids were forgotten."""
    with fleet_scope(), connection.cursor() as cursor:
        cursor.execute(SIZE)
        pages: int = cursor.fetchone()[0]
    return sum(_forget(page, now - KEPT) for page in range(0, pages, PAGES))


def _forget(page: int, before: datetime) -> int:
    with fleet_scope(), connection.cursor() as cursor:
        cursor.execute(FORGET, [page, page + PAGES, before])
        forgotten: int = cursor.rowcount
        return forgotten
