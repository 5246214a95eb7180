"""Receivers of exports and the history of deliveries, as far as the viewer may see them."""

from django.db.models import Prefetch, QuerySet

from billing.models import ExportAttempt, ExportDelivery, ExportDestination
from billing.queries.exports import get_export
from billing.queries.visibility import visible_tenants
from tenants.errors import NotFound
from tenants.rules.access import Viewer


def list_destinations(viewer: Viewer) -> QuerySet[ExportDestination]:
    """Newest first. A tenant's people see their own, never the operator's."""
    rows = ExportDestination.objects.defer("sealed", "previous").order_by("-id")
    tenants = visible_tenants(viewer, None)
    return rows if tenants is None else rows.filter(tenant_id__in=tenants)


def get_destination(viewer: Viewer, destination_id: int) -> ExportDestination:
    found = list_destinations(viewer).filter(pk=destination_id).first()
    if found is None:
        raise NotFound("There is no such receiver, or it is not yours to see")
    return found


def list_deliveries(viewer: Viewer, job_id: int) -> QuerySet[ExportDelivery]:
    """Newest first, each with its tries in their order."""
    tries = Prefetch("attempts", ExportAttempt.objects.order_by("id"))
    rows = ExportDelivery.objects.filter(job=get_export(viewer, job_id))
    return rows.select_related("destination").prefetch_related(tries).order_by("-id")
