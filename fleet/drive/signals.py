"""Rounds over all engines: read their metrics, and ask some of them for one token."""

from collections.abc import Callable
from concurrent.futures import Executor
from datetime import datetime, timedelta
from typing import Protocol

import structlog
from django.db.models import Q, QuerySet

from fleet.actions.signals import store_probe, store_samples, take_probe
from fleet.clients.errors import ClientError
from fleet.clients.signals import OneToken
from fleet.models import ObservedPod
from fleet.queries.engines import still_engines
from fleet.rules.engine_metrics import EngineMetrics, read_metrics
from fleet.rules.probing import Probed, failed, frozen, judge

log = structlog.get_logger(__name__)
PROBE_EVERY = timedelta(seconds=30)


class Asked(Protocol):
    """What a round asks of engines. The fake of the tests has the same methods."""

    def metrics(self, address: str) -> str: ...
    def one_token(self, address: str, model: str) -> OneToken: ...


def scrape(engines: Asked, pool: Executor, now: datetime) -> int:
    """One sample of every engine that runs. Answers how many gave one; absent is no sample."""
    pods = list(running_pods())
    read = pool.map(lambda pod: metrics_of(engines, pod), pods)
    found = [(pod, metrics) for pod, metrics in zip(pods, read, strict=True) if metrics]
    stored = store_samples(found, now)
    take_frozen_out([pod for pod, m in found if m.running and m.steps is not None], now)
    return stored


def take_frozen_out(busy: list[ObservedPod], now: datetime) -> None:
    """An engine that stands still while requests run counts as one that fails its probes."""
    still = still_engines([pod.uid for pod in busy if pod.admitted], now) if busy else {}
    for pod in busy:
        told = frozen(still[pod.uid]) if pod.uid in still else ""
        if told and take_probe(pod, now):
            store_probe(pod, failed(told), now)
            log.warning("engine stands still", pod=pod.name, why=told)


def metrics_of(engines: Asked, pod: ObservedPod) -> EngineMetrics | None:
    try:
        return read_metrics(engines.metrics(pod.address))
    except ClientError as error:
        log.info("no metrics", pod=pod.name, why=error.message)
        return None


def probe(
    engines: Asked, pool: Executor, now: datetime, clock: Callable[[], datetime] | None = None
) -> int:
    """Ask each admitted engine for one token, every half minute. Answers how many were asked."""
    due = Q(probed_at=None) | Q(probed_at__lte=now - PROBE_EVERY)
    pods = [p for p in running_pods().filter(due, admitted=True) if take_probe(p, now)]
    for pod, result in zip(pods, pool.map(lambda p: ask(engines, p), pods), strict=True):
        store_probe(pod, result, clock() if clock else now)
        if not result.passed:
            log.warning("probe failed", pod=pod.name, why=result.told)
    return len(pods)


def ask(engines: Asked, pod: ObservedPod) -> Probed:
    assert pod.deployment is not None
    try:
        answer = engines.one_token(pod.address, pod.deployment.service.name)
    except ClientError as error:
        return failed(error.message)
    return judge(
        expected=pod.deployment.release.fingerprint,
        fingerprint=answer.fingerprint,
        finish_reason=answer.finish_reason,
        milliseconds=answer.milliseconds,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
    )


def running_pods() -> QuerySet[ObservedPod]:
    rows = ObservedPod.objects.filter(ready=True, terminating=False).exclude(address="")
    rows = rows.exclude(deployment=None).order_by("id")
    return rows.select_related("deployment__service", "deployment__release")
