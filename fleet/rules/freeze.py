"""When no rollout may begin. Pure: windows and a moment in, the end of the freeze out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tenants.rules.zones import zones

LONGEST_WEEKLY = 7 * 24 * 60  # minutes
WEEK = timedelta(days=7)
YEARS = range(2000, 2201)  # beyond them clocks of some zones cannot tell the time
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, slots=True)
class Window:
    """Without weekdays it is one time; without an end it lasts until somebody ends it."""

    title: str
    reason: str
    starts_at: datetime
    ends_at: datetime | None = None
    weekdays: tuple[int, ...] = ()  # 0 is Monday
    from_time: time | None = None
    minutes: int = 0
    zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Frozen:
    window: Window
    until: datetime | None

    @property
    def sentence(self) -> str:
        end = "until somebody ends it"
        if self.until is not None:
            local = self.until.astimezone(ZoneInfo(self.window.zone))
            end = f"until {local:%a %d %b %H:%M} {self.window.zone}"
        return f"“{self.window.title}” lets no rollout begin {end}: {self.window.reason}"


def frozen_by(windows: Iterable[Window], now: datetime) -> Frozen | None:
    """Of all that hold now, the one that holds longest."""
    return longest(holding(dict(enumerate(windows)), now).values())


def holding(windows: Mapping[int, Window], now: datetime) -> dict[int, Frozen]:
    """Those that hold now."""
    found = ((key, w, held_until(w, now)) for key, w in windows.items())
    return {key: Frozen(w, end) for key, w, (holds, end) in found if holds}


def longest(found: Iterable[Frozen]) -> Frozen | None:
    never = datetime.max.replace(tzinfo=UTC)
    return max(found, key=lambda f: f.until or never, default=None)


def excepted(payload: Mapping[str, Any], manifest_digest: str) -> frozenset[int]:
    """Ids of the freezes that an approved exception is from: those that its approver saw. One that
    was declared later is news, and manifests that are others are another rollout.
    """
    same = payload.get("manifest_digest") == manifest_digest
    return frozenset(payload.get("freezes", ())) if same else frozenset()


def held_until(window: Window, now: datetime) -> tuple[bool, datetime | None]:
    """Whether it holds now, and its end: of all the times that follow each other without a gap."""
    if now < window.starts_at or (window.ends_at and now >= window.ends_at):
        return False, None
    if not window.weekdays:
        return True, window.ends_at
    until = now
    for start, end in sorted(occurrences(window, now, back=8, ahead=8)):
        until = end if start <= until < end else until
    if until - now >= WEEK:  # then every other week is like this one
        return True, window.ends_at
    return until > now, min(until, window.ends_at or until) if until > now else None


def next_start(window: Window, now: datetime) -> datetime | None:
    if not window.weekdays:
        return window.starts_at if window.starts_at > now else None
    later = [s for s, _ in occurrences(window, max(now, window.starts_at), back=0, ahead=8)]
    ahead = [s for s in later if s > now and s >= window.starts_at]
    first = min(ahead, default=None)
    return first if first and (window.ends_at is None or first < window.ends_at) else None


def occurrences(
    window: Window, now: datetime, *, back: int, ahead: int
) -> list[tuple[datetime, datetime]]:
    """By the clock on the wall of its zone: a night of a time change is longer or shorter."""
    assert window.from_time is not None
    zone = ZoneInfo(window.zone)
    today = now.astimezone(zone).date()
    found = []
    for days in range(-back, ahead + 1):
        day = today + timedelta(days=days)
        if day.weekday() in window.weekdays:
            start = datetime.combine(day, window.from_time, zone)
            end = start + timedelta(minutes=window.minutes)
            found.append((start.astimezone(UTC), end.astimezone(UTC)))
    return found


def refuse_window(window: Window) -> dict[str, str]:
    """What is wrong with it, by field."""
    wrong: dict[str, str] = {}
    if not window.title.strip():
        wrong["title"] = "Name it: the name stands in every reason to wait"
    if not window.reason.strip():
        wrong["reason"] = "Say why: whoever waits reads it"
    if window.zone not in zones():
        wrong["zone"] = f"{window.zone!r} is no IANA zone, such as Europe/Berlin or UTC"
    for name, at in (("starts_at", window.starts_at), ("ends_at", window.ends_at)):
        if at and at.year not in YEARS:
            wrong[name] = f"Give a year from {YEARS[0]} to {YEARS[-1]}; without an end it is a hold"
    if window.ends_at and window.ends_at <= window.starts_at:
        wrong["ends_at"] = "It must end after it has started"
    return wrong | (refuse_weekly(window) if window.weekdays else {})


def refuse_weekly(window: Window) -> dict[str, str]:
    wrong: dict[str, str] = {}
    if not set(window.weekdays) <= set(range(7)):
        wrong["weekdays"] = "Days count from 0 (Monday) to 6 (Sunday)"
    if window.from_time is None:
        wrong["from_time"] = "Say when it begins on these days"
    if not 1 <= window.minutes <= LONGEST_WEEKLY:
        wrong["minutes"] = f"{window.minutes} minutes: between 1 and {LONGEST_WEEKLY} (a week)"
    return wrong


def words_of(window: Window) -> str:
    """When it holds, for lists."""
    if not window.weekdays:
        return "once" if window.ends_at else "until somebody ends it"
    days = named(window.weekdays)
    hours, minutes = divmod(window.minutes, 60)
    length = f"{hours} h" + (f" {minutes} min" if minutes else "")
    return f"{days} from {window.from_time:%H:%M} for {length}, {window.zone}"


def named(weekdays: Sequence[int]) -> str:
    return "every day" if len(set(weekdays)) == 7 else ", ".join(DAYS[d] for d in sorted(weekdays))
