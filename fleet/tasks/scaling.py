"""Doors of scaling. The sweep finds every policy that is due; one pass a service."""

from celery import shared_task

from fleet.drive.scaling import due_policies, scale
from tenants.nudge import nudge

SCALE = "fleet.tasks.scale_service"


@shared_task(name=SCALE)
def scale_service(policy_id: int) -> None:
    scale(policy_id)


@shared_task(name="fleet.tasks.sweep_scaling")
def sweep_scaling() -> None:
    for policy_id in due_policies():
        nudge(SCALE, policy_id, later=True)
