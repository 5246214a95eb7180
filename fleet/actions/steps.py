"""Ask a person about a step of a rollout, in the name of who proposed it: somebody else decides."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from fleet.actions.wishes import withdraw
from fleet.models import Rollout
from tenants.actions import changes
from tenants.queries.changes import waiting_until
from tenants.rules.access import Viewer

KIND = "rollout_step"  # of the change request
WAIT = timedelta(hours=24)  # then it is a pause


def ask_step(
    viewer: Viewer, rollout: Rollout, judged: Mapping[str, Any], *, digest: str, why: str
) -> None:
    """Inside the pass's own transaction; `digest` is of `judged`."""
    withdraw_step(viewer, rollout, why="Asked anew")
    change = changes.propose(
        replace(viewer, user_id=rollout.requested_by_id),
        kind=KIND,
        target_id=rollout.pk,
        title=f"{rollout.service}: step {judged['step']} of {rollout} to {rollout.to_release}",
        payload={
            "rollout": rollout.pk,
            "service": str(rollout.service),
            "to": str(rollout.to_release),
            "manifest_digest": rollout.manifest_digest,
            "judged": dict(judged),
            "judged_digest": digest,
        },
        reason=why,
        expires_in=WAIT,
    )
    Rollout.objects.filter(pk=rollout.pk).update(step_change_id=change.pk)


def withdraw_step(viewer: Viewer, rollout: Rollout, *, why: str) -> None:
    if rollout.step_change_id and waiting_until([rollout.step_change_id]):
        withdraw(viewer, rollout.step_change_id, why)
