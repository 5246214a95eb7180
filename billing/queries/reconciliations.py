"""What checks of the books found: for the fleet's people, because a sum is of all tenants."""

from dataclasses import dataclass
from decimal import Decimal

from django.db.models import QuerySet

from billing.models import Reconciliation
from billing.queries.sums import Check
from tenants.errors import NotFound
from tenants.rules.access import Permission, Viewer


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest result, and whether another is being worked out."""

    done: Reconciliation | None
    waits: bool


def list_reconciliations(viewer: Viewer) -> QuerySet[Reconciliation]:
    """Newest first."""
    viewer.require(Permission.VIEW_MONEY)
    return Reconciliation.objects.order_by("-id")


def get_reconciliation(viewer: Viewer, reconciliation_id: int) -> Reconciliation:
    row = list_reconciliations(viewer).filter(pk=reconciliation_id).first()
    if row is None:
        raise NotFound("There is no such check of the books")
    return row


def latest(viewer: Viewer) -> Latest:
    rows = list_reconciliations(viewer)
    return Latest(
        rows.filter(state=Reconciliation.State.DONE).first(),
        rows.filter(state=Reconciliation.State.WAITING).exists(),
    )


def checks_of(row: Reconciliation) -> list[Check]:
    """As they were kept, in their order."""
    return [
        Check(
            s["sentence"],
            Decimal(s["left"]),
            Decimal(s["right"]),
            s["wrong"],
            tuple(s["named"]),
        )
        for s in row.sums
    ]
