"""Reservations of GPUs: all of them, and those that hold in an hour."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import Q, QuerySet, Sum

from billing.models import CostDay, GpuReservation
from billing.queries.visibility import visible_tenants
from billing.rules.reservations import RESERVED_IDLE, Reservation
from tenants.errors import NotFound
from tenants.rules.access import Viewer

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class IdleCost:
    """What reserved GPUs cost a tenant that it did not use, in one currency."""

    tenant_id: int
    currency: str
    amount: Decimal
    gpu_ms: int

    @property
    def gpu_hours(self) -> Decimal:
        return Decimal(self.gpu_ms) / 3_600_000


def list_reservations(viewer: Viewer, tenant_id: int | None = None) -> QuerySet[GpuReservation]:
    """Newest first; a tenant's people see their own."""
    tenants = visible_tenants(viewer, tenant_id)
    rows = GpuReservation.objects.order_by("-id")
    return rows if tenants is None else rows.filter(tenant_id__in=tenants)


def find_reservation(viewer: Viewer, reservation_id: int) -> GpuReservation:
    found = list_reservations(viewer).filter(pk=reservation_id).first()
    if found is None:
        raise NotFound("There is no such reservation, or it is not yours to see")
    return found


def state_of(row: GpuReservation, now: datetime) -> str:
    if row.ends_at is not None and (row.ends_at <= now or row.ends_at == row.starts_at):
        return "past"
    return "waiting" if now < row.starts_at else "current"


def reservations_at(hour: datetime) -> list[Reservation]:
    """Those that hold in the hour; they begin and end on full ones."""
    goes_on = Q(ends_at=None) | Q(ends_at__gt=hour)
    rows = GpuReservation.objects.filter(goes_on, starts_at__lte=hour).order_by("id")
    return [
        Reservation(*row)
        for row in rows.values_list("id", "tenant_id", "product", "cluster", "node_pool", "gpus")
    ]


def idle_costs(viewer: Viewer, *, now: datetime, days: int = 30) -> list[IdleCost]:
    """Of the last days, the dearest first."""
    tenants = visible_tenants(viewer, None)
    rows = CostDay.objects.filter(
        model=RESERVED_IDLE, kind="tenant", day__gt=(now - timedelta(days=days)).date()
    )
    if tenants is not None:
        rows = rows.filter(tenant_id__in=tenants)
    found = rows.values_list("tenant_id", "currency").annotate(of=Sum("amount"), ms=Sum("weight"))
    return [IdleCost(*row) for row in found.order_by("-of", "tenant_id")]
