"""When a month is billed its scheduled files are made anew: only now they can name the invoice.

Files that were made before stay as they are.
"""

from collections.abc import Sequence
from datetime import datetime

from django.db.models import Q

from billing.models import BillingPeriod, ExportJob, ExportSchedule, Invoice
from billing.rules.datasets import DATASETS
from tenants.base.scope import fleet_scope
from tenants.nudge import nudge

TASK = "billing.tasks.run_exports"


def export_billed(period: BillingPeriod, invoices: Sequence[Invoice], now: datetime) -> None:
    """In the transaction of the invoices: one file of the account's month for each schedule.

    Schedules of the fleet count as well, which a tenant's own people do not see.
    """
    numbers = ", ".join(i.number for i in invoices)
    formats = [name for name, dataset in DATASETS.items() if dataset.names_invoices]
    with fleet_scope():
        schedules = ExportSchedule.objects.filter(
            Q(tenant_id=period.tenant_id) | Q(tenant_id=None), enabled=True, format__in=formats
        )
        ExportJob.objects.bulk_create(
            ExportJob(
                schedule=s,
                tenant_id=period.tenant_id,
                format=s.format,
                file_type=s.file_type,
                starts_at=period.starts_at,
                ends_at=period.ends_at,
                destination_id=s.destination_id,
                requested_by=_asked(s, numbers),
                look_again=now,
            )
            for s in schedules.order_by("id")
        )
    nudge(TASK)


def _asked(schedule: ExportSchedule, numbers: str) -> str:
    """The file is the tenant's to see; what the operator calls its own schedules is not."""
    name = f"schedule:{schedule.name}" if schedule.tenant_id else "schedule of the operator"
    return f"{name}, {numbers}"[:254]
