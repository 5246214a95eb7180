"""Exports: ask for one, schedule one a day. Files are made by `billing.drive`."""

from datetime import datetime, time, timedelta
from zoneinfo import available_timezones

from django.db import transaction

from billing.actions.deliveries import find_fitting
from billing.models import ExportDestination, ExportJob, ExportSchedule
from billing.models.exports import FILE_TYPES
from billing.rules.datasets import DATASETS, FORMATS
from billing.rules.schedules import next_run
from tenants.actions.audit import picture, record
from tenants.errors import Conflict, Invalid, NotFound
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
    if not starts_at < ends_at <= starts_at + LONGEST:
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
def create_schedule(
    viewer: Viewer,
    *,
    name: str,
    format: str,
    local_time: time,
    time_zone: str,
    now: datetime,
    file_type: str = "csv",
    tenant_id: int | None = None,
    destination_id: int | None = None,
) -> ExportSchedule:
    """Make a file every day at a zone's local time, of the month up to that day's midnight."""
    viewer.require(Permission.MANAGE_MONEY, tenant_id if not viewer.is_fleet else None)
    faults = faults_of_form(format, file_type)
    if not faults and DATASETS[format].is_fleets:
        viewer.require(Permission.MANAGE_MONEY)
    if time_zone not in available_timezones():
        faults["time_zone"] = f"{time_zone!r} is no IANA time zone"
    if not name.strip():
        faults["name"] = "Give the schedule a name"
    if faults:
        raise Invalid(**faults)
    schedule = ExportSchedule.objects.create(
        tenant_id=tenant_id,
        destination=find_receiver(viewer, destination_id, tenant_id),
        name=name.strip(),
        format=format,
        file_type=file_type,
        local_time=local_time,
        time_zone=time_zone,
        next_at=next_run(now, at=local_time, time_zone=time_zone),
        created_by=viewer.email,
    )
    record(viewer, "export_schedule.create", schedule, after=schedule, tenant_id=tenant_id)
    return schedule


@transaction.atomic
def change_schedule(
    viewer: Viewer,
    schedule_id: int,
    *,
    expected: int,
    now: datetime,
    enabled: bool | None = None,
    local_time: time | None = None,
    destination_id: int | None = None,
) -> ExportSchedule:
    """What is None stays; a destination of 0 leaves the files in the folder alone."""
    schedule = ExportSchedule.objects.filter(pk=schedule_id).first()
    if schedule is None:
        raise NotFound("There is no such schedule, or it is not yours to see")
    viewer.require(Permission.MANAGE_MONEY)
    before = picture(schedule)
    at = local_time or schedule.local_time
    if destination_id is None:
        destination = schedule.destination
    else:
        destination = find_receiver(viewer, destination_id or None, schedule.tenant_id)
    schedule.change(
        expected,
        enabled=schedule.enabled if enabled is None else enabled,
        local_time=at,
        destination=destination,
        next_at=next_run(now, at=at, time_zone=schedule.time_zone),
    )
    record(viewer, "export_schedule.change", schedule, before=before, after=schedule)
    return schedule


@transaction.atomic
def retry_export(viewer: Viewer, job_id: int, *, now: datetime) -> ExportJob:
    job = ExportJob.objects.filter(pk=job_id).first()
    if job is None:
        raise NotFound("There is no such export, or it is not yours to see")
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
