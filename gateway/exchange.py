"""What is known of one request so far. It becomes exactly one usage event."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.auth import TenantContext
from gateway.contract.outcomes import Outcome, Reason, TrafficClass, UsageQuality
from gateway.contract.policy import Limit, Price
from gateway.contract.routing import Service
from gateway.errors import Refusal
from gateway.estimate import Estimate
from gateway.limits.limiter import Checkpoint, Reservation, cost_micros
from gateway.normalise import Asked
from gateway.pools import Seat
from gateway.stream import Observed


@dataclass(slots=True, eq=False)
class Exchange:
    """Times without a unit in their name are seconds of the loop's clock."""

    id: str
    context: TenantContext
    traffic_class: TrafficClass
    started_us: int  # since the epoch
    started: float
    routing_version: int
    model: str = ""
    adapter: str = ""  # the model, where it is an adapter of the service
    service: Service | None = None  # where it runs
    asked: Asked | None = None
    estimate: Estimate | None = None
    limits: tuple[Limit, ...] = ()
    price: Price | None = None
    reservation: Reservation | None = None
    seat: Seat | None = None
    rerouted_from: str = ""
    modifiers: list[str] = field(default_factory=list)
    reserved_at: float | None = None
    waking: float = 0.0  # seconds until a service that slept had an engine, or that was given up
    first_seated_at: float | None = None
    dispatched_at: float | None = None
    observed: Observed = field(default_factory=Observed)
    outcome: Outcome | None = None
    reason: Reason = Reason.NONE
    status: int = 0
    has_bytes: bool = False  # of an answer: the commit point is passed
    is_reported: bool = False
    recalled: Refusal | None = None  # why it was ended while it ran
    reporter: Callable[[Exchange], None] | None = None

    @classmethod
    def begin(cls, request_id: str, context: TenantContext, routing_version: int) -> Exchange:
        return cls(
            id=request_id,
            context=context,
            traffic_class=context.traffic_class,
            started_us=int(time.time() * 1e6),
            started=asyncio.get_running_loop().time(),
            routing_version=routing_version,
        )

    @property
    def tenant_id(self) -> int:
        return self.context.tenant.id

    @property
    def degraded(self) -> str:
        """Why it is served worse than promised, for the answer's header."""
        for modifier in self.modifiers:
            if modifier.startswith("degraded:"):
                return modifier.removeprefix("degraded:")
        return ""

    def end(self, outcome: Outcome, reason: Reason, status: int) -> None:
        """Set the one outcome. The first call wins: a request ends once."""
        if self.outcome is None:
            self.outcome, self.reason, self.status = outcome, reason, status

    def answer(self) -> None:
        """End as answered, under the one label that applies."""
        outcome = Outcome.SERVED
        if self.rerouted_from:
            outcome = Outcome.REROUTED
        if self.degraded:
            outcome = Outcome.DEGRADED
        self.end(outcome, Reason.NONE, 200)

    def seated(self, seat: Seat, now: float) -> None:
        self.seat = seat
        if self.first_seated_at is None:
            self.first_seated_at = now

    def fall_back(self, asked: Service, stand_in: Service, kind: str = "fallback") -> None:
        """Another service answers. It is billed as what was asked for, its cost is where it ran."""
        self.service = stand_in
        self.rerouted_from = asked.name
        self.modifiers.append(f"{kind}:{stand_in.name}")

    def place(self, preferred: Service, placement: Service) -> None:
        """A placement answers for the name that was asked for; rerouted: another was preferred."""
        self.service = placement
        self.modifiers.append(f"placement:{placement.name}")
        if placement is not preferred:
            self.rerouted_from = preferred.name

    def report(self) -> None:
        """Write the event now: an answer's last byte must not come before its record."""
        if self.reporter is not None:
            self.reporter(self)

    def dispatched(self, now: float) -> None:
        """Start an attempt: nothing that an earlier one showed counts any more."""
        self.dispatched_at = now
        self.has_bytes = False
        per_prompt = self.asked.outputs_per_prompt if self.asked else 1
        self.observed = Observed(outputs_per_prompt=per_prompt)

    def guess_usage(self) -> None:
        """The engine worked, and no count will come: the prompt at least was computed."""
        if self.observed.quality is UsageQuality.NONE and self.dispatched_at and self.estimate:
            self.observed.prompt = self.estimate.prompt
            self.observed.quality = UsageQuality.ESTIMATED

    @property
    def micros(self) -> int:
        observed = self.observed
        return cost_micros(
            self.price,
            prompt=observed.prompt,
            cached=observed.cached,
            completion=observed.completion,
        )

    def checkpoint(self, at_us: int = 0) -> Checkpoint:
        observed = self.observed
        return Checkpoint(
            tokens=observed.prompt + observed.completion,
            micros=self.micros,
            prompt_tokens=observed.prompt,
            cached_tokens=observed.cached,
            completion_tokens=observed.completion,
            at=at_us,
        )
