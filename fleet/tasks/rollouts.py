"""Doors of the rollouts' drive. A message is a bell; the sweep finds every row that is due."""

from datetime import timedelta

from celery import shared_task

from fleet.actions.waking import PODS_CHANGED, wake, wake_by_change
from fleet.drive import rollout as driving
from fleet.drive.keep import due_deployments, keep
from tenants.nudge import nudge

PASSES = 30  # in one task, while each asks to be followed at once
DRIVE = "fleet.tasks.drive_rollout"
KEEP = "fleet.tasks.keep_deployment"
AT_ONCE = timedelta(milliseconds=100)
SHORTLY = timedelta(seconds=2)


@shared_task(name=DRIVE)
def drive_rollout(rollout_id: int) -> None:
    """Pass after pass until one wants to wait: briefly by a timer, longer by the beat.

    Who rings makes the row due first. One that is not due has had its pass since, with a timer
    of its own: without this check each bell would start another row of timers.
    """
    if not driving.is_due(rollout_id):
        return
    for _ in range(PASSES):
        again = driving.drive(rollout_id)
        if again is None or again > SHORTLY:
            return
        if again > AT_ONCE:
            drive_rollout.apply_async(args=(rollout_id,), countdown=again.total_seconds())
            return


@shared_task(name="fleet.tasks.sweep_rollouts")
def sweep_rollouts() -> None:
    for rollout_id in driving.due_rollouts():
        nudge(DRIVE, rollout_id, later=True)
    for deployment_id in due_deployments():
        nudge(KEEP, deployment_id, later=True)


@shared_task(name=KEEP)
def keep_deployment(deployment_id: int) -> None:
    keep(deployment_id)


@shared_task(name=PODS_CHANGED)
def pods_changed(rollout_id: int) -> None:
    """The observer saw what this rollout may wait for."""
    if wake(rollout_id):
        drive_rollout(rollout_id)


@shared_task(name="fleet.tasks.change_decided")
def change_decided(change_id: int) -> None:
    """Somebody decided: the rollout that waited for it goes on in this very task."""
    rollout_id = wake_by_change(change_id)
    if rollout_id is not None:
        drive_rollout(rollout_id)
