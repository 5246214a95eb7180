"""Parts of the table of usage events, as the database's catalog has them."""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection

# What a bound says is read back by the session that had it written.
PARTS = r"""
SELECT relname,
    (regexp_match(bound, 'FROM \(''([^'']+)''\)'))[1]::timestamptz AS starts_at,
    (regexp_match(bound, 'TO \(''([^'']+)''\)'))[1]::timestamptz AS ends_at
FROM (
    SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) AS bound
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'usage_event'::regclass
) AS part WHERE bound <> 'DEFAULT' ORDER BY ends_at
"""


@dataclass(frozen=True, slots=True)
class EventPart:
    """Events of [starts_at, ends_at); the first part has no start."""

    name: str
    starts_at: datetime | None
    ends_at: datetime

    def has(self, at: datetime) -> bool:
        return (self.starts_at is None or self.starts_at <= at) and at < self.ends_at


def event_parts() -> list[EventPart]:
    """All but the default, in the order of time."""
    with connection.cursor() as cursor:
        cursor.execute(PARTS)
        return [EventPart(*row) for row in cursor.fetchall()]
