"""UTC days and their hours: what is summed by the day is not read by the hour."""

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime

HOURS_OF_DAY = 24


def whole_days(hours: Sequence[datetime]) -> tuple[list[date], list[datetime]]:
    """UTC days of which every hour is there, and the hours of all others."""
    found = Counter(hour.date() for hour in hours)
    days = [day for day, count in found.items() if count == HOURS_OF_DAY]
    return days, [hour for hour in hours if found[hour.date()] < HOURS_OF_DAY]
