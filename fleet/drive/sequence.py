"""One pass over one sequence: claim, look, decide, act, record.

Acting means opening a rollout or asking for a way back, both rows of their own with machines of
their own; each is made once however often a pass is repeated.
"""

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from django.db.models.functions import Now

from fleet.actions.stages import begin_stage, undo_stage
from fleet.models import RolloutSequence, SequenceEvent, SequenceStage
from fleet.queries.sequences import load_state
from fleet.rules.sequence import FINAL, Decision, Phase, Stage, StageState, State, decide
from tenants.actions import audit
from tenants.base.claims import claimed
from tenants.base.rows import database_now
from tenants.base.scope import fleet_scope
from tenants.errors import ConsoleError
from tenants.rules.access import Permission, Viewer, system_viewer

log = structlog.get_logger(__name__)
Clock = Callable[[], datetime]
OPEN = [phase.value for phase in Phase if phase not in FINAL]
AUDITED = FINAL | {Phase.PAUSED, Phase.ROLLING_BACK}


def due_sequences() -> list[int]:
    return RolloutSequence.due(phase__in=OPEN)


def drive(sequence_id: int, clock: Clock = database_now) -> timedelta | None:
    """Make one pass. Answers when to look again; None: final, or somebody else has the row."""
    with claimed(RolloutSequence, sequence_id) as claim:
        return pass_over(sequence_id, claim, clock()) if claim else None


def pass_over(sequence_id: int, claim: uuid.UUID, now: datetime) -> timedelta | None:
    with fleet_scope():
        related = ("service", "release", "requested_by")
        row = RolloutSequence.objects.select_related(*related).get(pk=sequence_id)
        state = load_state(row, now)
    decision = decide(state, now)
    if not still_ours(sequence_id, claim):
        log.info("claim lost, the pass is dropped", sequence=sequence_id)
        return None
    decision = act(row, decision, now)
    if not record(row, state, decision, claim, now):
        log.info("claim lost, the record is dropped", sequence=sequence_id)
        return None
    log.info("sequence", sequence=sequence_id, phase=decision.phase, why=decision.why)
    return decision.look_again


def still_ours(sequence_id: int, claim: uuid.UUID) -> bool:
    rows = RolloutSequence.objects.filter(pk=sequence_id, claim=claim, claim_until__gt=Now())
    return rows.exists()


def viewer() -> Viewer:
    return system_viewer("sequences", (Permission.VIEW, Permission.VIEW_FLEET, Permission.PROPOSE))


def act(row: RolloutSequence, decision: Decision, now: datetime) -> Decision:
    """Begin or take back; what is refused now is said, and tried again at the next pass."""
    refused = {s.number: s.refused or now for s in decision.stages}
    decision = replace(decision, stages=tuple(replace(s, refused=None) for s in decision.stages))
    if (number := decision.begin) is not None:
        begin = partial(begin_stage, viewer(), row, number)
        decision = attempt(decision, number, begin, refused[number])
    why = f"{row}: {row.wish_why or 'taken back'}"
    for number in decision.undo:
        undo = partial(undo_stage, viewer(), row, number, why=why)
        decision = attempt(decision, number, undo, refused[number])
    return decision


def attempt(
    decision: Decision, number: int, action: Callable[[], Any], since: datetime
) -> Decision:
    """`since`: when it was refused first, where it is refused now."""
    try:
        with fleet_scope():
            action()
    except ConsoleError as error:
        stages = tuple(
            replace(s, why=f"Tries again. {error.message}", refused=since)
            if s.number == number
            else s
            for s in decision.stages
        )
        cluster = next(s.cluster for s in stages if s.number == number)
        why = f"{decision.why}. {cluster} refuses it for now: {error.message}"
        return replace(decision, stages=stages, why=why)
    return decision


def record(
    row: RolloutSequence, state: State, decision: Decision, claim: uuid.UUID, now: datetime
) -> bool:
    """Write phase, stages and timeline in one transaction. False: claim lost, all is dropped."""
    with fleet_scope():
        if not RolloutSequence.record(row.pk, claim, **columns(row, decision, now)):
            return False
        before = {stage.number: stage for stage in state.stages}
        for stage in decision.stages:
            store_stage(row, before[stage.number], stage)
        if decision.phase.value != row.phase:
            tell(row, "", decision.phase.value, decision.why)
            if decision.phase in AUDITED:
                after = {"phase": decision.phase.value}
                verb = f"sequence.{decision.phase}"
                old = {"phase": row.phase}
                audit.record(viewer(), verb, row, before=old, after=after, why=decision.why)
    return True


def columns(row: RolloutSequence, decision: Decision, now: datetime) -> dict[str, Any]:
    again = decision.look_again
    found: dict[str, Any] = {
        "phase": decision.phase.value,
        "why": decision.why,
        "look_again": None if again is None else now + again,
        "failures": 0,
        "failure": "",
    }
    if decision.phase.value != row.phase:
        found["phase_since"] = now
    if decision.phase in FINAL:
        found["ended_at"] = now
    return found


def store_stage(row: RolloutSequence, before: Stage, stage: Stage) -> None:
    changed: dict[str, Any] = {
        "state": stage.state.value,
        "since": stage.since,
        "frozen": stage.is_frozen,
        "why": stage.why,
        "refused_since": stage.refused,
    }
    if stage.state is StageState.PENDING and before.state is StageState.FAILED:
        changed["rollout"] = None  # it is tried again by another one
    rows = SequenceStage.objects.filter(sequence=row, number=stage.number)
    was_frozen = rows.values_list("frozen", flat=True).get()
    rows.update(**changed)
    if (before.state, was_frozen) != (stage.state, stage.is_frozen):
        word = "frozen" if stage.is_frozen else stage.state.value
        tell(row, stage.cluster, word, stage.why or "Seen again")


def tell(row: RolloutSequence, cluster: str, state: str, why: str) -> None:
    SequenceEvent.objects.create(sequence=row, cluster=cluster, state=state, why=why)
