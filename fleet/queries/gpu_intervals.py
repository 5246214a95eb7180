"""What single GPUs did, as it was observed."""

from datetime import datetime

from django.contrib.postgres.fields import DateTimeRangeField
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.db.models import F, Func, QuerySet

from fleet.models import GpuInterval
from fleet.queries.access import see_fleet
from tenants.rules.access import Permission, Viewer

# As the index of the table has it.
DURING = Func(F("starts_at"), F("ends_at"), function="tstzrange", output_field=DateTimeRangeField())


def list_gpu_intervals(
    viewer: Viewer,
    start: datetime,
    end: datetime,
    *,
    cluster: str = "",
    node: str = "",
    service: str = "",
) -> QuerySet[GpuInterval]:
    """Those that touch [start, end). Who sees the fleet's money sees what it went to."""
    if not viewer.may(Permission.VIEW_MONEY):
        see_fleet(viewer)
    rows = GpuInterval.objects.alias(during=DURING).filter(
        during__overlap=DateTimeTZRange(start, end)
    )
    if cluster:
        rows = rows.filter(unit__cluster__slug=cluster)
    if node:
        rows = rows.filter(unit__node=node)
    if service:
        rows = rows.filter(service__name=service)
    return rows.select_related("unit__cluster", "service").order_by("-starts_at", "-id")
