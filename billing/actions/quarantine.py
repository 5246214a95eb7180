"""A person decides about an event that the door put aside: take it after all, or drop it."""

from django.db import transaction

from billing.actions.ingest import LONGEST_KEPT, store
from billing.models import UsageQuarantine
from billing.rules.events import Refused, moment, peek_end, read_event
from tenants.actions.audit import record
from tenants.errors import Conflict, Invalid, NotFound
from tenants.nudge import nudge
from tenants.rules.access import Permission, Viewer


@transaction.atomic
def take(viewer: Viewer, row_id: int, *, why: str) -> None:
    """Store it now. Only the rules about its time are waived; all others hold as at the door."""
    row = _find(viewer, row_id, why)
    raw = row.payload.encode()
    if len(raw) >= LONGEST_KEPT:
        raise Conflict("This event was cut when it was kept; only its gateway can send it again")
    ended = peek_end(raw)
    found = read_event(raw, moment(ended) if ended is not None else row.received_at)
    if isinstance(found, Refused):
        raise Conflict(f"It still cannot be taken: {found.detail}")
    receipt = store(row.source_id, [found], now=found.ended)
    if receipt.quarantined:
        raise Conflict(f"It still cannot be taken: {receipt.quarantined[0].detail}")
    _close(viewer, row, "usage_quarantine.take", why)
    nudge("billing.tasks.roll_up")


@transaction.atomic
def drop(viewer: Viewer, row_id: int, *, why: str) -> None:
    """Give it up: it is never charged. The audit keeps what it said."""
    row = _find(viewer, row_id, why)
    _close(viewer, row, "usage_quarantine.drop", why)


def _find(viewer: Viewer, row_id: int, why: str) -> UsageQuarantine:
    viewer.require(Permission.MANAGE_MONEY)
    if not why.strip():
        raise Invalid(why="Say why: this decides about money")
    row = UsageQuarantine.objects.select_for_update().filter(pk=row_id).first()
    if row is None:
        raise NotFound("This event does not wait any more")
    return row


def _close(viewer: Viewer, row: UsageQuarantine, verb: str, why: str) -> None:
    before = {
        "event_id": row.event_id,
        "reason": row.reason,
        "detail": row.detail,
        "payload": row.payload,
    }
    record(viewer, verb, row, before=before, why=why, tenant_id=row.tenant_id)
    row.delete()
