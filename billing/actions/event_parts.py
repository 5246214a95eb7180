"""Parts of usage events are there before their days begin; workers beside each other make one each.

1. Each day from the door's oldest to a week ahead has a part, the first part or one of its own.
   After a long stop, days in between get theirs too, unless the default has events of them: these
   are found and summed as all others, and move once their day is over (`move_days`), so that
   writers of the day that runs do not wait for it.
2. A part is made in a transaction of its own by a function of the owner, as no worker owns a table.
   Its locks stop nobody who reads or writes other parts, and it waits a second at most for those
   who read the default: what could not be made is made at the next bell.

When parts go: `event_retention`.
"""

from datetime import UTC, date, datetime, timedelta

import structlog
from django.db import OperationalError, connection, transaction

from billing.queries.event_parts import event_parts
from billing.queries.retention import default_days
from billing.rules.events import MAX_LATE

AHEAD = timedelta(days=7)
DAY = timedelta(days=1)
log = structlog.get_logger(__name__)


def make_parts(now: datetime) -> int:
    """Make those that are missing; answers how many."""
    wanted = missing_days(now)
    made = 0
    for day in wanted:
        try:
            made += _make(day)
        except OperationalError as error:
            log.warning("part of usage not made, the next bell tries again", day=day, error=error)
            break
    if made:
        _weigh()
    return made


def move_days(now: datetime) -> int:
    """Move days that are over from the default into parts of theirs; answers how many requests."""
    today = now.astimezone(UTC).date().isoformat()
    moved = 0
    for found in default_days():
        if found.day >= today:
            continue
        try:
            moved += _move(found.day)
        except OperationalError as error:
            log.warning("day not moved, the next bell tries again", day=found.day, error=error)
    if moved:
        _weigh()
    return moved


def missing_days(now: datetime) -> list[date]:
    """UTC days of which no part is there."""
    parts = event_parts()
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first, last = today - MAX_LATE, today + AHEAD
    days = [first + n * DAY for n in range((last - first).days + 1)]
    return [day.date() for day in days if not any(part.has(day) for part in parts)]


@transaction.atomic
def _make(day: date) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT qm_make_event_part(%s)", [day])
        answer: str = cursor.fetchone()[0]
    return answer == "made"


@transaction.atomic
def _move(day: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT qm_move_default_day(%s)", [day])
        moved: int = cursor.fetchone()[0]
    return moved


def _weigh() -> None:
    """The planner's sums of all parts together; those of each part are PostgreSQL's own work."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT qm_analyze_events()")
    except OperationalError as error:
        log.warning("usage not analyzed, done with the next part", error=error)
