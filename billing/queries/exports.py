"""Exports and their files, as far as the viewer may see them."""

from typing import BinaryIO

from django.conf import settings
from django.db.models import QuerySet

from billing.clients.store import Folder
from billing.models import ExportArtifact, ExportJob, ExportSchedule
from billing.queries.visibility import visible_tenants
from billing.rules.datasets import OF_FLEET
from tenants.errors import NotFound
from tenants.rules.access import Permission, Viewer

MEDIA_TYPES = {
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


def media_type(filename: str) -> str:
    return MEDIA_TYPES[filename.rpartition(".")[2]]


def list_exports(viewer: Viewer, *, tenant_id: int | None = None) -> QuerySet[ExportJob]:
    """Newest first. A tenant's people see their own, never the fleet's; of the operator's books and
    costs they see nothing, though it was cut for them."""
    rows = ExportJob.objects.select_related("artifact", "schedule").order_by("-id")
    tenants = visible_tenants(viewer, tenant_id)
    if not viewer.may(Permission.VIEW_MONEY):
        rows = rows.exclude(format__in=OF_FLEET)
    return rows if tenants is None else rows.filter(tenant_id__in=tenants)


def get_export(viewer: Viewer, job_id: int) -> ExportJob:
    job = list_exports(viewer).filter(pk=job_id).first()
    if job is None:
        raise NotFound("There is no such export, or it is not yours to see")
    return job


def open_export(viewer: Viewer, job_id: int) -> tuple[ExportArtifact, BinaryIO]:
    """The evidence and the file itself, which the caller closes."""
    job = get_export(viewer, job_id)
    artifact = ExportArtifact.objects.filter(job=job).first()
    if artifact is None:
        raise NotFound(f"Export {job_id} has no file: it is {job.state}")
    try:
        return artifact, Folder(settings.QM_EXPORTS_DIR).open(artifact.path)
    except FileNotFoundError as error:
        raise NotFound(f"The file of export {job_id} is not on this machine any more") from error


def list_schedules(viewer: Viewer) -> QuerySet[ExportSchedule]:
    rows = ExportSchedule.objects.select_related("destination").order_by("-id")
    tenants = visible_tenants(viewer, None)
    if tenants is None:
        return rows
    return rows.filter(tenant_id__in=tenants).exclude(format__in=OF_FLEET)


def get_schedule(viewer: Viewer, schedule_id: int) -> ExportSchedule:
    schedule = list_schedules(viewer).filter(pk=schedule_id).first()
    if schedule is None:
        raise NotFound("There is no such schedule, or it is not yours to see")
    return schedule
