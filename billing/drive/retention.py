"""The pass over parts of requests that are old enough: a file of each where one is wanted, then
its end, the oldest first."""

from collections.abc import Iterator
from datetime import datetime

from billing.actions.event_retention import drop_part
from billing.clients.store import Folder
from billing.drive.archive import keep_file
from billing.queries.archive import archive_folder
from billing.queries.event_parts import EventPart
from billing.queries.retention import due_parts, what_keeps
from tenants.base.scope import fleet_scope


def drop_parts(now: datetime) -> int:
    """Drop those that may go; answers how many went."""
    folder = archive_folder()
    ready = write_files(folder, now) if folder else _free(now)
    return sum(drop_part(part, now) for part in ready)


def write_files(folder: Folder, now: datetime) -> Iterator[EventPart]:
    """Those that may go, each once it has its file. Nothing is dropped."""
    for part in _free(now):
        try:
            if keep_file(folder, part):
                yield part
        except OSError:
            return  # the next bell goes on


def _free(now: datetime) -> list[EventPart]:
    """What nothing keeps but a missing file."""
    due = due_parts(now)
    with fleet_scope():
        why = what_keeps(due, now)
    return [part for part in due if not why[part.name]]
