"""When a scheduled export is due, and which hours it covers."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from tenants.rules.quotas import Month, month_of

UTC = ZoneInfo("UTC")
WEEKDAYS = "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"
LAST_DAY = 28  # of a month: each month has it


class Rhythm(StrEnum):
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


@dataclass(frozen=True, slots=True)
class Plan:
    """Each day, on a weekday (`day` 1, Monday, to 7), or on a day of the month (1 to 28)."""

    at: time
    time_zone: str
    rhythm: str = Rhythm.DAILY.value
    day: int = 1

    def __str__(self) -> str:
        when = {
            Rhythm.DAILY: "every day",
            Rhythm.WEEKLY: f"every {WEEKDAYS[(self.day - 1) % 7]}",
            Rhythm.MONTHLY: f"on day {self.day} of each month",
        }[Rhythm(self.rhythm)]
        return f"{when}, {self.at:%H:%M} {self.time_zone}"

    def is_on(self, here: datetime) -> bool:
        if self.rhythm == Rhythm.WEEKLY:
            return here.isoweekday() == self.day
        return self.rhythm == Rhythm.DAILY or here.day == self.day


def fault_of_day(rhythm: str, day: int) -> str:
    """Empty when the rhythm has such a day."""
    last = {Rhythm.DAILY: 1, Rhythm.WEEKLY: 7, Rhythm.MONTHLY: LAST_DAY}[Rhythm(rhythm)]
    return "" if 1 <= day <= last else f"The day of a {rhythm} schedule is between 1 and {last}"


def next_run(after: datetime, plan: Plan) -> datetime:
    """The first instant later than `after` at which the zone's clocks show the plan's time.

    A time that a clock change skips is taken an hour later, one that comes twice the first time.
    """
    zone = ZoneInfo(plan.time_zone)
    day = after.astimezone(zone).date()
    while True:
        here = datetime.combine(day, plan.at, zone)
        due = here.astimezone(UTC)
        if due > after and plan.is_on(here):
            return due
        day += timedelta(days=1)


def owed(next_at: datetime, plan: Plan, now: datetime) -> list[datetime]:
    """What is due from `next_at` until now, without what a later one of these contains.

    Daily files of one month contain each other, so of each month the last one is owed: of a month
    that ended the file of its end is always among them. Weeks and months contain nothing else.
    """
    last: dict[datetime, datetime] = {}
    due = next_at
    while due <= now:
        starts_at, _ = covered(due, plan)
        last[starts_at] = due
        due = next_run(due, plan)
    return sorted(last.values())


def covered(due: datetime, plan: Plan) -> tuple[datetime, datetime]:
    """From, until: whole days of the zone, up to the midnight before `due` at most.

    Daily: the month to the day before. Weekly: the seven days before. Monthly: the month before.
    """
    if plan.rhythm == Rhythm.DAILY:
        month = month_to_yesterday(due, time_zone=plan.time_zone)
        return month.starts_at, month.ends_at
    midnight = midnight_before(due, plan.time_zone)
    if plan.rhythm == Rhythm.WEEKLY:
        return midnight - timedelta(days=7), midnight  # of the clock, whatever it did meanwhile
    first = midnight.replace(day=1)
    return month_of(first - timedelta(hours=1), plan.time_zone).starts_at, first


def month_to_yesterday(due: datetime, *, time_zone: str) -> Month:
    """The month of the day before `due`, up to the midnight that ended that day.

    On the first of a month this is the whole month before, closed.
    """
    midnight = midnight_before(due, time_zone)
    month = month_of(midnight - timedelta(hours=1), time_zone)
    return Month(month.name, month.starts_at, midnight)


def midnight_before(due: datetime, time_zone: str) -> datetime:
    zone = ZoneInfo(time_zone)
    return datetime.combine(due.astimezone(zone).date(), time(), zone)
