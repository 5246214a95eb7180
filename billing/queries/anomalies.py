"""Days out of the ordinary, and the charges that made them so."""

from datetime import UTC, datetime, time, timedelta

from django.db.models import QuerySet

from billing.models import SpendAnomaly
from billing.queries.charged import ChargeFilter
from billing.queries.visibility import visible_tenants
from tenants.rules.access import Viewer

DAY = timedelta(days=1)


def list_anomalies(viewer: Viewer, *, tenant_id: int | None = None) -> QuerySet[SpendAnomaly]:
    """Newest first."""
    tenants = visible_tenants(viewer, tenant_id)
    rows = SpendAnomaly.objects.order_by("-day", "-id")
    return rows if tenants is None else rows.filter(tenant_id__in=tenants)


def rows_of(anomaly: SpendAnomaly) -> ChargeFilter:
    """Its charges: their sum is its amount."""
    start = datetime.combine(anomaly.day, time(), UTC)
    return ChargeFilter(start, start + DAY, tenant_id=anomaly.tenant_id, model=anomaly.model)
