"""Where one model name is answered: a service at home, and its placements in other clusters."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count

from fleet.models import TAKES_TRAFFIC, ObservedPod, Placement, Service
from fleet.queries.access import see_fleet
from fleet.rules.freshness import lost_because
from tenants.errors import NotFound
from tenants.rules.access import Viewer


@dataclass(frozen=True, slots=True)
class PlacementRow:
    """`lost`: why its cluster cannot be seen; empty: it can."""

    service_id: int
    service: str
    cluster: str
    region: str
    release: str
    replicas: int
    serving: int
    lost: str
    is_home: bool


def head_of(service: Service) -> Service:
    """Whose name clients call: the service itself, or the one that it is a placement of."""
    row = Placement.objects.select_related("service").filter(member=service).first()
    return row.service if row else service


def members_of(head: Service) -> list[Service]:
    """Home first, then the placements by position."""
    rows = Placement.objects.filter(service=head).order_by("position")
    related = rows.select_related("member__cluster", "member__current_release")
    return [head, *(row.member for row in related)]


def list_placements(viewer: Viewer, service_id: int, now: datetime) -> tuple[PlacementRow, ...]:
    """All clusters in which a name is answered, of whichever of them was asked. Alone: one row."""
    see_fleet(viewer)
    rows = Service.objects.select_related("cluster", "current_release")
    service = rows.filter(pk=service_id).first()
    if service is None:
        raise NotFound("There is no such service")
    head = rows.get(pk=head_of(service).pk)
    members = members_of(head)
    pods = ObservedPod.objects.filter(TAKES_TRAFFIC, deployment__service__in=members)
    serving = dict(pods.values_list("deployment__service").annotate(Count("pk")).order_by())
    return tuple(row_of(m, m.pk == head.pk, serving.get(m.pk, 0), now) for m in members)


def row_of(member: Service, is_home: bool, serving: int, now: datetime) -> PlacementRow:
    cluster = member.cluster
    return PlacementRow(
        service_id=member.pk,
        service=member.name,
        cluster=cluster.slug if cluster else "",
        region=cluster.region if cluster else "",
        release=str(member.current_release) if member.current_release else "",
        replicas=member.replicas,
        serving=serving,
        lost=lost_because(cluster.observed_at, cluster.trouble, now) if cluster else "",
        is_home=is_home,
    )


def placements_by_service() -> dict[int, tuple[str, ...]]:
    """For the routing snapshot: names in order of preference, by the id of the home."""
    found: dict[int, list[str]] = {}
    rows = Placement.objects.order_by("service", "position")
    for service_id, name in rows.values_list("service_id", "member__name"):
        found.setdefault(service_id, []).append(name)
    return {service_id: tuple(names) for service_id, names in found.items()}
