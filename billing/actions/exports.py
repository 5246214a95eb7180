"""Exports: ask for one. Files are made by `billing.drive`."""

from datetime import datetime, timedelta

from django.db import transaction

from billing.actions.deliveries import find_fitting
from billing.models import ExportDestination, ExportJob
from billing.models.exports import FILE_TYPES
from billing.queries.exports import get_export
from billing.rules.datasets import DATASETS, FORMATS
from billing.rules.years import SAID, is_known
from tenants.actions.audit import record
from tenants.errors import Conflict, Invalid
from tenants.nudge import nudge
from tenants.rules.access import Permission, Viewer

TYPES = tuple(name for name, _ in FILE_TYPES)
LONGEST = timedelta(days=400)
TASK = "billing.tasks.run_exports"


@transaction.atomic
def request_export(
    viewer: Viewer,
    *,
    format: str,
    starts_at: datetime,
    ends_at: datetime,
    now: datetime,
    file_type: str = "csv",
    tenant_id: int | None = None,
    destination_id: int | None = None,
) -> ExportJob:
    """Ask for a file of the charges of [starts_at, ends_at), of a tenant or of the fleet."""
    viewer.require(Permission.VIEW_MONEY, tenant_id)
    faults = faults_of_form(format, file_type)
    if not faults and DATASETS[format].is_fleets:
        viewer.require(Permission.VIEW_MONEY)
    ends = {"starts_at": starts_at, "ends_at": ends_at}
    if odd := {name: SAID for name, at in ends.items() if not is_known(at)}:
        faults |= odd
    elif not starts_at < ends_at <= starts_at + LONGEST:
        faults["ends_at"] = f"The range ends after it starts, and within {LONGEST.days} days"
    if faults:
        raise Invalid(**faults)
    job = ExportJob.objects.create(
        tenant_id=tenant_id,
        destination=find_receiver(viewer, destination_id, tenant_id),
        format=format,
        file_type=file_type,
        starts_at=starts_at,
        ends_at=ends_at,
        requested_by=viewer.email,
        look_again=now,
    )
    after = {
        "format": format,
        "file_type": file_type,
        "starts_at": str(starts_at),
        "ends_at": str(ends_at),
    }
    record(viewer, "export.request", job, after=after, tenant_id=tenant_id)
    nudge(TASK)
    return job


def find_receiver(
    viewer: Viewer, destination_id: int | None, tenant_id: int | None
) -> ExportDestination | None:
    """None: the file stays in the folder, and nothing is sent anywhere."""
    if destination_id is None:
        return None
    viewer.require(Permission.MANAGE_MONEY, tenant_id)
    return find_fitting(viewer, destination_id, tenant_id)


def faults_of_form(format: str, file_type: str) -> dict[str, str]:
    faults = {}
    if format not in FORMATS:
        faults["format"] = f"There is no format {format!r}; there are {', '.join(FORMATS)}"
    if file_type not in TYPES:
        faults["file_type"] = f"There is no file type {file_type!r}; there are {', '.join(TYPES)}"
    return faults


@transaction.atomic
def retry_export(viewer: Viewer, job_id: int, *, now: datetime) -> ExportJob:
    job = get_export(viewer, job_id)
    viewer.require(Permission.VIEW_MONEY, job.tenant_id)
    if job.state != ExportJob.State.FAILED:
        raise Conflict(f"The export is {job.state}; only a failed one is tried again")
    ExportJob.objects.filter(pk=job_id).update(
        state=ExportJob.State.WAITING, failures=0, look_again=now
    )
    record(viewer, "export.retry", job, tenant_id=job.tenant_id)
    nudge(TASK)
    job.refresh_from_db()
    return job
