"""When a daily export is due, and which hours it covers."""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from tenants.rules.quotas import Month, month_of


def next_run(after: datetime, *, at: time, time_zone: str) -> datetime:
    """The first instant later than `after` at which the zone's clocks show `at`.

    A time that a clock change skips is taken an hour later, one that comes twice the first time.
    """
    zone = ZoneInfo(time_zone)
    day = after.astimezone(zone).date()
    while True:
        due = datetime.combine(day, at, zone).astimezone(ZoneInfo("UTC"))
        if due > after:
            return due
        day += timedelta(days=1)


def month_to_yesterday(due: datetime, *, time_zone: str) -> Month:
    """The month of the day before `due`, up to the midnight that ended that day.

    On the first of a month this is the whole month before, closed.
    """
    zone = ZoneInfo(time_zone)
    midnight = datetime.combine(due.astimezone(zone).date(), time(), zone)
    month = month_of(midnight - timedelta(hours=1), time_zone)
    return Month(month.name, month.starts_at, midnight)
