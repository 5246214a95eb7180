"""Doors of the rollouts' drive. A message is a bell; the sweep finds every row that is due."""

from datetime import datetime, timedelta

from celery import shared_task

from fleet.actions.waking import PODS_CHANGED, wake, wake_by_change
from fleet.drive import rollout as driving
from fleet.drive.keep import due_deployments, keep
from tenants.base.rows import database_now
from tenants.nudge import nudge

PASSES = 30  # in one task, while each asks to be followed at once
DRIVE = "fleet.tasks.drive_rollout"
NEXT = "fleet.tasks.drive_next"
FOLLOW = "fleet.tasks.follow_rollout"
KEEP = "fleet.tasks.keep_deployment"
AT_ONCE = timedelta(milliseconds=100)
SHORTLY = timedelta(seconds=2)
LATE = timedelta(seconds=10)  # two sweeps rang for it in vain
SWEPT = timedelta(seconds=5)  # then the next sweep rings
CHAINS = 4  # at a time: both processes of a worker have one to do and one to come


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
            follow_rollout.apply_async(args=(rollout_id,), countdown=again.total_seconds())
            return


@shared_task(name=FOLLOW)
def follow_rollout(rollout_id: int) -> None:
    """The timer of one that moves; its kind comes before every sweep's bell.

    So that many of them do not hold up the others for ever, one that is late goes first. A worker
    runs a timer as soon as its time has come, whatever else waits: it only rings, and an abort is
    taken before the pass.
    """
    for late in driving.late_rollouts(LATE)[:1]:
        nudge(DRIVE, late, machine=True)
    nudge(DRIVE, rollout_id, machine=True)


@shared_task(name=NEXT)
def drive_next(rung: str) -> None:
    """A pass over the rollout that waits longest when a worker is free; then the next bell.

    A bell for each that is due would name it: where workers do not keep up it were answered several
    sweeps later, some had two passes before others had one, and bells piled up. One that is
    followed by the next leaves room in between for all that somebody waits for.
    """
    due = driving.due_rollouts()
    if not due:
        return
    drive_rollout(due[0])
    if len(due) > 1 and database_now() - datetime.fromisoformat(rung) < SWEPT:
        nudge(NEXT, rung, later=True)


@shared_task(name="fleet.tasks.sweep_rollouts")
def sweep_rollouts() -> None:
    rung = database_now().isoformat()
    for _ in driving.due_rollouts()[:CHAINS]:
        nudge(NEXT, rung, later=True)
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
