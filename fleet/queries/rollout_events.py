"""What Kubernetes itself said while a rollout went on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

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
    names = [p.name for p in pods]
    since = r.started_at or r.created_at
    rows = ObservedEvent.objects.filter(cluster=r.cluster_id, at__gte=since).order_by("-at")
    prefixes = tuple(placed)
    found = [e for e in rows[:400] if e.name in names or e.name.startswith(prefixes)]
    return tuple(
        ClusterEventRow(e.at, e.kind, e.name, e.reason, e.message, e.warning, e.count)
        for e in found[:MOST_EVENTS]
    )
