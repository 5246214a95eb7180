"""Ask for a check of the books; `billing.drive.reconciliations` works it out."""

from datetime import datetime, timedelta

from django.db import transaction

from billing.models import Reconciliation
from tenants.actions.audit import record
from tenants.nudge import nudge
from tenants.rules.access import Permission, Viewer

TASK = "billing.tasks.reconcile"
LOOK_BACK = timedelta(days=62)  # as late as usage may come


@transaction.atomic
def request_check(viewer: Viewer, *, now: datetime) -> Reconciliation:
    """Ask for one. While one waits, it is that one."""
    viewer.require(Permission.MANAGE_MONEY)
    made = open_check(viewer.email, now)
    row = Reconciliation.objects.get(state=Reconciliation.State.WAITING)
    if made:
        record(viewer, "reconciliation.request", row, after={"since": row.since})
    nudge(TASK)
    return row


def open_check(by: str, now: datetime) -> bool:
    """False: one waits already."""
    since = (now - LOOK_BACK).replace(minute=0, second=0, microsecond=0)
    row = Reconciliation(requested_by=by, requested_at=now, since=since, look_again=now)
    Reconciliation.objects.bulk_create([row], ignore_conflicts=True)
    return Reconciliation.objects.filter(
        state=Reconciliation.State.WAITING, requested_by=by, requested_at=now
    ).exists()
