"""Billing periods: a calendar month of the account's zone, and when it may be closed."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from billing.rules.confidence import covers
from tenants.rules.quotas import Month, month_of

# Far enough into the month to be in it whatever the zone was before, or is now.
WELL_INSIDE = timedelta(hours=36)


class PeriodState(StrEnum):
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class CheckKey(StrEnum):
    GRACE = "grace"
    ROLLED = "rolled"
    RATED = "rated"
    LEDGER = "ledger"
    EXCHANGE = "exchange"
    QUARANTINE = "quarantine"
    UNPRICED = "unpriced"
    CONFIDENCE = "confidence"


# What a person may take upon himself, with a reason. The others only need time.
SIGNABLE = frozenset({CheckKey.QUARANTINE, CheckKey.UNPRICED, CheckKey.CONFIDENCE})


@dataclass(frozen=True, slots=True)
class Signed:
    number: int  # what the person saw
    by: str
    why: str
    at: datetime
    covers: dict[str, float] = field(default_factory=dict)  # as `Check.items` was then


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the list that is worked off before a period closes."""

    key: CheckKey
    title: str
    number: int  # what stands in the way; 0: nothing
    said: str
    way_out: str = ""
    signed: Signed | None = None
    # What stands in the way one by one, where it has names, and how good each is: the figure of an
    # hour from 0 to 1, else how much there is of it, or the number of the newest, below zero.
    items: dict[str, float] = field(default_factory=dict)

    @property
    def is_signed(self) -> bool:
        """A signature covers what was there when it was given, and nothing that came later."""
        if self.signed is None:
            return False
        if self.items:
            return covers(self.signed.covers, self.items)
        return self.number <= self.signed.number

    @property
    def may_sign(self) -> bool:
        return self.key in SIGNABLE and self.number > 0 and not self.is_signed

    @property
    def is_green(self) -> bool:
        return self.number == 0 or self.is_signed


def next_period(start: datetime, time_zone: str) -> Month:
    """The period that begins at `start`, where the one before it ended, in UTC.

    Months of an account follow each other without a gap or an overlap, also when its zone changed.
    """
    month = month_of(start + WELL_INSIDE, time_zone)
    return Month(month.name, start.astimezone(UTC), month.ends_at.astimezone(UTC))


def previous_period(end: datetime, time_zone: str) -> Month:
    """The period that ends at `end`, where the one after it begins, in UTC."""
    month = month_of(end - WELL_INSIDE, time_zone)
    return Month(month.name, month.starts_at.astimezone(UTC), end.astimezone(UTC))


def first_period(hour: datetime, time_zone: str) -> Month:
    month = month_of(hour, time_zone)
    return Month(month.name, month.starts_at.astimezone(UTC), month.ends_at.astimezone(UTC))


def missing_periods(
    hour: datetime | None,
    first: datetime | None,
    last: datetime | None,
    *,
    time_zone: str,
    first_zone: str,
    now: datetime,
) -> list[Month]:
    """The periods that usage needs and that nobody opened: from the oldest hour until now.

    `first` and `last` are where the known periods begin and end; what lies before them is cut
    backwards from there by the zone of the first, whatever that is.
    """
    if hour is None:
        return []
    found: list[Month] = []
    if first is None or last is None:
        found.append(first_period(hour, time_zone))
        first, last = found[0].starts_at, found[0].ends_at
    while hour < first:
        found.insert(0, previous_period(first, first_zone))
        first = found[0].starts_at
    while last <= now:
        found.append(next_period(last, time_zone))
        last = found[-1].ends_at
    return found


def refuse_closing(state: str, *, ends_at: datetime, earlier: str, now: datetime) -> str:
    """Why the closing of a period cannot begin; empty when it can."""
    if state != PeriodState.OPEN:
        return f"The period is {state}; only an open one can begin to close"
    if now < ends_at:
        return f"The period runs until {ends_at:%Y-%m-%d %H:%M} UTC; it can close after that"
    if earlier:
        return f"The period {earlier} comes first: periods close in their order"
    return ""


def refuse_close(state: str, checks: list[Check]) -> str:
    if state != PeriodState.CLOSING:
        return f"The period is {state}; begin to close it first"
    left = [c for c in checks if not c.is_green]
    if not left:
        return ""
    return f"{len(left)} of {len(checks)} checks are not green: " + "; ".join(
        f"{c.title}: {c.said}" for c in left
    )
