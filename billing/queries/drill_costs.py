"""What drills cost: rollouts that were taken back, and GPUs of replicas that were killed."""

from dataclasses import dataclass
from datetime import datetime

from billing.queries.rollout_costs import RolloutCost, priced, rollout_cost, rollout_costs
from fleet.queries.drills import DrillRow, drilled
from fleet.queries.pod_losses import loss_hours
from fleet.queries.rollout_time import RolloutHour
from tenants.rules.access import Permission, Viewer


@dataclass(frozen=True, slots=True)
class DrillCost:
    """One drill in one currency: its GPUs on top of what served before; of a lost pod, those of the
    killed replica until another one served.
    """

    drill_id: int
    cost_of: RolloutCost

    @property
    def label(self) -> str:
        return f"DR-{self.drill_id}"


def drill_costs(viewer: Viewer, start: datetime, end: datetime) -> list[DrillCost]:
    """Of the hours in [start, end), the newest drill first."""
    found = rollout_costs(viewer, start, end)
    drills = drilled(viewer, (cost.rollout_id for cost in found))
    rows = [DrillCost(drills[c.rollout_id], c) for c in found if c.rollout_id in drills]
    rows += loss_costs(loss_hours(viewer, start, end))
    return sorted(rows, key=lambda row: -row.drill_id)


def drill_cost(viewer: Viewer, drill: DrillRow) -> RolloutCost | None:
    """Of one; None: nothing is known of it."""
    if drill.rollout_id is not None:
        return rollout_cost(viewer, drill.rollout_id)
    viewer.require(Permission.VIEW_MONEY)
    found = loss_costs(loss_hours(viewer, drill_id=drill.id))
    return found[0].cost_of if found else None


def loss_costs(hours: list[tuple[int, RolloutHour]]) -> list[DrillCost]:
    by_drill: dict[int, list[RolloutHour]] = {}
    for drill_id, hour in hours:
        by_drill.setdefault(drill_id, []).append(hour)
    return [DrillCost(pk, priced(rows)[0]) for pk, rows in by_drill.items()]
