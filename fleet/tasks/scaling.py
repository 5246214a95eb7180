"""Doors of scaling. The sweep finds every policy that is due; one pass a service."""

from celery import shared_task
from django.utils import timezone

from fleet.drive.scaling import called_policies, due_policies, scale
from fleet.queries.gateways import read_gateways
from tenants.nudge import nudge

SCALE = "fleet.tasks.scale_service"


@shared_task(name=SCALE)
def scale_service(policy_id: int) -> None:
    scale(policy_id)


@shared_task(name="fleet.tasks.sweep_scaling")
def sweep_scaling() -> None:
    called = set(called_policies(read_gateways(timezone.now())))
    for policy_id in sorted(called):  # somebody waits for it
        nudge(SCALE, policy_id)
    for policy_id in due_policies():
        if policy_id not in called:
            nudge(SCALE, policy_id, later=True)
