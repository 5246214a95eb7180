"""Bounds of a service's replicas, and the hours of a week that change them. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

from fleet.rules.freeze import DAYS, Window, held_until
from fleet.rules.moves import seconds
from fleet.rules.objectives import LIMITS
from tenants.rules.zones import zones

SHORT = tuple(day[:3] for day in DAYS)
DAY = 24 * 60  # minutes
EVER = datetime(2000, 1, 1, tzinfo=UTC)
MOST_HOURS = 24
MOST = LIMITS["replicas"][1]
TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)|24:00")
LINE = "Mon-Fri 08:00-20:00 min 4 max 8"


@dataclass(frozen=True, slots=True)
class Hours:
    """On these days from one time to the other, or to the next day where that is earlier."""

    weekdays: tuple[int, ...]  # 0 is Monday
    from_time: time
    to_time: time  # the same as `from_time`: a whole day
    least: int | None = None  # None: as at other times
    most: int | None = None

    @property
    def minutes(self) -> int:
        return (minute_of(self.to_time) - minute_of(self.from_time)) % DAY or DAY

    @property
    def words(self) -> str:
        changed = [f"min {self.least}"] if self.least is not None else []
        changed += [f"max {self.most}"] if self.most is not None else []
        until = "24:00" if self.to_time == time() else f"{self.to_time:%H:%M}"
        days = days_of(self.weekdays)
        return f"{days} {self.from_time:%H:%M}-{until} {' '.join(changed)}"

    def as_json(self) -> dict[str, Any]:
        return {
            "weekdays": list(self.weekdays),
            "from_time": f"{self.from_time:%H:%M}",
            "to_time": f"{self.to_time:%H:%M}",
            "min_replicas": self.least,
            "max_replicas": self.most,
        }


@dataclass(frozen=True, slots=True)
class Bounds:
    least: int
    most: int
    because: str = ""  # the hours that hold now

    def clamp(self, replicas: int) -> int:
        return max(self.least, min(replicas, self.most))

    @property
    def words(self) -> str:
        return f"{self.least} to {self.most}" + (f" ({self.because})" if self.because else "")


def minute_of(at: time) -> int:
    return at.hour * 60 + at.minute


def bounds_at(always: Bounds, hours: Iterable[Hours], zone: str, now: datetime) -> Bounds:
    """What holds now. Where hours overlap, the most capacity counts."""
    held = [h for h in hours if held_until(window_of(h, zone), now)[0]]
    if not held:
        return always
    return Bounds(
        least=max(always.least if h.least is None else h.least for h in held),
        most=max(always.most if h.most is None else h.most for h in held),
        because=f"{'; '.join(h.words for h in held)}, {zone}",
    )


def bounds_ahead(
    always: Bounds, hours: Sequence[Hours], zone: str, now: datetime, ahead: timedelta
) -> Bounds:
    """What holds now, with the minimum of when a replica that is ordered now has started.

    A maximum is somebody's word about money: it is not exceeded a minute before its hour.
    """
    held, soon = (bounds_at(always, hours, zone, at) for at in (now, now + ahead))
    least = min(soon.least, held.most)
    if least <= held.least:
        return held
    return Bounds(least, held.most, f"{seconds(ahead)} ahead of {soon.because}")


def window_of(hours: Hours, zone: str) -> Window:
    """By the clock on the wall of the zone, as the change calendar does it."""
    return Window(
        title=hours.words,
        reason="",
        starts_at=EVER,
        weekdays=hours.weekdays,
        from_time=hours.from_time,
        minutes=hours.minutes,
        zone=zone,
    )


def refuse_bounds(always: Bounds, hours: Sequence[Hours], zone: str) -> dict[str, str]:
    """What is wrong with them, by field."""
    wrong: dict[str, str] = {}
    if always.least < 0:
        wrong["min_replicas"] = f"At least 0, not {always.least}"
    if always.most < 1:
        wrong["max_replicas"] = "At least 1: with a maximum of 0 no request could wake it"
    elif always.most > MOST:
        wrong["max_replicas"] = f"At most {MOST}, not {always.most}"
    elif always.most < always.least:
        wrong["max_replicas"] = (
            f"The maximum {always.most} is below the minimum {always.least}: raise it by"
            f" {always.least - always.most} or lower the minimum"
        )
    if zone not in zones():
        wrong["zone"] = f"{zone!r} is no IANA zone, such as Europe/Berlin or UTC"
    if text := next(filter(None, (refuse_hours(always, h) for h in hours)), ""):
        wrong["hours"] = text
    if len(hours) > MOST_HOURS:
        wrong["hours"] = f"{len(hours)} lines: at most {MOST_HOURS}"
    return wrong


def refuse_hours(always: Bounds, hours: Hours) -> str:
    least = always.least if hours.least is None else hours.least
    most = always.most if hours.most is None else hours.most
    if not hours.weekdays or not set(hours.weekdays) <= set(range(7)):
        return "Days count from 0 (Monday) to 6 (Sunday), at least one of them"
    if hours.least is None and hours.most is None:
        return f"{hours.words.strip()}: say min, max or both, as in {LINE}"
    if not 0 <= least <= MOST or not 1 <= most <= MOST:
        return f"{hours.words}: at least 0 to {MOST} replicas, at most 1 to {MOST}"
    if most < least:
        return (
            f"{hours.words}: its maximum would be {most} and its minimum {least}; say both, so"
            " that they fit together"
        )
    return ""


def read_hours(text: str) -> tuple[Hours, ...]:
    """One a line, as people write them; raise ValueError with a sentence."""
    return tuple(_line(line.strip()) for line in text.splitlines() if line.strip())


def hours_text(hours: Iterable[Hours]) -> str:
    return "\n".join(h.words for h in hours)


def _line(line: str) -> Hours:
    words = line.split()
    if len(words) not in (4, 6) or words[1].count("-") != 1:
        raise ValueError(f"'{line[:60]}' is not like: {LINE}")
    begin, end = words[1].split("-")
    numbers = dict(zip(words[2::2], words[3::2], strict=True))
    if not numbers.keys() <= {"min", "max"} or len(numbers) * 2 != len(words) - 2:
        raise ValueError(f"'{line[:60]}' is not like: {LINE}")
    if any(not n.isdecimal() or len(n) > 6 for n in numbers.values()):
        raise ValueError(f"'{line[:60]}': min and max are whole numbers")
    least, most = numbers.get("min"), numbers.get("max")
    return Hours(
        _days(words[0]),
        read_time(begin),
        read_time(end),
        None if least is None else int(least),
        None if most is None else int(most),
    )


def read_time(text: str) -> time:
    if not TIME.fullmatch(text):
        raise ValueError(f"'{text[:20]}' is no time, such as 08:00 or 24:00")
    hour, minute = text.split(":")
    return time(int(hour) % 24, int(minute))


def _days(text: str) -> tuple[int, ...]:
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        begin, end = _day(first), _day(last or first)
        found |= {d % 7 for d in range(begin, (end if end >= begin else end + 7) + 1)}
    return tuple(sorted(found))


def _day(text: str) -> int:
    name = text[:3].capitalize()
    if name not in SHORT or not DAYS[SHORT.index(name)].lower().startswith(text.lower()):
        raise ValueError(f"'{text[:20]}' is no day: write {', '.join(SHORT)}")
    return SHORT.index(name)


def days_of(weekdays: Sequence[int]) -> str:
    """Runs of days as a range: Mon-Fri,Sun."""
    runs: list[list[int]] = []
    for day in sorted(set(weekdays)):
        if runs and runs[-1][-1] == day - 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    return ",".join(SHORT[r[0]] if len(r) == 1 else f"{SHORT[r[0]]}-{SHORT[r[-1]]}" for r in runs)


def hours_from(rows: Iterable[Mapping[str, Any]]) -> tuple[Hours, ...]:
    """Of stored JSON, or of a door's; raise ValueError with a sentence."""
    return tuple(
        Hours(
            tuple(sorted(set(row["weekdays"]))),
            read_time(row["from_time"]),
            read_time(row["to_time"]),
            row.get("min_replicas"),
            row.get("max_replicas"),
        )
        for row in rows
    )
