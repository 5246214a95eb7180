"""One usage event a request: built here, written to the spool, settled in the quota store."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import Any

import msgspec

from gateway.contract.outcomes import ANSWERED, Outcome, Reason, UsageQuality
from gateway.contract.routing import provider_of
from gateway.contract.usage import EVENT_TYPE, SHADOW_TYPE, WAKING, UsageEvent
from gateway.counters import Counters
from gateway.estimate import Estimator
from gateway.exchange import Exchange
from gateway.limits.limiter import Checkpoint, Limiter
from gateway.spool import Lost, Spool

log = logging.getLogger("gateway.metering")


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True):
    """CloudEvents 1.0, as the ingest door takes them."""

    specversion: str = "1.0"
    id: str
    source: str
    type: str = EVENT_TYPE
    time: str  # RFC 3339
    data: UsageEvent


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(CloudEvent)
_checkpoints = msgspec.json.Decoder(Checkpoint)


class Meter:
    def __init__(
        self,
        worker: str,
        spool: Spool,
        limiter: Limiter,
        estimator: Estimator,
        counters: Counters,
    ) -> None:
        self.worker = worker
        self._spool, self._limiter = spool, limiter
        self._estimator, self._counters = estimator, counters
        self.live: dict[str, Exchange] = {}  # admitted and not yet ended

    def intent(self, exchange: Exchange) -> bytes:
        """What to report if this worker dies before the request ends."""
        event = build_event(
            exchange,
            worker=self.worker,
            finished_us=exchange.started_us,
            ended=(Outcome.FAILED, Reason.WORKER_LOST, 502),
        )
        return self._encode(event)

    def admit(self, exchange: Exchange, intent: bytes) -> None:
        """Note an admitted request before any engine hears of it; raises SpoolError."""
        self._spool.intend(exchange.id, intent)
        self.live[exchange.id] = exchange

    def finish(self, exchange: Exchange, now: float) -> None:
        """Report the request, exactly once. `now`: seconds of the loop's clock."""
        if exchange.is_reported:
            return
        exchange.is_reported = True
        self.live.pop(exchange.id, None)
        outcome = exchange.outcome or Outcome.FAILED
        reason = exchange.reason if exchange.outcome else Reason.INTERNAL
        duration_us = int((now - exchange.started) * 1e6)
        event = build_event(
            exchange,
            worker=self.worker,
            finished_us=exchange.started_us + duration_us,
            ended=(outcome, reason, exchange.status or 500),
            now=now,
        )
        self._spool.finish(exchange.id, self._encode(event))
        self._counters.ended(outcome, reason)
        self._counters.reported(event.finished_at)
        self._settle(exchange)
        if outcome in ANSWERED and exchange.asked and event.usage_quality is UsageQuality.FINAL:
            self._estimator.learn(
                exchange.asked,
                exchange.tenant_id,
                prompt=event.prompt_tokens,
                completion=event.completion_tokens,
            )

    def finish_copy(self, exchange: Exchange, now: float) -> None:
        """Report what became of a copy: nothing was reserved for it, and nobody is billed."""
        duration_us = int((now - exchange.started) * 1e6)
        outcome = exchange.outcome or Outcome.FAILED
        reason = exchange.reason if exchange.outcome else Reason.INTERNAL
        event = build_event(
            exchange,
            worker=self.worker,
            finished_us=exchange.started_us + duration_us,
            ended=(outcome, reason, exchange.status or 500),
            now=now,
        )
        self._spool.finish(exchange.id, self._encode(event, SHADOW_TYPE))

    @property
    def is_full(self) -> bool:
        """Whether only what must be kept still has room."""
        return self._spool.is_full

    def _settle(self, exchange: Exchange) -> None:
        if exchange.reservation is None:
            return
        self._limiter.settle_soon(
            exchange.reservation,
            exchange.checkpoint(),
            release=exchange.dispatched_at is None,
        )

    def report_lost(self, lost: Lost) -> UsageEvent | None:
        """Report a request of a worker that died, with what its last checkpoint says."""
        try:
            intent = _decoder.decode(lost.intent)
            checkpoint = _checkpoints.decode(lost.checkpoint) if lost.checkpoint else None
        except msgspec.MsgspecError as error:
            log.error("an intent cannot be read and is given up: %s", error)
            return None
        event = intent.data
        if checkpoint is not None:
            event = msgspec.structs.replace(
                event,
                finished_at=max(event.started_at, checkpoint.at),
                prompt_tokens=checkpoint.prompt_tokens,
                cached_tokens=checkpoint.cached_tokens,
                completion_tokens=checkpoint.completion_tokens,
                usage_quality=UsageQuality.CHECKPOINT,
            )
        found = CloudEvent(id=event.request_id, source=intent.source, time=intent.time, data=event)
        self._spool.finish(event.request_id, _encoder.encode(found))
        self._counters.ended(event.outcome, Reason(event.reason))
        return event

    def read(self, raw: bytes) -> UsageEvent | None:
        """Read back a request of an earlier life of this worker; None: a copy, or damaged."""
        try:
            found = _decoder.decode(raw)
        except msgspec.MsgspecError as error:
            log.error("an event in the spool cannot be read: %s", error)
            return None
        return found.data if found.type == EVENT_TYPE else None

    def _encode(self, event: UsageEvent, kind: str = EVENT_TYPE) -> bytes:
        at = datetime.fromtimestamp(event.started_at / 1e6, UTC)
        return _encoder.encode(
            CloudEvent(
                id=event.request_id,
                source=f"gateway/{self.worker}",
                type=kind,
                time=at.isoformat().replace("+00:00", "Z"),
                data=event,
            )
        )

    def checkpoint(self, exchange: Exchange) -> Checkpoint:
        """Keep how far a running request has come, in case this worker dies."""
        checkpoint = exchange.checkpoint(int(time.time() * 1e6))
        self._spool.checkpoint(exchange.id, _encoder.encode(checkpoint))
        return checkpoint


def build_event(
    exchange: Exchange,
    *,
    worker: str,
    finished_us: int,
    ended: tuple[Outcome, Reason, int],
    now: float | None = None,
) -> UsageEvent:
    outcome, reason, status = ended
    context, observed = exchange.context, exchange.observed
    modifiers = list(exchange.modifiers)
    if exchange.waking:
        modifiers.append(f"{WAKING}{round(exchange.waking * 1000)}")
    if exchange.rerouted_from and outcome is not Outcome.REROUTED:
        modifiers.append("rerouted")
    return UsageEvent(
        request_id=exchange.id,
        tenant_id=context.tenant.id,
        application_id=context.key.application_id,
        credential_id=context.key.id,
        model=exchange.model,
        adapter=exchange.adapter,
        **_place(exchange),
        traffic_class=exchange.traffic_class,
        outcome=outcome,
        reason=reason.value,
        modifiers=tuple(modifiers),
        rerouted_from=exchange.rerouted_from,
        stream=exchange.asked.stream if exchange.asked else False,
        http_status=status,
        finish_reason=observed.finish_reason,
        usage_quality=observed.quality,
        prompt_tokens=observed.prompt,
        cached_tokens=observed.cached,
        completion_tokens=observed.completion,
        started_at=exchange.started_us,
        finished_at=finished_us,
        **_timings(exchange, now),
        worker=worker,
        policy_version=context.policy.document.version,
        routing_version=exchange.routing_version,
        price_version=exchange.price.version if exchange.price else 0,
        limit_versions=tuple(limit.version for limit in exchange.limits),
        engine_id=observed.engine_id,
        demo=context.tenant.demo,
    )


def _place(exchange: Exchange) -> dict[str, Any]:
    """Where the request went, as far as it got."""
    place: dict[str, Any] = {"service_id": exchange.service.id if exchange.service else None}
    if exchange.seat is not None:
        pool = exchange.seat.pool
        place |= {
            "deployment_id": pool.deployment_id,
            "release_id": pool.release_id,
            "release": pool.release,
            "cluster": pool.cluster,
            "pod": exchange.seat.endpoint.pod,
            "gpus": exchange.seat.endpoint.gpus,
            "gpu_product": exchange.seat.endpoint.gpu_product,
            "hosted": provider_of(pool),
        }
    return place


def _timings(exchange: Exchange, now: float | None) -> dict[str, Any]:
    observed = exchange.observed
    return {
        "queue_ms": _queue_ms(exchange, now),
        "ttft_ms": _milliseconds(exchange.started, observed.first_at),
        "itl_ms": _mean_itl(exchange),
        "itl_p95_ms": _p95(observed.gaps),
        "gpu_ms": int(_milliseconds(exchange.dispatched_at, now) or 0),
    }


def _queue_ms(exchange: Exchange, now: float | None) -> float | None:
    """Wait between the reservation and the first seat, or until the request gave up.

    What a service needed to wake is no queue, and has its own modifier.
    """
    start, until = exchange.reserved_at, exchange.first_seated_at
    began = start + exchange.waking if start is not None else None
    return _milliseconds(began, until if until is not None else now)


def _milliseconds(start: float | None, end: float | None) -> float | None:
    if start is None or end is None:
        return None
    return round(max(0.0, end - start) * 1000, 3)


def _mean_itl(exchange: Exchange) -> float | None:
    observed = exchange.observed
    gaps = observed.completion // max(1, exchange.asked.choices if exchange.asked else 1) - 1
    if observed.first_at is None or gaps < 1:
        return None
    return round((observed.last_at - observed.first_at) * 1000 / gaps, 3)


def _p95(gaps: list[float]) -> float | None:
    if not gaps:
        return None
    ordered = sorted(gaps)
    return round(ordered[int(0.95 * (len(ordered) - 1))] * 1000, 3)
