"""What waits for a decision, and what was decided by whom and why."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from tenants.errors import NotFound
from tenants.models import ChangeRequest, User
from tenants.queries.access import handed_by
from tenants.rules.access import Permission, Role, Viewer
from tenants.rules.changes import OWN_HAND

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


@dataclass(frozen=True, slots=True)
class Verdict:
    state: str
    by: str  # empty: nobody yet
    why: str


def get_verdict(viewer: Viewer, change_id: int) -> Verdict:
    """For those who ask every few seconds: without what is decided on, which may be long."""
    viewer.require(Permission.VIEW_FLEET)
    rows = ChangeRequest.objects.filter(pk=change_id)
    found = rows.values_list("state", "decider__email", "decision_reason").first()
    if found is None:
        raise NotFound("No such change")
    state, by, why = found
    return Verdict(state, by or "", why)


def latest_change(viewer: Viewer, *, kind: str, target_id: int) -> ChangeRequest | None:
    return list_changes(viewer, kind=kind).filter(target_id=target_id).first()


def latest_payloads(
    *, kind: str, target_ids: Iterable[int], state: str
) -> dict[int, dict[str, Any]]:
    """Of the newest change about each of these, where it is in that state."""
    rows = ChangeRequest.objects.filter(kind=kind, target_id__in=list(target_ids)).order_by("id")
    newest = {
        pk: (is_now, what) for pk, is_now, what in rows.values_list("target_id", "state", "payload")
    }
    return {pk: what for pk, (is_now, what) in newest.items() if is_now == state}


def waiting_until(ids: Iterable[int]) -> dict[int, datetime]:
    """Those of these that wait for a decision, with when they expire."""
    rows = ChangeRequest.objects.filter(pk__in=list(ids), state=WAITING)
    return dict(rows.values_list("pk", "expires_at"))


def undecided() -> set[int]:
    """Ids of all that wait for a decision."""
    return set(ChangeRequest.objects.filter(state=WAITING).values_list("pk", flat=True))


@dataclass(frozen=True, slots=True)
class Approver:
    user_id: int
    email: str
    begins_at: datetime | None  # who got access from the requester approves from then on


def approvers_of(viewer: Viewer, change: ChangeRequest, now: datetime) -> list[Approver]:
    """Who may approve it: those who may at once first."""
    viewer.require(Permission.VIEW_FLEET)
    others = User.objects.filter(
        is_active=True, bindings__role=Role.APPROVER, bindings__tenant=None
    ).exclude(pk=change.requester_id)
    handed = handed_by(change.requester_id, now - OWN_HAND)
    found = [
        Approver(pk, email, handed[str(pk)] + OWN_HAND if str(pk) in handed else None)
        for pk, email in others.order_by("email").values_list("pk", "email")
    ]
    return sorted(found, key=lambda one: one.begins_at or now)


@dataclass(frozen=True, slots=True)
class Decision:
    """What the owner of a change needs to know of it."""

    id: int
    state: str
    payload: dict[str, Any]
    digest: str
    reason: str
    requester: str
    requester_id: int
    decider: str

    @property
    def is_approved(self) -> bool:
        return self.state == ChangeRequest.State.APPROVED.value

    @property
    def is_final(self) -> bool:
        return self.state != WAITING


def decision_of(change_id: int) -> Decision:
    """For who owns what the change is about, and answers for whom it shows it to."""
    change = ChangeRequest.objects.select_related("requester", "decider").get(pk=change_id)
    return Decision(
        id=change.pk,
        state=change.state,
        payload=change.payload,
        digest=change.digest,
        reason=change.reason,
        requester=change.requester.email,
        requester_id=change.requester_id,
        decider=change.decider.email if change.decider else "",
    )
