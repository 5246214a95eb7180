"""The time range of a page, read from its address: `?from=now-6h&to=now`. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from billing.rules.years import SAID, is_known
from tenants.errors import Invalid

UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
CHOICES = {
    "now-15m": "Last 15 minutes",
    "now-1h": "Last 1 hour",
    "now-6h": "Last 6 hours",
    "now-24h": "Last 24 hours",
    "now-7d": "Last 7 days",
    "now-30d": "Last 30 days",
}
LONGEST = timedelta(days=400)


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Half open: `start` belongs to it, `end` does not. Both aware, UTC."""

    start: datetime
    end: datetime
    label: str
    text: str  # "13:32–14:32 UTC"
    query: str  # what to put behind `?` for the same range

    @property
    def length(self) -> timedelta:
        return self.end - self.start

    def bucket(self, at_most: int = 240) -> timedelta:
        """The shortest usual step that gives `at_most` points or fewer."""
        for seconds in (10, 30, 60, 300, 900, 3600, 6 * 3600, 86400):
            if self.length / timedelta(seconds=seconds) <= at_most:
                return timedelta(seconds=seconds)
        return timedelta(days=7)


def read_range(query: Mapping[str, str], now: datetime, default: str = "now-1h") -> TimeRange:
    """Raise `Invalid` for what is no time, a range that ends before it starts, or a huge one."""
    first, last = query.get("from") or default, query.get("to") or "now"
    start, end = _moment(first, now, "from"), _moment(last, now, "to")
    if start >= end:
        raise Invalid(**{"from": "The range ends before it starts: choose an earlier start"})
    if end - start > LONGEST:
        raise Invalid(**{"from": f"The range is longer than {LONGEST.days} days: choose less"})
    label = CHOICES.get(first, "Chosen range") if last == "now" else "Chosen range"
    return TimeRange(start, end, label, _text(start, end), f"from={first}&to={last}")


def _moment(text: str, now: datetime, name: str) -> datetime:
    if text == "now":
        return now
    if match := re.fullmatch(r"now-(\d{1,4})([mhd])", text):
        return now - int(match[1]) * UNITS[match[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(
            **{name: f"'{text[:40]}' is no time: write now-6h or 2026-11-23T14:00Z"}
        ) from None
    if not is_known(moment):
        raise Invalid(**{name: SAID})
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _text(start: datetime, end: datetime) -> str:
    if end - start < timedelta(hours=24):
        return f"{start:%H:%M}–{end:%H:%M} UTC"
    return f"{start:%d %b}–{end:%d %b} UTC"
