"""Keep GPUs for a tenant, and end that."""

from datetime import datetime, timedelta

from django.db import transaction

from billing.models import GpuReservation
from billing.queries.reservations import find_reservation
from billing.rules.reservations import fault_of_hour, faults_of_reservation
from tenants.actions.audit import record
from tenants.errors import Conflict, Invalid
from tenants.nudge import nudge
from tenants.rules.access import Permission, Viewer


@transaction.atomic
def reserve_gpus(
    viewer: Viewer,
    *,
    tenant_id: int,
    product: str,
    gpus: int,
    starts_at: datetime,
    now: datetime,
    ends_at: datetime | None = None,
    cluster: str = "",
    node_pool: str = "",
    why: str = "",
) -> GpuReservation:
    """From `starts_at` on, idle time of so many GPUs is the tenant's. It may begin in the past:
    hours that were attributed are attributed again."""
    viewer.require(Permission.MANAGE_MONEY)
    given = {"product": product, "cluster": cluster, "node_pool": node_pool, "gpus": gpus}
    faults = faults_of_reservation(
        product=product, cluster=cluster, node_pool=node_pool, gpus=gpus, why=why
    )
    if fault := fault_of_hour(starts_at):
        faults["starts_at"] = fault
    elif ends_at and (fault := fault_of_hour(ends_at, not_before=starts_at + timedelta(hours=1))):
        faults["ends_at"] = fault
    if faults:
        raise Invalid(**faults)
    row = GpuReservation.objects.create(
        tenant_id=tenant_id, starts_at=starts_at, ends_at=ends_at, why=why,
        created_by=viewer.email, **given,
    )  # fmt: skip
    after = given | {"starts_at": starts_at, "ends_at": ends_at}
    record(viewer, "gpu_reservation.create", row, after=after, why=why, tenant_id=tenant_id)
    nudge("billing.tasks.allocate")
    return row


@transaction.atomic
def end_reservation(
    viewer: Viewer,
    reservation_id: int,
    *,
    ends_at: datetime,
    now: datetime,
    why: str = "",
    expected: int | None = None,
) -> GpuReservation:
    """From the next full hour at the earliest: what was charged for idle time stays so."""
    viewer.require(Permission.MANAGE_MONEY)
    row = find_reservation(viewer, reservation_id)
    if row.ends_at is not None and row.ends_at <= now:
        raise Conflict(f"It ended at {row.ends_at:%Y-%m-%d %H:%M} UTC")
    next_hour = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    if fault := fault_of_hour(ends_at, not_before=max(next_hour, row.starts_at)):
        raise Invalid(ends_at=fault)
    before = {"ends_at": row.ends_at}
    row = row.change(expected, ends_at=ends_at)
    after = {"ends_at": ends_at}
    record(
        viewer, "gpu_reservation.end", row, before=before, after=after, why=why,
        tenant_id=row.tenant_id,
    )  # fmt: skip
    nudge("billing.tasks.allocate")
    return row
