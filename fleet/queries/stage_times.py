"""When stages of sequences may begin, with the whole change calendar read once."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from fleet.models import Freeze, Service
from fleet.queries.access import see_fleet
from fleet.queries.freezes import windows_over
from fleet.rules.stage_times import Opening, opening
from tenants.rules.access import Viewer


@dataclass(frozen=True, slots=True)
class Calendar:
    freezes: tuple[Freeze, ...]
    now: datetime

    def opening(
        self, service_id: int, cluster_id: int | None, begins_from: datetime | None = None
    ) -> Opening:
        mine = windows_over(self.freezes, service_id, cluster_id)
        return opening(begins_from, tuple(mine.values()), self.now)


def calendar_at(now: datetime) -> Calendar:
    return Calendar(tuple(Freeze.objects.filter(closed_at=None)), now)


def list_openings(
    viewer: Viewer, service_ids: Iterable[int], now: datetime
) -> tuple[tuple[str, Opening], ...]:
    """By cluster, those in which the calendar lets no rollout begin now."""
    see_fleet(viewer)
    calendar = calendar_at(now)
    rows = Service.objects.select_related("cluster").filter(pk__in=list(service_ids))
    found = ((str(s.cluster), calendar.opening(s.pk, s.cluster_id)) for s in rows.order_by("pk"))
    return tuple((cluster, one) for cluster, one in found if one.why)
