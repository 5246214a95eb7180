"""What engines said, written down: samples of their metrics, and results of probes."""

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import F

from fleet.models import EngineProbe, EngineSample, ObservedPod
from fleet.rules.engine_metrics import EngineMetrics
from fleet.rules.probing import OUT_AFTER, Probed
from tenants.nudge import nudge

PUBLISH = "fleet.tasks.publish_routing"


def store_samples(samples: Sequence[tuple[ObservedPod, EngineMetrics]], now: datetime) -> int:
    """Keep one sample of each engine; `pod.deployment` is loaded."""
    rows = [
        EngineSample(
            pod_uid=pod.uid,
            service_id=pod.deployment.service_id,
            release_id=pod.deployment.release_id,
            at=now,
            running=found.running,
            waiting=found.waiting,
            kv_usage=found.kv_usage,
            preemptions=found.preemptions,
            prompt_tokens=found.prompt_tokens,
            generation_tokens=found.generation_tokens,
            cached_tokens=found.cached_tokens,
            steps=found.steps,
        )
        for pod, found in samples
        if pod.deployment is not None
    ]
    EngineSample.objects.bulk_create(rows)
    return len(rows)


def take_probe(pod: ObservedPod, now: datetime) -> bool:
    """Mark the pod as probed now, unless another observer was faster."""
    rows = ObservedPod.objects.filter(pk=pod.pk, probed_at=pod.probed_at)
    return bool(rows.update(probed_at=now))


@transaction.atomic
def store_probe(pod: ObservedPod, result: Probed, now: datetime) -> None:
    """Count passes or failures in a row; ring the publisher when the pod leaves or returns."""
    if pod.deployment is None:
        return
    EngineProbe.objects.create(
        pod_uid=pod.uid,
        service_id=pod.deployment.service_id,
        at=now,
        passed=result.passed,
        milliseconds=result.milliseconds,
        prompt_tokens=result.prompt_tokens,
        completion_tokens=result.completion_tokens,
        told=result.told,
    )
    rows = ObservedPod.objects.filter(pk=pod.pk)
    if result.passed:
        rows.update(probe=result.told, probe_passes=F("probe_passes") + 1, probe_failures=0)
    else:
        rows.update(probe=result.told, probe_passes=0, probe_failures=F("probe_failures") + 1)
    leaves = not result.passed and pod.probe_failures + 1 == OUT_AFTER
    if leaves or (result.passed and pod.probe_failures >= OUT_AFTER):
        nudge(PUBLISH)
