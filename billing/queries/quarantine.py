"""Events in quarantine and what was decided about them. For the fleet's people."""

from dataclasses import dataclass

from django.db.models import QuerySet

from billing.models import QuarantineDecision, QuarantineItem, UsageQuarantine
from billing.rules.events import Reason
from tenants.errors import NotFound
from tenants.rules.access import Permission, Viewer

REASONS = tuple(r.value for r in Reason)


@dataclass(frozen=True, slots=True)
class QuarantineFilter:
    reason: str = ""
    tenant_id: int | None = None
    source_id: int | None = None


def list_quarantine(
    viewer: Viewer, wanted: QuarantineFilter | None = None
) -> QuerySet[UsageQuarantine]:
    """Events that wait for a person, newest first."""
    viewer.require(Permission.VIEW_MONEY)
    rows = UsageQuarantine.objects.order_by("-id")
    wanted = wanted or QuarantineFilter()
    if wanted.reason:
        rows = rows.filter(reason=wanted.reason)
    if wanted.tenant_id is not None:
        rows = rows.filter(tenant_id=wanted.tenant_id)
    if wanted.source_id is not None:
        rows = rows.filter(source_id=wanted.source_id)
    return rows


def undecided_ids(viewer: Viewer, wanted: QuarantineFilter, *, upto: int, most: int) -> list[int]:
    """Of what the filter shows up to a row, those that nobody asked about yet."""
    rows = list_quarantine(viewer, wanted).filter(decision_id=None, pk__lte=upto)
    return list(rows.values_list("pk", flat=True)[:most])


def get_quarantined(viewer: Viewer, row_id: int) -> UsageQuarantine:
    row = list_quarantine(viewer).filter(pk=row_id).first()
    if row is None:
        raise NotFound("This event does not wait any more")
    return row


def list_decisions(viewer: Viewer, *, state: str = "") -> QuerySet[QuarantineDecision]:
    """Newest first."""
    viewer.require(Permission.VIEW_MONEY)
    rows = QuarantineDecision.objects.order_by("-id")
    return rows.filter(state=state) if state else rows


def get_decision(viewer: Viewer, decision_id: int) -> QuarantineDecision:
    found = list_decisions(viewer).filter(pk=decision_id).first()
    if found is None:
        raise NotFound("There is no such decision")
    return found


def items_of(viewer: Viewer, decision_id: int) -> QuerySet[QuarantineItem]:
    return get_decision(viewer, decision_id).items.order_by("id")
