"""How fine a dashboard can be: the resolution of the slots that it reads, and its step. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from fleet.rules.traffic import DASHBOARD_SECONDS, GATE_SECONDS, slot_of

POINTS = 150
FINE_RANGE = timedelta(hours=1)
FINE_AGE = timedelta(hours=6)  # fine slots are written for requests no older
STEPS = (300, 900, 3600, 6 * 3600, 86_400)


@dataclass(frozen=True, slots=True)
class Grid:
    """Slots of `resolution` seconds, drawn in steps of `step` seconds, from `start` on."""

    resolution: int
    step: int
    start: datetime
    end: datetime

    @property
    def moments(self) -> tuple[datetime, ...]:
        found, at = [], self.start
        while at < self.end:
            found.append(at)
            at += timedelta(seconds=self.step)
        return tuple(found)


def grid(start: datetime, end: datetime, now: datetime) -> Grid:
    """Minutes for the last hour, else five minutes or more, at most `POINTS` of them."""
    if end - start <= FINE_RANGE and start >= now - FINE_AGE:
        return Grid(GATE_SECONDS, 60, slot_of(start, 60), end)
    seconds = (end - start).total_seconds()
    step = next((s for s in STEPS if seconds / s <= POINTS), STEPS[-1])
    return Grid(DASHBOARD_SECONDS, step, slot_of(start, step), end)
