"""How long requests are kept: whole parts of them, some months of the calendar after their end."""

import calendar
from datetime import UTC, datetime


def goes_at(ends_at: datetime, months: int) -> datetime | None:
    """From when on a part that ends then may go. None: never, as `months` is 0.

    The same day of a later month, or its last one where the month has no such day.
    """
    if not months:
        return None
    end = ends_at.astimezone(UTC)
    years, month = divmod(end.month - 1 + months, 12)
    year, month = end.year + years, month + 1
    return end.replace(
        year=year, month=month, day=min(end.day, calendar.monthrange(year, month)[1])
    )


def rule_of(months: int) -> str:
    """As it is kept with what was dropped."""
    return f"requests are kept for {months} months (QM_USAGE_MONTHS)"
