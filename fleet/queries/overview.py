"""What needs a person, in the order of urgency, and the numbers of now."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.db import connection
from django.db.models import Q, Sum

from fleet.models import Finding, TrafficSlot
from fleet.queries.clusters import ClusterRow, NodeRow, list_clusters, nodes_out
from fleet.queries.drills import DrillAge, DrillFault, drill_needs
from fleet.queries.node_drift import NodeDriftRow, list_node_drift
from fleet.queries.queue import ClusterQueue, list_queues
from fleet.queries.rollouts import RolloutRow, current_rollouts
from fleet.queries.service_states import Health, ServiceState, list_states
from fleet.rules.calls import REFUSED_BACK
from fleet.rules.drift import Sync
from fleet.rules.phases import FINAL, Phase
from fleet.rules.traffic import DASHBOARD_SECONDS, slot_of
from tenants.queries.changes import list_changes
from tenants.queries.directory import tenant_refs
from tenants.rules.access import Permission, Viewer

ROLLED_BACK_FOR = timedelta(hours=24)
NODES_NAMED = 5  # more lost nodes than this are one line
DRILLS_NAMED = 3


class Urgency(StrEnum):
    NOW = "now"  # hurts tenants now
    SOON = "soon"  # will hurt them
    PERSON = "person"  # waits for somebody


@dataclass(frozen=True, slots=True)
class Attention:
    """One line of the list. `kind` and `key` name the object to open; of a finding, its service."""

    urgency: Urgency
    kind: str  # finding, service, rollout, change, node, cluster, drill, drills
    key: str
    title: str
    why: str
    since: datetime | None
    tenants: tuple[str, ...] = ()
    until: datetime | None = None
    traffic_class: str = ""  # of a finding


@dataclass(frozen=True, slots=True)
class Overview:
    """The parts of the fleet stay empty for those who may not see it."""

    attention: tuple[Attention, ...]
    clusters: tuple[ClusterRow, ...] = ()
    services: tuple[ServiceState, ...] = ()
    rollouts: tuple[RolloutRow, ...] = ()  # open ones
    queues: tuple[ClusterQueue, ...] = ()  # where one of them waits for another


@dataclass(frozen=True, slots=True)
class FleetCounts:
    """Numbers beside the navigation. Findings are those that the scope shows."""

    open_findings: int
    open_rollouts: int = 0
    nodes_out: int = 0
    waiting_changes: int = 0
    clusters: int = 0
    observed_at: datetime | None = None  # the oldest picture of a cluster


def fleet_counts(viewer: Viewer) -> FleetCounts:
    """One statement: every page asks for it."""
    if not viewer.may(Permission.VIEW_FLEET):
        return FleetCounts(Finding.objects.filter(ended_at=None).count())
    with connection.cursor() as cursor:
        cursor.execute(COUNTS, {"ended": [p.value for p in FINAL]})
        return FleetCounts(*cursor.fetchone())


# In the order of the fields of FleetCounts.
COUNTS = """
    SELECT (SELECT count(*) FROM finding WHERE ended_at IS NULL),
           (SELECT count(*) FROM rollout WHERE phase <> ALL(%(ended)s)),
           (SELECT count(*) FROM node JOIN cluster ON cluster.id = node.cluster_id
             WHERE removed_at IS NULL AND gpus_allocatable > 0 AND (NOT ready OR cordoned)),
           (SELECT count(*) FROM change_request WHERE state = 'waiting'),
           (SELECT count(*) FROM cluster WHERE removed_at IS NULL),
           (SELECT min(observed_at) FROM cluster WHERE removed_at IS NULL)
"""


def get_overview(viewer: Viewer, now: datetime) -> Overview:
    findings = open_findings(now)
    if not viewer.may(Permission.VIEW_FLEET):
        return Overview(tuple(findings))
    services = list_states(viewer, now)
    clusters = list_clusters(viewer, now)
    rollouts = current_rollouts(viewer, now - ROLLED_BACK_FOR)
    faults, overdue = drill_needs(viewer, now)
    changes = list(list_changes(viewer, state="waiting"))
    attention = [
        *findings,
        *troubled_services(services),
        *troubled_rollouts(rollouts, now),
        *troubled_clusters(clusters, services),
        *troubled_nodes(nodes_out(viewer)),
        *changed_nodes(list_node_drift(viewer)),
        *failed_drills(faults),
        *overdue_drills(overdue),
        *waiting_changes(viewer, changes),
    ]
    moving = tuple(r for r in rollouts if r.is_open)
    queues = list_queues(viewer, {c.pk for c in changes}) if len(moving) > 1 else ()
    return Overview(tuple(attention), clusters, services, moving, queues)


def outcomes(
    viewer: Viewer, start: datetime, end: datetime, before: timedelta
) -> tuple[dict[str, int], dict[str, int]]:
    """Requests by outcome that the viewer's scope shows, in whole 5 min slots; and `before`."""
    first = slot_of(start, DASHBOARD_SECONDS)
    now = Q(slot__gte=first, slot__lt=end)
    then = Q(slot__gte=first - before, slot__lt=end - before)
    slots = TrafficSlot.objects.filter(now | then, seconds=DASHBOARD_SECONDS)
    rows = slots.values_list("outcome").order_by("outcome")
    sums = rows.annotate(now=Sum("requests", filter=now), then=Sum("requests", filter=then))
    found = list(sums)
    return {o: int(n or 0) for o, n, _ in found}, {o: int(n or 0) for o, _, n in found}


def open_findings(now: datetime) -> list[Attention]:
    rows = list(Finding.objects.filter(ended_at=None).values_list(*TOLD, named=True))
    names = tenant_refs({row.tenant_id for row in rows}) if rows else {}
    return [
        Attention(
            Urgency.NOW,
            "finding",
            row.service__name,
            f"{row.service__name}: {SYMPTOMS.get(row.symptom, row.symptom)}, {row.traffic_class}",
            row.sentence,
            row.started_at,
            (names[row.tenant_id].slug,),
            traffic_class=row.traffic_class,
        )
        for row in sorted(rows, key=lambda r: (-r.affected, r.started_at))
        if row.tenant_id in names
    ]


TOLD = (
    "tenant_id", "service__name", "traffic_class", "symptom", "sentence", "started_at", "affected",
)  # fmt: skip
SYMPTOMS = {
    "errors": "requests fail",
    "shed": "requests are shed",
    "rejected": "requests are rejected",
    "ttft": "the first token is late",
    "itl": "tokens come slowly",
}


def troubled_services(services: Iterable[ServiceState]) -> list[Attention]:
    found = []
    for s in services:
        if s.health is Health.DOWN and not s.rollout_id:
            why = f"0 of {s.replicas} wanted replicas take traffic: every request to it is refused"
            found.append(Attention(Urgency.NOW, "service", s.name, f"{s.name} is down", why, None))
        elif s.sync is Sync.DRIFTED and not s.is_moving and not s.edits:
            title = f"{s.name} is not as wanted"
            found.append(Attention(Urgency.SOON, "service", s.name, title, s.why[0], None))
        if s.edits:
            title = f"{s.name} was changed in the cluster"
            why = f"{s.edits[0]}. Repair or adopt it"
            found.append(Attention(Urgency.PERSON, "service", s.name, title, why, None))
    return found


def troubled_rollouts(rollouts: Sequence[RolloutRow], now: datetime) -> list[Attention]:
    """Blocked, paused and failing ones, and those that are hindered; then those that went back."""
    stuck, since = (Phase.ROLLBACK_BLOCKED, Phase.PAUSED), now - REFUSED_BACK
    hindered = {r.id for r in rollouts if r.hindered_since and r.hindered_since <= since}
    open_ones = [r for r in rollouts if r.is_open]
    found = [r for r in open_ones if r.phase in stuck or r.failures or r.id in hindered]
    went_back = [r for r in rollouts if not r.is_open]
    return [rollout_attention(r) for r in (*found, *went_back)]


def rollout_attention(r: RolloutRow) -> Attention:
    urgency = Urgency.NOW if r.phase == Phase.ROLLBACK_BLOCKED else Urgency.PERSON
    words = {
        Phase.ROLLBACK_BLOCKED: "cannot go back by itself",
        Phase.PAUSED: "is paused",
        Phase.ROLLED_BACK: "was rolled back",
    }
    told = words.get(Phase(r.phase), "makes no progress")
    title = f"{r.label} {r.service} {r.to_label} {told}"
    why = r.why or (r.failure.splitlines() or [""])[-1]
    return Attention(urgency, "rollout", str(r.id), title, why, r.ended_at or r.phase_since)


def troubled_clusters(
    clusters: Iterable[ClusterRow], services: Sequence[ServiceState]
) -> list[Attention]:
    placed = Counter(s.cluster for s in services)
    found = []
    for c in clusters:
        if c.stale:
            why = f"{c.stale}. What it runs goes on; the console cannot change or see it"
            what = f" ({placed[c.slug]} services)" if placed[c.slug] else ""
            title = f"Cluster {c.slug} is out of sight{what}"
            found.append(Attention(Urgency.SOON, "cluster", c.slug, title, why, c.observed_at))
        if c.denied:
            title = f"The console lacks {c.denied} permission{'s' * (c.denied > 1)} in {c.slug}"
            why = "Rollouts there will be refused: apply the roles that the cluster's page prints"
            found.append(Attention(Urgency.SOON, "cluster", c.slug, title, why, None))
    return found


def troubled_nodes(nodes: Sequence[NodeRow]) -> list[Attention]:
    if len(nodes) > NODES_NAMED:
        gpus = sum(n.gpus.allocatable for n in nodes)
        title = f"{len(nodes)} nodes are out of service"
        why = f"{gpus} GPUs take no new replica"
        since = min(n.changed_at for n in nodes)
        return [Attention(Urgency.SOON, "nodes", "out", title, why, since)]
    return [
        Attention(
            Urgency.SOON,
            "nodes",
            "out",
            f"Node {n.cluster}/{n.name} is out of service",
            f"{n.trouble or 'It is cordoned'}; its {n.gpus.allocatable} {n.gpu_product} take no"
            " new replica",
            n.changed_at,
        )
        for n in nodes
    ]


def changed_nodes(drifts: Sequence[NodeDriftRow]) -> list[Attention]:
    """One line for all: a relabelled pool is one thing to decide."""
    if not drifts:
        return []
    names = sorted({f"{d.cluster}/{d.node}" for d in drifts})
    are = "nodes were" if len(names) > 1 else "node was"
    more = f" and {len(drifts) - 1} more" if len(drifts) > 1 else ""
    first = drifts[0]
    why = f"{first.cluster}/{first.node}: {first.sentence}{more}. {first.meaning}"
    title = f"{len(names)} {are} changed in the cluster"
    return [Attention(Urgency.PERSON, "nodes", "", title, why, first.found_at)]


def failed_drills(faults: Iterable[DrillFault]) -> list[Attention]:
    return [
        Attention(
            Urgency.PERSON, "drill", str(f.drill_id),
            f"DR-{f.drill_id} {f.service}: the drill failed", f.why, f.at,
        )
        for f in faults
    ]  # fmt: skip


def overdue_drills(ages: Sequence[DrillAge]) -> list[Attention]:
    """One line for all, the one that waited longest first."""
    if not ages:
        return []
    names = ", ".join(f"{a.service} {told_of(a)}" for a in ages[:DRILLS_NAMED])
    more = f" and {len(ages) - DRILLS_NAMED} more" if len(ages) > DRILLS_NAMED else ""
    many = f"{len(ages)} services are" if len(ages) > 1 else f"{ages[0].service} is"
    why = f"Nobody knows how they would go back now: {names}{more}"
    title = f"{many} overdue for a drill"
    return [Attention(Urgency.PERSON, "drills", "", title, why, None)]


def told_of(age: DrillAge) -> str:
    return f"since {age.last:%Y-%m-%d}" if age.last else "never drilled"


def waiting_changes(viewer: Viewer, changes: Iterable[Any]) -> list[Attention]:
    """Of change requests that nobody decided."""
    found = []
    for change in changes:
        own = change.requester_id == viewer.user_id
        may = viewer.may(Permission.APPROVE) and not own
        who = "you may decide" if may else "somebody other than the author decides"
        reason = f" “{change.reason}”" if change.reason else ""
        found.append(
            Attention(
                Urgency.PERSON,
                "change",
                str(change.pk),
                f"{change.title} waits for approval",
                f"Proposed by {change.requester}; {who}.{reason}",
                change.created_at,
                until=change.expires_at,
            )
        )
    return found
