"""Write what people wish of something that moves: a rollout, a sequence of them.

One way for all of them: the row is locked, the rules may refuse, the wish stands beside the phase,
who wished what is audited and noted, and the drive is told. The next pass acts on it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.db import transaction
from django.db.models.functions import Now

from fleet.models import Rollout, RolloutSequence
from fleet.rules.wishes import RUN, Manner, ends_unmoved, refuse_wish
from tenants.actions import changes
from tenants.actions.audit import record
from tenants.errors import Conflict
from tenants.nudge import nudge
from tenants.rules.access import Permission, Viewer

Moving = TypeVar("Moving", Rollout, RolloutSequence)


@dataclass(frozen=True, slots=True)
class Kind(Generic[Moving]):
    """What is its own of each kind of move."""

    noun: str  # of the audit
    drive: str  # the task that moves it
    manner: Manner
    lock: Callable[[int], Moving]
    facts: Callable[[Moving], Mapping[str, Any]]
    note: Callable[[Moving, Viewer, str], None]


@transaction.atomic
def wish(kind: Kind[Moving], viewer: Viewer, pk: int, wanted: str, why: str) -> Moving:
    """Write the wish beside the phase, or raise `Conflict` with a sentence."""
    viewer.require(Permission.PROPOSE)
    moving, why = kind.lock(pk), why.strip()
    if refusal := refuse_wish(kind.manner, str(moving), moving.phase, moving.wish, wanted):
        raise Conflict(refusal)
    before = dict(kind.facts(moving))
    moving.wish, moving.wish_by, moving.wish_why = str(wanted), viewer.email, why
    moving.wish_at = moving.look_again = Now()
    moving.save(update_fields=["wish", "wish_by", "wish_why", "wish_at", "look_again"])
    moving.refresh_from_db()
    verb, after = kind.manner.verbs[wanted], dict(kind.facts(moving))
    record(viewer, f"{kind.noun}.{verb}", moving, before=before, after=after, why=why)
    asked = "resume" if wanted == RUN else verb
    said = f"{asked.replace('_', ' ').capitalize()} asked"
    kind.note(moving, viewer, f"{said}: {why}" if why else said)
    if ends_unmoved(kind.manner, moving.phase, wanted):
        withdraw(viewer, moving.change_id, why or f"The {kind.noun} was given up")
    nudge(kind.drive, moving.pk)
    return moving


def withdraw(viewer: Viewer, change_id: int | None, why: str) -> None:
    """Nobody shall be asked about what was given up."""
    if change_id is None:
        return
    try:
        changes.withdraw(viewer, change_id, why=why)
    except Conflict:
        return  # decided meanwhile: the drive looks at the wish first
