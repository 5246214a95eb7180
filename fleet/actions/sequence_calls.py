"""Call a person each time a sequence stops by itself, where no rollout of it calls for that."""

from django.db.models import F, Q

from fleet.actions.approval_calls import due_of
from fleet.actions.calls import Due, is_alone
from fleet.models import RolloutSequence
from fleet.rules.calls import CallKind
from fleet.rules.phases import Phase as RolloutPhase
from fleet.rules.sequence import Phase, StageState


def take_due_stops() -> list[Due]:
    """Answers what to tell now, and marks it told. In the caller's transaction and scope."""
    if not is_alone():
        return []
    untold = Q(stop_told=None) | ~Q(stop_told=F("phase_since"))
    rows = RolloutSequence.objects.filter(untold, phase=Phase.PAUSED.value)
    rows = rows.select_related("service__current_release", "release").order_by("id")
    rows = rows.prefetch_related("stages__cluster", "stages__rollout")
    stopped = [row for row in rows if has_stopped(row)]
    ids = [row.pk for row in stopped]
    RolloutSequence.objects.filter(pk__in=ids).update(stop_told=F("phase_since"))
    return [due_of(row, CallKind.PAUSED) for row in stopped]


def has_stopped(sequence: RolloutSequence) -> bool:
    """By a stage whose rollout did not go back: of that one people are told already."""
    failed = [s for s in sequence.stages.all() if s.state == StageState.FAILED]
    return any(s.rollout is None or s.rollout.phase != RolloutPhase.ROLLED_BACK for s in failed)
