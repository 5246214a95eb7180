"""The usage event: one wide record a request, and the report of a gateway worker."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from gateway.contract.outcomes import Outcome, TrafficClass, UsageQuality

SCHEMA = 1
EVENT_TYPE = "quartermaster.usage.v1"  # CloudEvents `type` at the ingest door
# Of a copy whose answer no client got, with the same data. It is in no sum of usage: a door that
# does not know the type refuses the event, where an unknown field would have made it a request.
SHADOW_TYPE = "quartermaster.shadow.v1"
WAKING = "waking:"  # a modifier: milliseconds that the request waited for a service that slept
_WAKING = re.compile(rf"{WAKING}(\d{{1,9}})")


def waking_ms(modifiers: Iterable[str]) -> float | None:
    """None: the service was awake."""
    found = [match for text in modifiers if (match := _WAKING.fullmatch(text))]
    return float(found[0][1]) if found else None


class UsageEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to one request. Quantities only: money is the ledger's business.

    Times are microseconds since the epoch (UTC); durations are milliseconds, None when the
    request never got that far. Unauthenticated requests have no tenant and make no event.
    """

    schema: int = SCHEMA
    request_id: str  # UUIDv7, the billing key
    tenant_id: int
    application_id: int
    credential_id: int
    model: str  # as asked for
    adapter: str = ""  # the same name, where it is that of an adapter of the service's release
    service_id: int | None = None
    deployment_id: int | None = None
    release_id: int | None = None
    release: str = ""  # fingerprint that answered
    cluster: str = ""
    pod: str = ""
    traffic_class: TrafficClass
    outcome: Outcome
    reason: str = ""
    modifiers: tuple[str, ...] = ()  # "rerouted", "degraded:<why>", "waking:<milliseconds>" ...
    rerouted_from: str = ""
    stream: bool = False
    http_status: int
    finish_reason: str = ""
    usage_quality: UsageQuality = UsageQuality.NONE
    prompt_tokens: int = 0
    cached_tokens: int = 0  # part of prompt_tokens
    completion_tokens: int = 0
    started_at: int
    finished_at: int
    queue_ms: float | None = None  # for a seat; without what it waited for the service to wake
    ttft_ms: float | None = None
    itl_ms: float | None = None  # mean gap between tokens
    itl_p95_ms: float | None = None
    gpu_ms: int = 0  # time in the engine; on so many GPUs at once as `gpus` says
    worker: str = ""
    policy_version: int = 0
    routing_version: int = 0
    price_version: int = 0
    limit_versions: tuple[int, ...] = ()
    engine_id: str = ""
    demo: bool = False
    # Those that older gateways do not send come last: the door's digest leaves them out where they
    # say nothing, so that an event has one digest in every version.
    gpus: int = 1  # of the engine that answered, all its pods together
    gpu_product: str = ""  # empty: not known
    hosted: str = ""  # the provider that answered; empty: engines of the fleet


class PoolReport(msgspec.Struct, frozen=True, kw_only=True):
    in_flight: int
    queued: int
    limit: int


class WorkerReport(msgspec.Struct, frozen=True, kw_only=True):
    """Written every 2 s with a life of 15 s; drift of versions shows from it."""

    worker: str
    at: float
    policy_version: int
    routing_version: int
    in_flight: int
    spool_events: int  # not yet acknowledged by the ingest door
    spool_oldest_seconds: float
    pools: dict[str, PoolReport]
    flags: tuple[str, ...] = ()  # "degraded:quota", "degraded:policy" ...
    requests_total: int = 0
    resident_bytes: int = 0
    waking: dict[int, int] = {}  # requests that wait for services that sleep, by service
    started: float = 0.0  # of this process, which counts from 0
    # Usage events that it wrote, by the hour of their request's end since the epoch; the newest.
    events_by_hour: dict[int, int] = {}
