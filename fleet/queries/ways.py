"""What each way of a plan means for those who use the service, and when it could begin."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fleet.models import Cluster, Rollout, Service
from fleet.queries.freezes import freezes_over, window_of
from fleet.rules.begins_within import BeginsWithin
from fleet.rules.earliest import Calendar, Earliest, earliest
from fleet.rules.phases import PlanKind
from fleet.rules.plan import Plan
from fleet.rules.situation import Situation
from fleet.rules.touching import Touch, User, touches


@dataclass(frozen=True, slots=True)
class WayFacts:
    kind: PlanKind
    earliest: Earliest
    touches: tuple[Touch, ...]  # those with the most requests first


def facts_of(
    plans: Sequence[Plan], s: Situation, users: Sequence[User], calendar: Calendar, *, kv: bool
) -> tuple[WayFacts, ...]:
    return tuple(
        WayFacts(
            plan.kind,
            earliest(plan, s.nodes, s.quotas or (), s.ahead, calendar),
            touches(plan, users, caches_change=kv),
        )
        for plan in plans
    )


def calendar_of(
    service: Service,
    cluster: Cluster,
    busy: Rollout | None,
    begins: BeginsWithin | None,
    now: datetime,
) -> Calendar:
    """`busy`: an open rollout of the service, which ends first, also where it is superseded."""
    return Calendar(
        now,
        tuple(window_of(f) for f in freezes_over(service.pk, cluster.pk)),
        opens=begins.opens if begins else None,
        after=f"{busy} of this service" if busy else "",
    )
