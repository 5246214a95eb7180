"""Make a rollout due before its time: somebody decided, or what it waits for has happened."""

from collections.abc import Collection

from django.db.models import Q
from django.db.models.functions import Now

from fleet.models import Rollout
from fleet.rules.phases import BEFORE_WRITES, FINAL, Phase
from tenants.nudge import nudge

OPEN = [phase.value for phase in Phase if phase not in FINAL]
MOVING = [phase.value for phase in Phase if phase not in FINAL | BEFORE_WRITES]
PODS_CHANGED = "fleet.tasks.pods_changed"


def wake(rollout_id: int) -> bool:
    """False: it has ended, and nothing is left to do."""
    rows = Rollout.objects.filter(pk=rollout_id, phase__in=OPEN)
    return bool(rows.update(look_again=Now()))


def wake_by_change(change_id: int) -> int | None:
    """Make the rollout due that waits for this change; None: the change is of something else."""
    asked = Q(change_id=change_id) | Q(step_change_id=change_id)
    rows = Rollout.objects.filter(asked, phase__in=OPEN)
    rows.update(look_again=Now())
    return rows.values_list("id", flat=True).first()


def tell_rollouts(cluster_id: int, services: Collection[str]) -> None:
    """Those that move replicas of these services wait for what their pods become.

    A worker wakes them: who stores a look holds the cluster's row, and a pass, which holds the
    rollout's, may want that one next.
    """
    rows = Rollout.objects.filter(cluster_id=cluster_id, phase__in=MOVING)
    for rollout_id in rows.filter(service__name__in=services).values_list("id", flat=True):
        nudge(PODS_CHANGED, rollout_id, machine=True)
