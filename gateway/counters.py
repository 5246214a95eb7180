"""Counters of one worker, and their text for Prometheus. They name no tenant."""

from __future__ import annotations

from collections import Counter

from gateway import errors
from gateway.contract.outcomes import Outcome, Reason

HOUR_US = 3_600_000_000
HOURS_TOLD = 3  # the newest ones, for a console that did not listen for a while


class Shared:
    """What a worker has for all tenants together, as far as it is in use.

    Each may take as long as it has less than is left for all: one alone half of it, two a third
    each. So who comes anew finds some, whatever the others do.
    """

    def __init__(self) -> None:
        self.used = 0
        self._by_tenant: Counter[int] = Counter()

    def take(self, tenant_id: int, amount: int, most: int) -> None:
        """Raise a refusal where the tenant may take no more, of `most` that there is."""
        if self._by_tenant[tenant_id] >= most - self.used:
            raise errors.gateway_full()
        self.used += amount
        self._by_tenant[tenant_id] += amount

    def give_back(self, tenant_id: int, amount: int) -> None:
        self.used -= amount
        self._by_tenant[tenant_id] -= amount
        if not self._by_tenant[tenant_id]:
            del self._by_tenant[tenant_id]


class Counters:
    def __init__(self) -> None:
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._copies: Counter[str] = Counter()
        self._hours: Counter[int] = Counter()
        self.in_flight = Shared()  # requests
        self.in_flight_bytes = Shared()  # of their bodies

    @property
    def total(self) -> int:
        return self._outcomes.total()

    def ended(self, outcome: Outcome, reason: Reason) -> None:
        self._outcomes[(outcome.value, reason.value)] += 1

    def reported(self, finished_us: int) -> None:
        """A usage event was written, of a request that ended then: the ledger looks for it."""
        hour = finished_us // HOUR_US
        self._hours[hour] += 1
        if len(self._hours) > HOURS_TOLD:
            del self._hours[min(self._hours)]

    @property
    def hours(self) -> dict[int, int]:
        """Usage events by the hour of their end, in hours since the epoch."""
        return dict(self._hours)

    def copied(self, what: str) -> None:
        """A copy for a shadow: how it ended, or that it was held back."""
        self._copies[what] += 1

    def text(self, gauges: dict[str, float]) -> bytes:
        lines = [
            "# HELP qm_gateway_requests_total Requests by outcome and reason.",
            "# TYPE qm_gateway_requests_total counter",
        ]
        for (outcome, reason), count in sorted(self._outcomes.items()):
            lines.append(
                f'qm_gateway_requests_total{{outcome="{outcome}",reason="{reason}"}} {count}'
            )
        lines += (
            "# HELP qm_gateway_copies_total Copies of requests for shadows of rollouts.",
            "# TYPE qm_gateway_copies_total counter",
        )
        for what, count in sorted(self._copies.items()):
            lines.append(f'qm_gateway_copies_total{{outcome="{what}"}} {count}')
        for name, value in sorted(gauges.items()):
            lines += (f"# TYPE qm_gateway_{name} gauge", f"qm_gateway_{name} {value:g}")
        return ("\n".join(lines) + "\n").encode()
