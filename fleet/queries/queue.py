"""Which rollout of a cluster waits for which: GPUs do not suffice for all of them at once."""

from collections import defaultdict
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum

from django.utils import timezone

from fleet.models import Cluster, Rollout
from fleet.queries.access import see_fleet
from fleet.queries.freezes import kept_back
from fleet.queries.situations import (
    NOT_STARTED,
    ahead_of,
    is_later,
    needs_of,
    quotas_of,
    rooms_of,
    takes_on_top,
)
from fleet.rules.phases import FINAL, Phase
from fleet.rules.queue import alike, waits
from tenants.queries.changes import undecided
from tenants.rules.access import Viewer

# Of rollouts, which have large JSON besides.
READ = (
    "plan", "phase", "why", "change_id", "started_at", "is_rollback", "manifest_digest",
    "cluster__slug", "cluster__quotas", "cluster__kueue", "service__name", "to_release__number",
)  # fmt: skip


class Turn(StrEnum):
    HOLDS = "holds"  # it began
    NEXT = "next"  # approved, and its GPUs are free
    WAITS = "waits"
    LATER = "later"  # of a stated time, or kept back by a freeze: holds nobody up until then
    UNDECIDED = "undecided"  # holds nobody up before it is approved


@dataclass(frozen=True, slots=True)
class Waiter:
    """`waits_for`: ids and labels of the rollouts that come first."""

    rollout_id: int
    label: str  # RO-12
    service: str
    release: str
    gpus: int  # on top
    product: str
    turn: Turn
    waits_for: tuple[tuple[int, str], ...]
    why: str


@dataclass(frozen=True, slots=True)
class ClusterQueue:
    cluster: str
    rows: tuple[Waiter, ...]  # in the order of their turns

    @property
    def waiting(self) -> int:
        return sum(row.turn is Turn.WAITS for row in self.rows)


def list_queues(
    viewer: Viewer, waiting: AbstractSet[int] | None = None
) -> tuple[ClusterQueue, ...]:
    """Clusters in which a rollout waits for another one. `waiting`: ids of all changes that nobody
    decided, where they were read already.
    """
    see_fleet(viewer)
    rows = Rollout.objects.exclude(phase__in=[p.value for p in FINAL]).order_by("id")
    related = rows.select_related("cluster", "service", "to_release")
    by_cluster: dict[int, list[Rollout]] = defaultdict(list)
    for row in related.only(*READ):
        if takes_on_top(row.plan.get("numbers", {})):
            by_cluster[row.cluster_id].append(row)
    crowded = [found for found in by_cluster.values() if len(found) > 1 and any_begins(found)]
    if waiting is None:
        waiting = undecided() if crowded else frozenset()
    back = kept_back([row for found in crowded for row in found], timezone.now())
    queues = [queue_of(found[0].cluster, found, waiting, back) for found in crowded]
    return tuple(sorted((q for q in queues if q.waiting), key=lambda q: q.cluster))


def any_begins(rows: Sequence[Rollout]) -> bool:
    return any(row.phase == Phase.AWAITING_APPROVAL for row in rows)


def queue_of(
    cluster: Cluster,
    rows: Sequence[Rollout],
    waiting: AbstractSet[int],
    back: AbstractSet[int] = frozenset(),
) -> ClusterQueue:
    """`waiting`: changes that nobody decided. `back`: rollouts that the calendar keeps back."""
    nodes = rooms_of(cluster, None)
    began = [row for row in rows if Phase(row.phase) not in NOT_STARTED]
    decided = [r for r in rows if r not in began and r.change_id not in waiting]
    later = [r for r in decided if r.pk in back or is_later(r, timezone.now())]
    turns = [r for r in decided if r not in later]
    approved = sorted(turns, key=lambda r: r.phase != Phase.PREPARING)  # those had their turn
    undecided_ones = [r for r in rows if r.change_id in waiting and r not in began]
    found = [waiter(row, Turn.HOLDS) for row in began]
    for index, row in enumerate(approved):
        first = [*began, *approved[:index]]
        needs = needs_of(row.plan["numbers"])
        quotas = quotas_of(cluster, row.service.name, [n.product for n in needs]) or ()
        why = waits(nodes, needs, quotas, [ahead_of(r) for r in first]) if first else ""
        same = [r for r in first if alike(needs_of(r.plan["numbers"]), needs)] if why else []
        found.append(waiter(row, Turn.WAITS if why else Turn.NEXT, same, why))
    found += [waiter(row, Turn.LATER, why=row.why) for row in later]
    found += [waiter(row, Turn.UNDECIDED) for row in undecided_ones]
    return ClusterQueue(cluster.slug, tuple(found))


def waiter(row: Rollout, turn: Turn, first: Sequence[Rollout] = (), why: str = "") -> Waiter:
    needs = needs_of(row.plan["numbers"])
    return Waiter(
        rollout_id=row.pk,
        label=str(row),
        service=row.service.name,
        release=str(row.to_release),
        gpus=sum(need.total for need in needs),
        product=row.plan["numbers"]["product"],
        turn=turn,
        waits_for=tuple((r.pk, str(r)) for r in first),
        why=why,
    )
