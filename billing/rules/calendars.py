"""The months of one account: those in its books first, then what its zone makes of other times.

A period that was opened stays as it is when the zone changes. Whoever counts by months must count
by these, or the hours around a month's end would be of two months, or of none.
"""

from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from operator import attrgetter

from billing.rules.periods import next_period, previous_period
from tenants.rules.quotas import Month, month_of

month_in = lru_cache(maxsize=4096)(month_of)


@dataclass(frozen=True, slots=True)
class Calendar:
    time_zone: str = "UTC"  # cuts the months that nobody opened yet
    known: tuple[Month, ...] = ()  # billing periods in their order; they leave no gap
    first_zone: str = "UTC"  # that cut the first of them, and what lies before it
    cut_shares: frozenset[datetime] = frozenset()  # beginnings of months that cut parts of fees

    def month_at(self, hour: datetime) -> Month:
        if not self.known:
            return month_in(hour, self.time_zone)
        if hour < self.known[0].starts_at:
            return self._before(hour)
        place = bisect_right(self.known, hour, key=attrgetter("starts_at"))
        month = self.known[place - 1]
        while month.ends_at <= hour:
            month = next_period(month.ends_at, self.time_zone)
        return month

    def _before(self, hour: datetime) -> Month:
        """As it will be when somebody opens it."""
        month = self.known[0]
        while hour < month.starts_at:
            month = previous_period(month.starts_at, self.first_zone)
        return month
