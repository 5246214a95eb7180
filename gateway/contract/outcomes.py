"""What became of one request, and why it was refused: both are closed lists."""

from enum import StrEnum


class Outcome(StrEnum):
    """One terminal value a request. The order is the precedence when several apply."""

    REJECTED = "rejected"  # about this tenant: invalid, auth, policy, rate, budget
    SHED = "shed"  # capacity: would have been allowed
    TIMED_OUT = "timed_out"  # queue time or upstream deadline
    CANCELLED = "cancelled"  # the client left, or lost the right to go on
    FAILED = "failed"  # upstream error
    DEGRADED = "degraded"  # served under an emergency limit or a lower tier
    REROUTED = "rerouted"  # served by a fallback pool
    SERVED = "served"


ANSWERED = frozenset({Outcome.SERVED, Outcome.REROUTED, Outcome.DEGRADED})


class Reason(StrEnum):
    """Why a request did not end as `served`. Empty text for served ones."""

    NONE = ""
    INVALID = "invalid"
    TOO_LARGE = "too_large"
    AUTH = "auth"
    EXPIRED = "expired"
    SCOPE = "scope"
    UNKNOWN_MODEL = "unknown_model"
    POLICY = "policy"
    SUSPENDED = "suspended"
    RPM = "rpm"
    TPM = "tpm"
    CONCURRENCY = "concurrency"
    BUDGET = "budget"
    BUDGET_UNVERIFIABLE = "budget_unverifiable"
    GATEWAY_FULL = "gateway_full"
    POOL_FULL = "pool_full"
    NO_ENDPOINT = "no_endpoint"
    OUTSIDE_POLICY = "outside_policy"  # engines answer, none where the tenant's data may go
    ROOM_FULL = "room_full"  # the service sleeps, and as many as may wait for it do
    WAKING = "waking"  # it slept, and did not answer as long as one may wait
    METERING = "metering"
    NOT_READY = "not_ready"
    QUEUE_TIME = "queue_time"
    UPSTREAM_TIME = "upstream_time"
    CLIENT_LEFT = "client_left"
    UPSTREAM_ERROR = "upstream_error"
    UPSTREAM_ABORT = "upstream_abort"
    ENGINE_REFUSED = "engine_refused"
    QUOTA_STORE = "quota_store"
    WORKER_LOST = "worker_lost"
    INTERNAL = "internal"  # a fault of the gateway itself


class UsageQuality(StrEnum):
    """Where the token counts of a usage event come from, best first."""

    FINAL = "final"  # the engine's closing usage
    CONTINUOUS = "continuous"  # the last running usage before the stream ended
    CHECKPOINT = "checkpoint"  # the last heartbeat of a worker that died
    ESTIMATED = "estimated"
    NONE = "none"  # nothing was computed


class TrafficClass(StrEnum):
    """Bound to the credential; a request may ask for a lower class, never for a higher one."""

    CRITICAL = "critical"
    INTERACTIVE = "interactive"
    BATCH = "batch"


CLASS_RANK = {TrafficClass.CRITICAL: 0, TrafficClass.INTERACTIVE: 1, TrafficClass.BATCH: 2}
