"""What each replica does now, as its own metrics said last."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from fleet.models import EngineSample

OLDEST = timedelta(minutes=5)  # older words are of another time


@dataclass(frozen=True, slots=True)
class PodLoad:
    """None: the engine's metrics have no such figure."""

    at: datetime
    running: float | None  # requests
    waiting: float | None
    kv_usage: float | None  # 0 to 1 of its cache


def loads_of(service_ids: Iterable[int], now: datetime) -> Mapping[str, PodLoad]:
    """By uid of the pod, of those that gave a sample lately."""
    since = now - OLDEST
    rows = EngineSample.objects.filter(service__in=list(service_ids), at__gt=since, at__lte=now)
    newest = rows.order_by("pod_uid", "-at").distinct("pod_uid")
    found = newest.values_list("pod_uid", "at", "running", "waiting", "kv_usage")
    return {uid: PodLoad(at, *figures) for uid, at, *figures in found}
