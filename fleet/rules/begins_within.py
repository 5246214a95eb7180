"""The time in which an approved rollout may begin, when its proposal states one. Pure.

It is frozen into the plan, so the digest that somebody approves covers it. Kept as JSON:
{opens: ISO time or null, closes: likewise}.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

FARTHEST = timedelta(days=30)
LOOKS = timedelta(seconds=15)  # at a rollout that waits for its time


@dataclass(frozen=True, slots=True)
class BeginsWithin:
    """`opens` None: at once. `closes` None: whenever its turn comes."""

    opens: datetime | None = None
    closes: datetime | None = None

    def __bool__(self) -> bool:
        return bool(self.opens or self.closes)

    @property
    def words(self) -> str:
        """After "begins"."""
        parts = ("from", self.opens), ("before", self.closes)
        told = [f"{word} {at.astimezone(UTC):%a %d %b %H:%M}" for word, at in parts if at]
        return " and ".join(told) + " UTC" if told else "at any time"

    def is_early(self, now: datetime) -> bool:
        return self.opens is not None and now < self.opens

    def is_over(self, now: datetime) -> bool:
        return self.closes is not None and now >= self.closes

    def wait(self, now: datetime) -> timedelta:
        left = self.opens - now if self.opens else LOOKS
        return max(min(left, LOOKS), timedelta())

    def as_json(self) -> dict[str, str | None]:
        return {
            "opens": self.opens.isoformat() if self.opens else None,
            "closes": self.closes.isoformat() if self.closes else None,
        }


def read_begins(plan: Mapping[str, Any]) -> BeginsWithin | None:
    """Of a kept plan; None: it states no time."""
    kept = plan.get("begins")
    if not kept:
        return None
    opens, closes = (
        datetime.fromisoformat(kept[k]) if kept[k] else None for k in ("opens", "closes")
    )
    return BeginsWithin(opens, closes)


def refuse_begins(begins: BeginsWithin, now: datetime) -> dict[str, str]:
    """What is wrong with it, by field."""
    wrong: dict[str, str] = {}
    if begins.opens and begins.opens > now + FARTHEST:
        wrong["begins_from"] = f"At most {FARTHEST.days} days ahead: plans do not keep that long"
    if begins.closes and begins.closes <= now:
        wrong["begins_before"] = "That is over: nobody could approve it in time"
    elif begins.closes and begins.opens and begins.closes <= begins.opens:
        wrong["begins_before"] = "It must lie after the earliest start"
    return wrong
