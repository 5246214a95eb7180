"""How many replicas the busiest moment of the last days needs. Pure.

Engines tell for two days how much they had in flight; requests are counted for months. So the
busiest five minutes of the two days say what a request weighs, and those of the week how many
there were.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

WEEK = timedelta(days=7)
TOLD = timedelta(days=2)  # engines' samples are kept so long

Slot = tuple[datetime, int]  # beginning, and requests in it


@dataclass(frozen=True, slots=True)
class Peak:
    """`in_flight` None: no engine told what it had in flight in the busiest time of two days."""

    at: datetime
    requests: int  # in the slot
    slot_seconds: int
    in_flight: float | None
    each: int  # requests in flight that one replica takes
    each_by: str  # who says so

    @property
    def needs(self) -> float | None:
        """Replicas, with the part of the last one."""
        return None if self.in_flight is None else self.in_flight / self.each


def busiest(slots: Sequence[Slot]) -> Slot | None:
    """The last of several alike."""
    return max(slots, key=lambda slot: (slot[1], slot[0]), default=None)


def scaled(in_flight: float, then: Slot, peak: Slot) -> float | None:
    """What was in flight `then`, as it would have been with the requests of the peak."""
    return in_flight * peak[1] / then[1] if then[1] else None


def answering(least: int) -> str:
    """The fewest replicas at any moment of a rollout."""
    if not least:
        return "none answers meanwhile"
    return f"{least} answer{'s' * (least == 1)} at any moment"


def load_words(needs: float) -> str:
    """After "needs": 9.4 replicas, 0.3 of a replica, next to nothing."""
    if needs < 0.05:
        return "next to nothing"
    told = f"{needs:,.1f}".removesuffix(".0")
    if needs < 0.95:
        return f"{told} of a replica"
    return f"{told} replica{'s' * (told != '1')}"
