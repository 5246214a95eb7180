"""Requests of a part as columns, in the order of their end and number: for its file."""

from collections.abc import Generator

from django.db import connection

from billing.queries.event_parts import EventPart
from billing.rules.archive import COLUMNS, READ_AS
from billing.rules.batches import Columns, read_columns

BYTES = 16_000_000  # of text that is in memory at a time
CELLS = {
    "time": "(extract(epoch FROM {0}) * 1000000)::bigint",
    "flag": "{0}::text",
    "list": "array_to_json({0})::text",
}
TYPES = {name: READ_AS[kind] for name, kind in COLUMNS}


def read_part(part: EventPart) -> Generator[Columns]:
    """In the fleet's scope. One statement, so one snapshot."""
    with connection.cursor() as cursor, cursor.copy(_statement(part)) as copy:
        waiting: list[bytes] = []
        size = 0
        for rows in copy:  # whole ones
            waiting.append(bytes(rows))
            size += len(rows)
            if size >= BYTES:
                yield _columns(waiting)
                waiting, size = [], 0
        if waiting:
            yield _columns(waiting)


def _statement(part: EventPart) -> str:
    cells = ", ".join(CELLS.get(kind, "{0}").format(name) for name, kind in COLUMNS)
    starts = part.starts_at.isoformat() if part.starts_at else "-infinity"
    return (
        f"COPY (SELECT {cells} FROM usage_event WHERE event_time >= '{starts}'"
        f" AND event_time < '{part.ends_at.isoformat()}' ORDER BY event_time, id)"
        " TO STDOUT (FORMAT csv)"
    )


def _columns(rows: list[bytes]) -> Columns:
    table = read_columns(b"".join(rows), TYPES)
    return {name: table[name].chunk(0) for name in table.column_names}
