"""What rollouts held on top of what served before them."""

from dataclasses import dataclass
from datetime import datetime

from fleet.models import RolloutGpuTime
from fleet.queries.access import see_fleet
from tenants.rules.access import Permission, Viewer


@dataclass(frozen=True, slots=True)
class RolloutHour:
    """GPU-milliseconds of one product in one hour, with what tells the rollout."""

    rollout_id: int
    service: str
    cluster: str
    phase: str
    started_at: datetime
    ended_at: datetime | None
    hour: datetime
    product: str
    gpu_ms: int


def rollout_hours(
    viewer: Viewer,
    start: datetime | None = None,
    end: datetime | None = None,
    *,
    rollout_id: int | None = None,
) -> list[RolloutHour]:
    """Of the hours in [start, end), the newest rollout first; or all of one rollout. Who sees the
    fleet's money sees what it went to."""
    if not viewer.may(Permission.VIEW_MONEY):
        see_fleet(viewer)
    rows = RolloutGpuTime.objects.all()
    if rollout_id is not None:
        rows = rows.filter(rollout_id=rollout_id)
    if start is not None and end is not None:
        rows = rows.filter(hour__gte=start, hour__lt=end)
    names = (
        "rollout_id", "rollout__service__name", "rollout__cluster__slug", "rollout__phase",
        "rollout__started_at", "rollout__ended_at", "hour", "gpu_product", "gpu_ms",
    )  # fmt: skip
    found = rows.order_by("-rollout_id", "hour", "gpu_product").values_list(*names)
    return [RolloutHour(*row) for row in found]
