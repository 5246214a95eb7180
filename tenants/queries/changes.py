"""What waits for a decision, and what was decided by whom and why."""

from dataclasses import dataclass

from django.db.models import QuerySet

from tenants.errors import NotFound
from tenants.models import ChangeRequest
from tenants.rules.access import Permission, Viewer

WAITING = ChangeRequest.State.WAITING.value
STATES = tuple(s.value for s in ChangeRequest.State)


def list_changes(viewer: Viewer, *, state: str = "", kind: str = "") -> QuerySet[ChangeRequest]:
    """Newest first."""
    viewer.require(Permission.VIEW_FLEET)
    rows = ChangeRequest.objects.select_related("requester", "decider").order_by("-id")
    if state:
        rows = rows.filter(state=state)
    return rows.filter(kind=kind) if kind else rows


def get_change(viewer: Viewer, change_id: int) -> ChangeRequest:
    change = list_changes(viewer).filter(pk=change_id).first()
    if change is None:
        raise NotFound("No such change")
    return change


def latest_change(viewer: Viewer, *, kind: str, target_id: int) -> ChangeRequest | None:
    return list_changes(viewer, kind=kind).filter(target_id=target_id).first()


@dataclass(frozen=True, slots=True)
class Decided:
    approved: bool
    reason: str  # what the requester wanted it for


def decided(change_id: int) -> Decided | None:
    """For the owner of the change's target. None: it still waits."""
    change = ChangeRequest.objects.filter(pk=change_id).exclude(state=WAITING).first()
    if change is None:
        return None
    return Decided(change.state == ChangeRequest.State.APPROVED, change.reason)
