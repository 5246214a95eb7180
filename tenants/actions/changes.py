"""Four eyes: propose a change, let somebody else decide, tell the owner of the change."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils import timezone

from tenants.actions.audit import record
from tenants.errors import Conflict, Forbidden, NotFound
from tenants.models import ChangeRequest
from tenants.nudge import nudge
from tenants.queries.access import as_of_now, handed_by
from tenants.rules import changes as rules
from tenants.rules.access import Permission, Viewer, system_viewer

DECIDED = "fleet.tasks.change_decided"
BELLS = {  # of kinds with another owner
    "billing_period": "billing.tasks.change_decided",
    "credit_grant": "billing.tasks.keep_credits",
    "gpu_prices": "billing.tasks.publish_prices",
    "pod_loss": "fleet.tasks.pod_loss_decided",
    "price_version": "billing.tasks.publish_prices",
    "usage_quarantine": "billing.tasks.decide_quarantine",
    "rollout_sequence": "fleet.tasks.sequence_decided",
}
WAIT = timedelta(days=3)
State = ChangeRequest.State


@transaction.atomic
def propose(
    viewer: Viewer,
    *,
    kind: str,
    target_id: int,
    title: str,
    payload: dict[str, Any],
    reason: str = "",
    expires_in: timedelta = WAIT,
    permission: Permission = Permission.PROPOSE,
) -> ChangeRequest:
    """Ask somebody else to approve `payload`; its digest is what they will approve.

    `permission` is what asking for this kind of change needs.
    """
    viewer.require(permission)
    if viewer.user_id is None:
        raise Forbidden("Only a person can propose a change: the approver must know whom to ask")
    if refusal := rules.refuse_proposal(title=title, expires_in=expires_in):
        raise refusal
    change = ChangeRequest(
        kind=kind,
        target_id=target_id,
        title=title.strip()[:200],
        payload=payload,
        digest=rules.digest_of(payload),
        reason=reason.strip(),
        requester_id=viewer.user_id,
        expires_at=timezone.now() + expires_in,
    )
    try:
        with transaction.atomic():
            change.save()
    except IntegrityError as error:
        raise Conflict("A change of this waits already: decide or withdraw that one") from error
    record(viewer, "change.propose", change, after=_facts(change), why=change.reason)
    return change


@transaction.atomic
def decide(
    viewer: Viewer, change_id: int, *, digest: str, approve: bool, why: str = ""
) -> ChangeRequest:
    """Approve or reject what the viewer saw, named by `digest`."""
    change = _locked(viewer, change_id)
    as_of_now(viewer).require(Permission.APPROVE)
    now = timezone.now()
    handed = handed_by(change.requester_id, now - rules.OWN_HAND)
    refusal = rules.refuse_decision(
        replace(_open(change), handed_at=handed.get(str(viewer.user_id))),
        decider_id=viewer.user_id,
        digest=digest,
        approve=approve,
        why=why,
        now=now,
    )
    if refusal:
        raise refusal
    before = _facts(change)
    change.state = State.APPROVED.value if approve else State.REJECTED.value
    change.decider_id = viewer.user_id
    change.decision_reason = why.strip()
    _close(change)
    verb = "change.approve" if approve else "change.reject"
    record(viewer, verb, change, before=before, after=_facts(change), why=change.decision_reason)
    return change


@transaction.atomic
def withdraw(viewer: Viewer, change_id: int, *, why: str = "") -> ChangeRequest:
    """Take back what one asked for; who may propose may also clear another's away."""
    change = _locked(viewer, change_id)
    if change.requester_id != viewer.user_id:
        viewer.require(Permission.PROPOSE)
    if change.state != State.WAITING:
        raise Conflict(f"This change is not waiting any more: it was {change.state}")
    before = _facts(change)
    change.state = State.WITHDRAWN.value
    change.decision_reason = why.strip()
    _close(change)
    record(viewer, "change.withdraw", change, before=before, after=_facts(change), why=why)
    return change


@transaction.atomic
def expire() -> int:
    """Close what nobody decided in time. Answers how many."""
    viewer = system_viewer("expire changes")
    late = ChangeRequest.objects.filter(state=State.WAITING.value, expires_at__lte=Now())
    rows = list(late.select_for_update(skip_locked=True, of=("self",), no_key=True))
    for change in rows:
        before = _facts(change)
        change.state = State.EXPIRED.value
        change.decision_reason = "Nobody decided in time"
        _close(change)
        record(viewer, "change.expire", change, before=before, after=_facts(change))
    return len(rows)


def _locked(viewer: Viewer, change_id: int) -> ChangeRequest:
    rows = ChangeRequest.objects.select_for_update(of=("self",), no_key=True)
    change = rows.select_related("requester", "decider").filter(pk=change_id).first()
    if change is None:
        raise NotFound("No such change")
    is_own = viewer.user_id is not None and change.requester_id == viewer.user_id
    if not is_own and not viewer.may(Permission.VIEW_FLEET) and not viewer.may(Permission.APPROVE):
        raise NotFound("No such change")
    return change


def _open(change: ChangeRequest) -> rules.Open:
    return rules.Open(
        state=change.state,
        digest=change.digest,
        requester_id=change.requester_id,
        requester=change.requester.email,
        decided_by=change.decider.email if change.decider else "",
        expires_at=change.expires_at,
    )


def _close(change: ChangeRequest) -> None:
    change.decided_at = timezone.now()
    change.save(update_fields=["state", "decider", "decision_reason", "decided_at"])
    nudge(BELLS.get(change.kind, DECIDED), change.pk)


def _facts(change: ChangeRequest) -> dict[str, Any]:
    """What the audit keeps: the payload can be long, its digest says which one it was."""
    return {
        "kind": change.kind,
        "target_id": change.target_id,
        "title": change.title,
        "state": change.state,
        "payload_sha256": change.digest,
        "expires_at": change.expires_at,
    }
