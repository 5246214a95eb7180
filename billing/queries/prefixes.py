"""Reports of kept prefixes: what a charge for them was made from."""

from django.db.models import QuerySet

from billing.models import PrefixReport
from billing.queries.charged import ChargeFilter
from billing.queries.visibility import visible_tenants
from tenants.rules.access import Viewer


def list_reports(viewer: Viewer, wanted: ChargeFilter) -> QuerySet[PrefixReport]:
    """Of spans that begin in the range, newest first."""
    tenants = visible_tenants(viewer, wanted.tenant_id)
    rows = PrefixReport.objects.filter(started_at__gte=wanted.start, started_at__lt=wanted.end)
    if tenants is not None:
        rows = rows.filter(tenant_id__in=tenants)
    for name in ("application_id", "model"):
        if getattr(wanted, name):
            rows = rows.filter(**{name: getattr(wanted, name)})
    return rows.order_by("-started_at", "-id")
