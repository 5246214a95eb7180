"""Limits for when the quota store does not answer.

Rates and concurrency go on in this process, at this worker's share of the limit, so that a fleet
of gateways admits together at most what the limit says. Budgets do not: one that nobody can
verify is closed. Starting empty would refuse everybody, so the buckets start full; what runs is
counted all the time, so that a short silence of the store does not admit everything twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway import errors
from gateway.contract.outcomes import Reason

BUDGETS = frozenset("bios")  # of money; of input, of output tokens, of their sum


@dataclass(frozen=True, slots=True)
class Hold:
    """What one limit gives to one request. `kind` is a letter that the scripts read."""

    kind: str
    name: str  # the key in the store
    limit: int
    cost: int


class EmergencyLimits:
    def __init__(self, replicas: int) -> None:
        self._replicas = max(1, replicas)
        self._arrivals: dict[str, float] = {}  # theoretical arrival times, seconds
        self._running: dict[str, int] = {}

    def reserve(self, holds: Sequence[Hold], now: float) -> None:
        """Take all or nothing. `now`: seconds of a monotonic clock."""
        for hold in holds:
            self._check(hold, now)
        self.begin(holds)
        for hold in holds:
            if hold.kind != "c":
                tat = max(self._arrivals.get(hold.name, now), now)
                self._arrivals[hold.name] = tat + hold.cost * 60.0 / self._share(hold)

    def begin(self, holds: Sequence[Hold]) -> None:
        """Count a request as running, whoever admitted it."""
        for hold in holds:
            if hold.kind == "c":
                self._running[hold.name] = self._running.get(hold.name, 0) + 1

    def release(self, holds: Sequence[Hold]) -> None:
        for hold in holds:
            if hold.kind != "c":
                continue
            left = self._running.get(hold.name, 0) - 1
            if left > 0:
                self._running[hold.name] = left
            else:
                self._running.pop(hold.name, None)

    def _share(self, hold: Hold) -> int:
        return max(1, hold.limit // self._replicas)

    def _check(self, hold: Hold, now: float) -> None:
        if hold.kind in BUDGETS:
            raise errors.unverifiable()
        share = self._share(hold)
        if hold.limit == 0 or (hold.kind == "c" and self._running.get(hold.name, 0) >= share):
            text = f"While quotas cannot be verified you may run {share} requests at once."
            raise errors.limited(text, Reason.CONCURRENCY, errors.jittered(1000))
        if hold.kind == "c":
            return
        over = max(self._arrivals.get(hold.name, now), now) + hold.cost * 60.0 / share - now - 60.0
        if over > 0.001:
            reason = Reason.RPM if hold.kind == "r" else Reason.TPM
            text = f"While quotas cannot be verified you may use {share} a minute."
            raise errors.limited(text, reason, int(over * 1000) + 1)
