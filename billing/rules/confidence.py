"""How far the figures of an hour can be trusted, and what that is judged from. Pure.

Each ingredient is the part that is right, from 0 to 1; None where nothing is known of it:

- tokens: 1 less the difference between what gateways metered and what engines counted.
- delivery: of the events that gateways' workers wrote, the part that is stored or in quarantine.
- measured: of the tokens, the part that a gateway did not have to estimate.

The figure of an hour is the worst of them.
"""

from dataclasses import dataclass
from datetime import datetime

# Requests that run over the edge of the hour are counted on one side only; an engine's last
# seconds are not seen by anybody.
TOLERATED_DRIFT = 0.005
TOLERATED = {"tokens": TOLERATED_DRIFT, "delivery": 0.001, "measured": 0.05}
WORDS = {
    "tokens": "metered against counted",
    "delivery": "events not delivered",
    "measured": "estimated",
}


@dataclass(frozen=True, slots=True)
class HourCompared:
    """One hour of one service; where a tenant was asked for, of what that tenant used."""

    hour: datetime
    service_id: int  # 0: none answered, so no engine's counter says anything
    metered: int  # tokens, of all tenants
    counted: int | None  # None: no engine was read in this hour
    engines: int
    theirs: int  # metered tokens of the tenant that was asked for
    estimated: int = 0  # tokens that a gateway estimated: of that tenant, or of all
    of_tenant: bool = False
    sent: int | None = None  # events of all services in the hour; None: no worker said
    missing: int = 0  # of these, neither stored nor in quarantine
    quarantined: int = 0  # of all services: wait for a person
    waiting: int = 0  # most events that waited in one spool
    oldest_seconds: float = 0.0  # the longest wait
    limited: int = 0  # of metered, the word of other tenants' own sources: true or not

    @property
    def astray(self) -> int:
        """Tokens between what was metered, with what is `limited` or without, and the count.

        A count below zero is of engines that lost theirs: our own probes are taken off it.
        """
        least, counted = self.metered - self.limited, max(0, self.counted or 0)
        return max(0, counted - self.metered, least - counted)

    @property
    def drift(self) -> float | None:
        """Difference as a part of what engines counted; None when they counted nothing."""
        return self.astray / self.counted if self.counted and self.counted > 0 else None

    @property
    def tokens(self) -> float | None:
        if self.counted is None:
            return None
        if self.counted <= 0:
            return 0.0 if self.astray else 1.0
        return max(0.0, 1 - self.astray / self.counted)

    @property
    def delivery(self) -> float | None:
        return 1 - self.missing / self.sent if self.sent else None

    @property
    def estimated_share(self) -> float | None:
        whole = self.theirs if self.of_tenant else self.metered
        return min(1.0, self.estimated / whole) if whole else None

    @property
    def measured(self) -> float | None:
        share = self.estimated_share
        return None if share is None else 1 - share

    @property
    def figure(self) -> float | None:
        """The worst of what is known; None: no engine was read, so the rest proves nothing."""
        if self.tokens is None:
            return None
        return min(p for p in (self.tokens, self.delivery, self.measured) if p is not None)

    @property
    def faults(self) -> tuple[str, ...]:
        """Ingredients that are below their threshold."""
        found = {"tokens": self.tokens, "delivery": self.delivery, "measured": self.measured}
        return tuple(
            name
            for name, part in found.items()
            if part is not None and 1 - part > TOLERATED[name] + 1e-12
        )

    @property
    def state(self) -> str:
        if self.faults:
            return "off"
        return "unknown" if self.tokens is None else "within"

    @property
    def why(self) -> str:
        """In words what is below its threshold; empty where nothing is."""
        parts = {"tokens": self.tokens, "delivery": self.delivery, "measured": self.measured}
        said = [f"{(1 - (parts[name] or 0)) * 100:,.2f} % {WORDS[name]}" for name in self.faults]
        if self.tokens is None:
            said.append("no engine was read" if self.service_id else "no service answered")
        return ", ".join(said)

    @property
    def key(self) -> str:
        """What a signature names: one hour of one service."""
        return f"{self.hour:%Y-%m-%dT%H}Z/{self.service_id}"


def covers(signed: dict[str, float], now: dict[str, float]) -> bool:
    """Whether a signature covers what stands in the way now: the same things, none worse."""
    return all(key in signed and figure >= signed[key] - 1e-9 for key, figure in now.items())
