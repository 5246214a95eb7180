"""When a stage of a sequence may begin: the time that its proposal states, and the change calendar.

Pure. Hours of a week in which a cluster is left alone are a freeze of that cluster.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from fleet.rules.earliest import out_of_freezes
from fleet.rules.freeze import Window
from tenants.rules.zones import zones

LINE = "chat-us 2026-11-28 22:00 America/New_York"


@dataclass(frozen=True, slots=True)
class Opening:
    """`at` None: at its turn, or nobody can say when; then `why` tells for what it waits."""

    at: datetime | None = None
    why: str = ""  # empty: nothing holds it but its turn


def opening(begins_from: datetime | None, windows: Sequence[Window], now: datetime) -> Opening:
    """The first moment from its time on in which nothing freezes."""
    wanted = max(now, begins_from) if begins_from else now
    opened, title = out_of_freezes(windows, wanted)
    if opened is None:
        return Opening(None, f"when somebody ends “{title}”")
    if opened > wanted:
        return Opening(opened, f"“{title}” lets no rollout begin before")
    return Opening(wanted, "as it was approved") if wanted > now else Opening()


def read_times(lines: Iterable[str]) -> dict[str, datetime]:
    """Times by service as people write them, one a line; raise ValueError with a sentence."""
    found: dict[str, datetime] = {}
    for line in filter(None, (line.strip() for line in lines)):
        name, at = _line(line)
        if name in found:
            raise ValueError(f"{name} is there twice: give one time of it")
        found[name] = at
    return found


def _line(line: str) -> tuple[str, datetime]:
    name, *rest = line.split()
    named = bool(rest) and not rest[-1][0].isdigit()
    zone = rest.pop() if named else "UTC"
    if zone not in zones():
        raise ValueError(f"{zone!r} is no IANA zone, such as Europe/Berlin or UTC")
    try:
        at = datetime.fromisoformat(" ".join(rest))
    except ValueError as error:
        raise ValueError(f"'{line[:60]}' is not like: {LINE}") from error
    return name, at if at.tzinfo else at.replace(tzinfo=ZoneInfo(zone))
