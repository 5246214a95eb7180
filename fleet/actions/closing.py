"""A rollout that went back is closed by a person who says what comes of it."""

from django.db import transaction
from django.db.models.functions import Now

from fleet.actions.rollouts import fetch, note
from fleet.models import Rollout
from fleet.rules.phases import Phase
from tenants.actions.audit import record
from tenants.errors import Conflict, Invalid
from tenants.rules.access import Permission, Viewer


@transaction.atomic
def close_rollout(viewer: Viewer, rollout_id: int, *, why: str) -> Rollout:
    """Nothing is changed in the cluster: it only needs nobody's attention any more."""
    viewer.require(Permission.PROPOSE)
    rollout = fetch(rollout_id, lock=True)
    if rollout.phase != Phase.ROLLED_BACK:
        raise Conflict(f"{rollout} is {rollout.phase}: only what was rolled back is closed")
    if rollout.closed_at is not None:
        raise Conflict(f"{rollout} is closed already")
    if not why.strip():
        raise Invalid(why="Say what comes of it: the note is kept with the rollout")
    Rollout.objects.filter(pk=rollout_id).update(closed_at=Now())
    rollout.refresh_from_db()
    record(viewer, "rollout.close", rollout, after={"closed": True}, why=why)
    note(rollout, viewer, f"Closed: {why.strip()}")
    return rollout
