"""The pass over parts of requests that are old enough: a file of each where one is wanted, then
its end, the oldest first."""

from datetime import datetime

from billing.actions.event_retention import drop_part
from billing.drive.archive import keep_file
from billing.queries.archive import archive_folder
from billing.queries.retention import due_parts, what_keeps
from tenants.base.scope import fleet_scope


def drop_parts(now: datetime) -> int:
    """Drop those that may go; answers how many went."""
    due = due_parts(now)
    with fleet_scope():
        why = what_keeps(due, now)
    folder = archive_folder()
    dropped = 0
    for part in due:
        if why[part.name]:
            continue
        try:
            if folder and not keep_file(folder, part):
                continue
        except OSError:
            break  # the next bell goes on
        dropped += drop_part(part, now)
    return dropped
