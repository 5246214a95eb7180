"""Exports that are made each day, week or month: ask for them, change them, open what is due."""

from collections.abc import Mapping
from datetime import datetime, time
from typing import Any, TypedDict, Unpack

from django.db import transaction

from billing.actions.exports import faults_of_form, find_receiver
from billing.models import ExportJob, ExportSchedule
from billing.rules.datasets import DATASETS
from billing.rules.schedules import Rhythm, covered, fault_of_day, next_run, owed
from tenants.actions.audit import picture, record
from tenants.errors import Invalid, NotFound
from tenants.nudge import nudge
from tenants.rules.access import Permission, Viewer
from tenants.rules.zones import zones

TASK = "billing.tasks.run_exports"
RHYTHMS = tuple(r.value for r in Rhythm)
LONGEST_NAME = 120


class Terms(TypedDict, total=False):
    """What a schedule is; in a change, what is missing stays."""

    name: str
    format: str
    file_type: str
    local_time: time
    time_zone: str
    rhythm: str
    day: int
    enabled: bool


@transaction.atomic
def create_schedule(
    viewer: Viewer,
    *,
    now: datetime,
    tenant_id: int | None = None,
    destination_id: int | None = None,
    **terms: Unpack[Terms],
) -> ExportSchedule:
    """Make a file at a zone's local time from now on: daily, unless `rhythm` says otherwise."""
    viewer.require(Permission.MANAGE_MONEY, tenant_id if not viewer.is_fleet else None)
    schedule = ExportSchedule(tenant_id=tenant_id, created_by=viewer.email, made_until=now)
    _set(viewer, schedule, terms)
    schedule.destination = find_receiver(viewer, destination_id, tenant_id)
    schedule.next_at = next_run(now, schedule.plan)
    schedule.save()
    record(viewer, "export_schedule.create", schedule, after=schedule, tenant_id=tenant_id)
    return schedule


@transaction.atomic
def change_schedule(
    viewer: Viewer,
    schedule_id: int,
    *,
    expected: int,
    now: datetime,
    destination_id: int | None = None,
    **terms: Unpack[Terms],
) -> ExportSchedule:
    """A destination of 0 leaves the files in the folder alone.

    What is due already is made as the schedule was; what would have been due between the last file
    and now by the new time is made at once, so that no change loses the end of a month.
    """
    schedule = _locked(viewer, schedule_id)
    before = picture(schedule)
    open_due(schedule, now)
    was_enabled = schedule.enabled
    _set(viewer, schedule, terms)
    if destination_id is not None:
        schedule.destination = find_receiver(viewer, destination_id or None, schedule.tenant_id)
    if not was_enabled:
        schedule.made_until = now  # nothing was promised of a pause
    schedule.next_at = next_run(schedule.made_until, schedule.plan)
    open_due(schedule, now)
    names = (*Terms.__annotations__, "destination", "made_until", "next_at")
    schedule.change(expected, **{name: getattr(schedule, name) for name in names})
    record(viewer, "export_schedule.change", schedule, before=before, after=schedule)
    nudge(TASK)
    return schedule


@transaction.atomic
def remove_schedule(viewer: Viewer, schedule_id: int, *, expected: int, now: datetime) -> None:
    """What is due already is made; files that it made stay."""
    schedule = _locked(viewer, schedule_id)
    before = picture(schedule)
    open_due(schedule, now)
    schedule.change(expected)
    record(viewer, "export_schedule.remove", schedule, before=before)
    schedule.delete()
    nudge(TASK)


def open_due(schedule: ExportSchedule, now: datetime) -> int:
    """Open a job for each file that is owed. The caller holds the row and keeps its two times."""
    if not schedule.enabled or schedule.next_at > now:
        return 0
    due = owed(schedule.next_at, schedule.plan, now)
    jobs = [_job(schedule, at, now) for at in due]
    ExportJob.objects.bulk_create(jobs, ignore_conflicts=True)
    schedule.made_until = due[-1]
    schedule.next_at = next_run(now, schedule.plan)
    return len(jobs)


def _job(schedule: ExportSchedule, due: datetime, now: datetime) -> ExportJob:
    starts_at, ends_at = covered(due, schedule.plan)
    return ExportJob(
        schedule=schedule,
        due_at=due,
        tenant_id=schedule.tenant_id,
        format=schedule.format,
        file_type=schedule.file_type,
        starts_at=starts_at,
        ends_at=ends_at,
        destination=schedule.destination,
        requested_by=f"schedule:{schedule.name}",
        look_again=now,
    )


def _locked(viewer: Viewer, schedule_id: int) -> ExportSchedule:
    rows = ExportSchedule.objects.select_for_update(no_key=True, of=("self",))
    schedule = rows.select_related("destination").filter(pk=schedule_id).first()
    if schedule is None:
        raise NotFound("There is no such schedule, or it is not yours to see")
    viewer.require(Permission.MANAGE_MONEY)
    return schedule


def _set(viewer: Viewer, schedule: ExportSchedule, terms: Mapping[str, Any]) -> None:
    for name, value in terms.items():
        setattr(schedule, name, value)
    schedule.name = schedule.name.strip()
    faults = faults_of_form(schedule.format, schedule.file_type)
    if not faults and DATASETS[schedule.format].is_fleets:
        viewer.require(Permission.MANAGE_MONEY)
    if schedule.time_zone not in zones():
        faults["time_zone"] = f"{schedule.time_zone!r} is no IANA time zone"
    if not 0 < len(schedule.name) <= LONGEST_NAME:
        faults["name"] = f"Give the schedule a name, of at most {LONGEST_NAME} characters"
    if schedule.rhythm not in RHYTHMS:
        faults["rhythm"] = f"There is no rhythm {schedule.rhythm!r}; there are {', '.join(RHYTHMS)}"
    elif fault := fault_of_day(schedule.rhythm, schedule.day):
        faults["day"] = fault
    if faults:
        raise Invalid(**faults)
