"""What drills cost: the cost of the rollouts that were taken back on purpose."""

from dataclasses import dataclass
from datetime import datetime

from billing.queries.rollout_costs import RolloutCost, rollout_costs
from fleet.queries.drills import drilled
from tenants.rules.access import Viewer


@dataclass(frozen=True, slots=True)
class DrillCost:
    """One drill in one currency; its GPUs on top of what served before."""

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
    return sorted(rows, key=lambda row: -row.drill_id)
