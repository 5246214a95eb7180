"""A factor on other prices, by service, meter and class, and by the hour of the week in a zone."""

import re
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from billing.rules.prices.terms import Kind, Terms, Window, number, plain
from tenants.rules.zones import zones

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
ALL_WEEK = tuple(range(7))
ONE = Decimal(1)
LARGEST = Decimal(100)
WINDOW = re.compile(r"(?:([a-z]{3})(?:-([a-z]{3}))?@)?(\d{1,2})-(\d{1,2}):(\S+)")


def read(words: Sequence[str], per: int) -> Terms:
    """ "0.5", or a zone and windows: "Europe/Berlin mon-fri@22-6:0.5 sat-sun@0-24:0.8"."""
    if len(words) == 1:
        return Terms(Kind.FACTOR, zone="UTC", windows=(Window(ALL_WEEK, 0, 24, number(words[0])),))
    if not words:
        raise ValueError("Give the factor: factor 0.5")
    return Terms(Kind.FACTOR, zone=words[0], windows=tuple(read_window(w) for w in words[1:]))


def read_window(word: str) -> Window:
    found = WINDOW.fullmatch(word)
    if not found:
        raise ValueError(f"'{word[:30]}' is no window; write mon-fri@22-6:0.5 or 22-6:0.5")
    first, last, start, end, factor = found.groups()
    return Window(read_days(first, last or first), int(start), int(end), number(factor))


def read_days(first: str | None, last: str | None) -> tuple[int, ...]:
    if first is None or last is None:
        return ALL_WEEK
    for name in (first, last):
        if name not in DAYS:
            raise ValueError(f"'{name}' is no day; there are {', '.join(DAYS)}")
    begin, end = DAYS.index(first), DAYS.index(last)
    return tuple((begin + n) % 7 for n in range((end - begin) % 7 + 1))


def say(terms: Terms, per: int) -> str:
    always = len(terms.windows) == 1 and (terms.windows[0].start, terms.windows[0].end) == (0, 24)
    if always and terms.zone == "UTC" and terms.windows[0].days == ALL_WEEK:
        return f"{Kind.FACTOR} {plain(terms.windows[0].factor)}"
    return " ".join([Kind.FACTOR, terms.zone, *(say_window(w) for w in terms.windows)])


def say_window(window: Window) -> str:
    first, last = DAYS[window.days[0]], DAYS[window.days[-1]]
    days = first if first == last else f"{first}-{last}"
    prefix = "" if window.days == ALL_WEEK else f"{days}@"
    return f"{prefix}{window.start}-{window.end}:{plain(window.factor)}"


def fault(terms: Terms) -> str:
    if terms.zone not in zones():
        return f"{terms.zone!r} is no IANA time zone"
    if not 0 < len(terms.windows) <= 10:
        return "Give at least one window of hours, as in 22-6:0.5, and at most 10"
    for window in terms.windows:
        if window.start > 23 or window.end > 24 or window.start == window.end:
            return f"'{say_window(window)}' does not go from an hour of 0 to 23 to another"
        if not 0 <= window.factor <= LARGEST:
            return f"A factor is between 0 and {LARGEST}"
    return ""


def factor_at(terms: Terms, hour: datetime) -> Decimal:
    """Of the first window that the hour begins in; 1 outside all of them."""
    here = hour.astimezone(ZoneInfo(terms.zone))
    for window in terms.windows:
        if holds(window, here.weekday(), here.hour):
            return window.factor
    return ONE


def holds(window: Window, day: int, hour: int) -> bool:
    if window.start < window.end:
        return day in window.days and window.start <= hour < window.end
    if hour >= window.start:
        return day in window.days
    return hour < window.end and (day - 1) % 7 in window.days  # began the day before
