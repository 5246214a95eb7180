"""Rollout sequences: what one looks like to the rules, to pages and to the API."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Prefetch, QuerySet
from django.utils import timezone

from fleet.models import Finding, Rollout, RolloutSequence, SequenceStage
from fleet.queries.access import see_fleet
from fleet.queries.calls import approvers_told
from fleet.queries.stage_times import Calendar, calendar_at
from fleet.rules.begins_within import BeginsWithin
from fleet.rules.freshness import lost_because
from fleet.rules.phases import BEFORE_WRITES
from fleet.rules.phases import FINAL as ROLLOUT_ENDED
from fleet.rules.phases import Phase as RolloutPhase
from fleet.rules.release import digest_json
from fleet.rules.sequence import FINAL, Move, Phase, Stage, StageState, State, Wish
from fleet.rules.stage_times import Opening
from fleet.rules.state import Approval
from tenants.errors import NotFound
from tenants.queries.changes import Decision, decision_of, get_change
from tenants.rules.access import Permission, Viewer, system_viewer

KIND = "rollout_sequence"  # of the change request
PAIRS = ("service", "cluster", "rollout", "back", "release")


@dataclass(frozen=True, slots=True)
class EventRow:
    at: datetime
    cluster: str
    state: str
    actor: str
    why: str


@dataclass(frozen=True, slots=True)
class StageRow:
    """`shown`: its state in one word, frozen where its cluster is lost. `opens_at`: of one that has
    not begun, the earliest moment by its own time and the change calendar; `opens_why`: of both.
    """

    number: int
    service: str
    cluster: str
    region: str
    release: str
    state: str
    shown: str
    since: datetime
    bakes_until: datetime | None
    begins_from: datetime | None
    opens_at: datetime | None
    opens_why: str
    why: str
    rollout_id: int | None
    rollout_phase: str
    back_id: int | None
    can_leave_out: bool

    @property
    def dialog(self) -> str:
        return str(self.number)


@dataclass(frozen=True, slots=True)
class SequenceRow:
    id: int
    label: str  # SQ-3
    service: str
    release_id: int
    release: str
    phase: str
    wish: str
    why: str
    requested_by: str
    created_at: datetime
    phase_since: datetime
    ended_at: datetime | None
    stages: tuple[StageRow, ...]

    @property
    def is_open(self) -> bool:
        return self.phase not in FINAL

    @property
    def done(self) -> int:
        return sum(stage.state == StageState.DONE for stage in self.stages)


@dataclass(frozen=True, slots=True)
class SequenceDetail:
    sequence: SequenceRow
    reason: str
    bake_seconds: int
    wish_by: str
    wish_why: str
    approval: Decision | None
    called_at: datetime | None  # whoever may approve, the last time; None: nobody, or it is over
    timeline: tuple[EventRow, ...]
    failures: int
    failure: str


def sequences(viewer: Viewer) -> QuerySet[RolloutSequence]:
    see_fleet(viewer)
    stages = SequenceStage.objects.select_related(*PAIRS).order_by("number")
    stages = stages.defer("rollout__manifests", "back__manifests")
    rows = RolloutSequence.objects.select_related("service", "release", "requested_by")
    return rows.prefetch_related(Prefetch("stages", stages)).order_by("-id")


def list_sequences(
    viewer: Viewer, *, service_id: int | None = None, only_open: bool = False
) -> tuple[SequenceRow, ...]:
    """Newest first. `service_id`: those in which it has a stage."""
    rows = sequences(viewer)
    if service_id is not None:
        rows = rows.filter(stages__service=service_id)
    if only_open:
        rows = rows.exclude(phase__in=[p.value for p in FINAL])
    calendar = calendar_at(timezone.now())
    return tuple(row_of(row, calendar) for row in rows[:50])


def get_sequence(viewer: Viewer, sequence_id: int) -> SequenceDetail:
    row = sequences(viewer).filter(pk=sequence_id).first()
    if row is None:
        raise NotFound("There is no such sequence of rollouts")
    return SequenceDetail(
        sequence=row_of(row, calendar_at(timezone.now())),
        reason=row.reason,
        bake_seconds=row.bake_seconds,
        wish_by=row.wish_by,
        wish_why=row.wish_why,
        approval=decision_of(row.change_id) if row.change_id else None,
        called_at=approvers_told(row.change_id),
        timeline=tuple(
            EventRow(e.at, e.cluster, e.state, e.actor, e.why) for e in row.timeline.order_by("-id")
        ),
        failures=row.failures,
        failure=row.failure,
    )


def row_of(row: RolloutSequence, calendar: Calendar) -> SequenceRow:
    """Of `sequences`, which brings the stages of all rows at once."""
    return SequenceRow(
        id=row.pk,
        label=str(row),
        service=row.service.name,
        release_id=row.release_id,
        release=str(row.release),
        phase=row.phase,
        wish=row.wish,
        why=row.why,
        requested_by=row.requested_by.email if row.requested_by else "",
        created_at=row.created_at,
        phase_since=row.phase_since,
        ended_at=row.ended_at,
        stages=tuple(stage_row(row, stage, calendar) for stage in row.stages.all()),
    )


def stage_row(sequence: RolloutSequence, stage: SequenceStage, calendar: Calendar) -> StageRow:
    opens = opening_of(sequence, stage, calendar)
    baking = stage.state == StageState.BAKING and not stage.frozen
    return StageRow(
        number=stage.number,
        service=stage.service.name,
        cluster=stage.cluster.slug,
        region=stage.cluster.region,
        release=str(stage.release),
        state=stage.state,
        shown="frozen" if stage.frozen else stage.state,
        since=stage.since,
        bakes_until=stage.since + timedelta(seconds=sequence.bake_seconds) if baking else None,
        begins_from=stage.begins_from,
        opens_at=opens.at,
        opens_why=opens.why,
        why=stage.why,
        rollout_id=stage.rollout_id,
        rollout_phase=stage.rollout.phase if stage.rollout else "",
        back_id=stage.back_id if stage.back_id != stage.rollout_id else None,
        can_leave_out=sequence.phase not in FINAL and may_be_left_out(stage),
    )


def opening_of(sequence: RolloutSequence, stage: SequenceStage, calendar: Calendar) -> Opening:
    """Of what has not begun, and may yet."""
    if sequence.phase in FINAL or stage.state != StageState.PENDING or stage.left_out_by:
        return Opening()
    return calendar.opening(stage.service_id, stage.cluster_id, stage.begins_from)


def may_be_left_out(stage: SequenceStage) -> bool:
    """What is under way in a cluster that can be seen ends by itself, or is aborted."""
    waits = stage.state in (StageState.PENDING, StageState.FAILED, StageState.GOING_BACK)
    open_ = stage.state in (StageState.MOVING, StageState.BAKING)
    return not stage.left_out_by and (waits or (open_ and stage.frozen))


# -- for the drive --------------------------------------------------------------------------


def load_state(row: RolloutSequence, now: datetime) -> State:
    """The stored sequence as the rules know it, with what was seen of each cluster."""
    stages = row.stages.select_related(*PAIRS).order_by("number")
    return State(
        phase=Phase(row.phase),
        phase_since=row.phase_since,
        release=str(row.release),
        bake=timedelta(seconds=row.bake_seconds),
        stages=tuple(stage_of(stage, now) for stage in stages),
        wish=Wish(row.wish),
        wish_by=row.wish_by,
        wish_why=row.wish_why,
        wish_at=row.wish_at,
        approval=approval_of(row),
        why=row.why,
    )


def stage_of(stage: SequenceStage, now: datetime) -> Stage:
    cluster = stage.cluster
    return Stage(
        number=stage.number,
        cluster=cluster.slug,
        state=StageState(stage.state),
        since=stage.since,
        why=stage.why,
        lost=lost_because(cluster.observed_at, cluster.trouble, now),
        serves=serves(stage),
        finding=finding_of(stage),
        move=move_of(stage.rollout),
        back=move_of(stage.back),
        left_out=left_out_words(stage),
        begins=BeginsWithin(stage.begins_from),
        refused=stage.refused_since,
    )


def serves(stage: SequenceStage) -> bool:
    """The release is the current one there, and no rollout that has begun moves away from it."""
    if stage.service.current_release_id != stage.release_id:
        return False
    leaving = Rollout.objects.filter(service=stage.service_id, from_release=stage.release_id)
    return not leaving.exclude(phase__in=[*ROLLOUT_ENDED, *BEFORE_WRITES]).exists()


def left_out_words(stage: SequenceStage) -> str:
    said = f": {stage.left_out_why}" if stage.left_out_why else ""
    return f"{stage.left_out_by}{said}" if stage.left_out_by else ""


def finding_of(stage: SequenceStage) -> str:
    if stage.state != StageState.BAKING:
        return ""
    rows = Finding.objects.filter(service=stage.service_id, started_at__gte=stage.since)
    found = rows.filter(ended_at=None).order_by("started_at").first()
    return found.sentence if found else ""


def move_of(rollout: Rollout | None) -> Move | None:
    if rollout is None:
        return None
    return Move(str(rollout), RolloutPhase(rollout.phase), rollout.why, rollout.is_rollback)


def approval_of(row: RolloutSequence) -> Approval:
    if row.change_id is None:
        return Approval()
    change = get_change(system_viewer("sequences", (Permission.VIEW_FLEET,)), row.change_id)
    by = change.decider.email if change.decider else ""
    return Approval(change.state, by, change.decision_reason)


def approved_as_stage(payload: Mapping[str, Any], rollout: Rollout) -> str:
    """The rollout's own digest where its manifests are those that the sequence's approval names."""
    named = payload.get("manifests", {}).get(rollout.service.name)
    return rollout.manifest_digest if named == digest_json(rollout.manifests) else ""
