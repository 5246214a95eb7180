"""What the GPUs of the fleet did, hour by hour: where cost attribution starts from."""

from dataclasses import dataclass
from datetime import datetime

from fleet.models import GpuTime


@dataclass(frozen=True, slots=True)
class GpuHour:
    """GPU-milliseconds of one hour in one state. Those of an hour add up to GPUs x seen time."""

    cluster_id: int
    cluster: str
    product: str
    state: str  # GpuTime.State
    service_id: int | None
    service: str
    gpu_ms: int
    node_pool: str = ""
    capacity: str = ""
    profile: str = ""


def gpu_hours(hour: datetime) -> list[GpuHour]:
    rows = GpuTime.objects.filter(hour=hour).order_by(
        "cluster_id", "gpu_product", "state", "service_id"
    )
    return [
        GpuHour(cluster_id, cluster, product, state, service_id, service or "", gpu_ms)
        for cluster_id, cluster, product, state, service_id, service, gpu_ms in rows.values_list(
            "cluster_id",
            "cluster__slug",
            "gpu_product",
            "state",
            "service_id",
            "service__name",
            "gpu_ms",
        )
    ]


def observed_hours(start: datetime, end: datetime) -> list[datetime]:
    """Hours in [start, end) of which at least one cluster was observed."""
    rows = GpuTime.objects.filter(hour__gte=start, hour__lt=end)
    return list(rows.values_list("hour", flat=True).distinct().order_by("hour"))
