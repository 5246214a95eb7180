"""Doors of drills: reports are written, pods are lost; the rollouts' drive takes drills back."""

from celery import shared_task

from fleet.actions.drills import due_reports, write_report
from fleet.actions.pod_losses import DRIVE, wake_by_change
from fleet.drive import pod_loss as driving
from fleet.rules.pod_loss import SOON
from tenants.base.rows import database_now
from tenants.nudge import nudge

PASSES = 10  # in one task, while each asks to be followed at once


@shared_task(name="fleet.tasks.report_drills")
def report_drills() -> None:
    now = database_now()
    for drill_id in due_reports(now):
        write_report(drill_id, now)


@shared_task(name=DRIVE)
def drive_pod_loss(loss_id: int) -> None:
    """Pass after pass; one that watches is followed by a timer, others wait for the sweep.

    One that is not due has had its pass, with a timer of its own: no bell starts another.
    """
    if not driving.is_due(loss_id):
        return
    for _ in range(PASSES):
        again = driving.drive(loss_id)
        if again is None or again > SOON:
            return
        if again == SOON:
            drive_pod_loss.apply_async(args=(loss_id,), countdown=SOON.total_seconds())
            return


@shared_task(name="fleet.tasks.sweep_pod_losses")
def sweep_pod_losses() -> None:
    for loss_id in driving.due_losses():
        nudge(DRIVE, loss_id, machine=True)


@shared_task(name="fleet.tasks.pod_loss_decided")
def pod_loss_decided(change_id: int) -> None:
    """Somebody decided: the drill that waited for it goes on in this very task."""
    loss_id = wake_by_change(change_id)
    if loss_id is not None:
        drive_pod_loss(loss_id)
