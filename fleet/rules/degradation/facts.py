"""What is known about a tenant's class on a service, now and a while before."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from fleet.rules.histogram import Histogram
from fleet.rules.objectives import Objective
from fleet.rules.traffic import ANSWERED

QUOTA_REASONS = {
    "rpm": "requests a minute",
    "tpm": "tokens a minute",
    "concurrency": "requests at the same time",
    "budget": "monthly budget",
}
GATEWAY_REASONS = {
    "gateway_full": "the gateway's own bound on requests in flight",
    "metering": "the gateway's spool does not take usage",
    "not_ready": "gateways without a policy",
    "quota_store": "the store of the limits does not answer",
    "budget_unverifiable": "budgets cannot be verified",
    "worker_lost": "a gateway worker died",
    "internal": "a fault of the gateway",
}
ENGINE_REASONS = {
    "upstream_error": "engines answered with errors",
    "upstream_abort": "engines aborted answers",
    "engine_refused": "engines refused requests",
    "upstream_time": "engines did not answer in time",
}
SLEEP_REASONS = {
    "waking": "it did not wake as long as one may wait",
    "room_full": "as many as may wait for it did",
}
FULL_REASONS = {"pool_full": "the queue was full", "queue_time": "requests waited too long"}


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests of one window. `reasons` counts (outcome, reason)."""

    seconds: float = 1.0
    outcomes: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[tuple[str, str], int] = field(default_factory=dict)
    ttft: Histogram = Histogram()
    itl: Histogram = Histogram()
    queue: Histogram = Histogram()
    tokens: int = 0  # prompt and completion
    waking: Histogram = Histogram()  # waits for a service that slept

    @property
    def requests(self) -> int:
        return sum(self.outcomes.values())

    @property
    def answered(self) -> int:
        return sum(n for outcome, n in self.outcomes.items() if outcome in ANSWERED)

    @property
    def tokens_per_minute(self) -> float:
        return self.tokens * 60 / self.seconds

    def count(self, *outcomes: str) -> int:
        return sum(self.outcomes.get(outcome, 0) for outcome in outcomes)

    def because(self, reasons: Mapping[str, str]) -> dict[str, int]:
        """Requests by those reasons, the most frequent first."""
        found: dict[str, int] = {}
        for (_, reason), n in self.reasons.items():
            if reason in reasons:
                found[reason] = found.get(reason, 0) + n
        return dict(sorted(found.items(), key=lambda item: -item[1]))


@dataclass(frozen=True, slots=True)
class Engines:
    """A service's engines in one window. None: they said nothing about it."""

    engines: int = 0
    waiting: float | None = None  # requests, all engines together, mean
    running: float | None = None
    kv_usage: float | None = None  # 0 to 1, the fullest
    preemptions_per_minute: float | None = None


@dataclass(frozen=True, slots=True)
class ReleaseTraffic:
    release_id: int
    label: str  # r7
    traffic: Traffic


@dataclass(frozen=True, slots=True)
class Move:
    """A rollout of the service: under way, or ended not long ago."""

    id: int
    phase: str
    is_open: bool
    goes_back: bool
    to_release_id: int
    to_release: str  # r7
    from_release: str
    since: datetime  # first write to the cluster, or the proposal
    ended_at: datetime | None = None

    @property
    def name(self) -> str:
        return f"RO-{self.id}"


@dataclass(frozen=True, slots=True)
class Replicas:
    """`troubles` are sentences about pods and nodes of the service."""

    wanted: int = 0
    serving: int = 0
    troubles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Consumer:
    """Tokens a minute of one tenant's class on the service, now and before."""

    tenant_id: int
    tenant: str
    traffic_class: str
    now: float
    before: float

    @property
    def growth(self) -> float:
        return max(self.now - self.before, 0.0)


@dataclass(frozen=True, slots=True)
class QuotaChange:
    at: datetime
    by: str
    told: str  # "tokens a minute 400,000 → 200,000"
    lowered: bool


@dataclass(frozen=True, slots=True)
class Facts:
    tenant_id: int
    tenant: str
    service: str
    traffic_class: str
    objective: Objective
    at: datetime
    now: Traffic
    before: Traffic = Traffic()
    releases: tuple[ReleaseTraffic, ...] = ()  # of the service, all tenants, now
    service_now: Traffic = Traffic()  # all tenants
    engines: Engines = Engines()
    moves: tuple[Move, ...] = ()
    replicas: Replicas = Replicas()
    consumers: tuple[Consumer, ...] = ()
    quota_changes: tuple[QuotaChange, ...] = ()
