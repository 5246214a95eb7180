"""What Kubernetes itself said while a rollout went on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from fleet.models import ObservedEvent, Rollout
from fleet.queries.services import PodRow

MOST_EVENTS = 40


@dataclass(frozen=True, slots=True)
class ClusterEventRow:
    at: datetime
    kind: str
    name: str
    reason: str
    message: str
    warning: bool
    count: int


def cluster_events(
    r: Rollout, pods: Sequence[PodRow], placed: Sequence[str]
) -> tuple[ClusterEventRow, ...]:
    """Kubernetes' own events about the pods and Deployments of both releases."""
    about = Q(name__in=[p.name for p in pods])
    for name in placed:
        about |= Q(name__startswith=name)
    since = r.started_at or r.created_at
    rows = ObservedEvent.objects.filter(about, cluster=r.cluster_id, at__gte=since)
    rows = rows.filter(at__lte=r.ended_at) if r.ended_at else rows
    return tuple(
        ClusterEventRow(e.at, e.kind, e.name, e.reason, e.message, e.warning, e.count)
        for e in rows.order_by("-at")[:MOST_EVENTS]
    )
