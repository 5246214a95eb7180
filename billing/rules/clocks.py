"""How a source's clock and delays look from here, and what is said of them. Pure."""

from dataclasses import dataclass
from datetime import datetime

from billing.rules.events import FUTURE, MAX_LATE

AHEAD_MS = 30_000  # a difference of clocks that is worth a word before events are refused
LATE_MS = 3_600_000  # usage that comes so late is missing from budgets and from pages


@dataclass(frozen=True, slots=True)
class SourceClock:
    """Of the events of a source that arrived in a window: from end of request to arrival."""

    source_id: int
    events: int = 0
    least_ms: int = 0  # below 0: it ended in the future of this machine's clock
    most_ms: int = 0
    arrived_at: datetime | None = None
    from_future: int = 0  # in quarantine for it
    too_late: int = 0

    @property
    def least_seconds(self) -> float:
        return self.least_ms / 1000

    @property
    def most_seconds(self) -> float:
        return self.most_ms / 1000

    @property
    def alarms(self) -> tuple[str, ...]:
        """In words; empty: nothing is wrong."""
        said = []
        if self.from_future:
            said.append(
                f"{self.from_future:,} events from more than {FUTURE.seconds // 60} minutes in the"
                " future wait in quarantine: set the clock of this gateway"
            )
        elif self.events and self.least_ms < -AHEAD_MS:
            said.append(
                f"Its clock is ahead: a request ended {-self.least_ms / 1000:,.0f} s in the future;"
                f" from {FUTURE.seconds} s on its events are refused"
            )
        if self.too_late:
            said.append(
                f"{self.too_late:,} events older than {MAX_LATE.days} days wait in quarantine"
            )
        if self.events and self.most_ms > LATE_MS:
            said.append(
                f"Events came up to {self.most_ms / LATE_MS:,.1f} h after their end: its spool was"
                " not delivered, or its clock is behind"
            )
        return tuple(said)
