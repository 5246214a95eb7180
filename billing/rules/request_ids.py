"""What the id of a request says of its time."""

from datetime import datetime, timedelta
from uuid import UUID

from billing.rules.events import LATEST, moment

CLOCKS = timedelta(minutes=5)  # between who gave the id and who saw the end
LONGEST = timedelta(hours=12)  # a request
TIMED = 7  # the version of UUID that begins with a time


def likely_span(request_id: UUID) -> tuple[datetime, datetime] | None:
    """[start, end) in which it ended, if its gateway gave the id at its start, as ours do.

    None for ids that say no time.
    """
    micros = (request_id.int >> 80) * 1_000
    if request_id.version != TIMED or micros > LATEST:
        return None
    began = moment(micros)
    return began - CLOCKS, began + LONGEST
