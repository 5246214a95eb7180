"""What GPUs cost that had no work: free ones, and those that a service held."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import Sum

from billing.models import CostDay
from billing.queries.attributed import Attributed, attributed
from tenants.rules.access import Permission, Viewer

MS_PER_HOUR = 3_600_000


@dataclass(frozen=True, slots=True)
class IdleCost:
    """`model`: the service that held the GPUs; empty: nobody did."""

    model: str
    product: str
    state: str
    gpu_ms: int
    amount: Decimal

    @property
    def gpu_hours(self) -> Decimal:
        return Decimal(self.gpu_ms) / MS_PER_HOUR


def idle_costs(viewer: Viewer, start: datetime, end: datetime) -> tuple[Attributed, list[IdleCost]]:
    """For whole UTC days that touch [start, end), the dearest first; they are the fleet's idle."""
    viewer.require(Permission.VIEW_MONEY)
    known = attributed(start, end)
    rows = (
        CostDay.objects.filter(
            kind="idle", day__gte=known.first, day__lt=known.last, currency=known.currency
        )
        .values_list("model", "product", "state")
        .annotate(ms=Sum("weight"), of=Sum("amount"))
        .order_by("-of", "model", "product", "state")
    )
    return known, [IdleCost(*row) for row in rows]
