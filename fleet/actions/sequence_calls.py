"""Call a person when a sequence stops by itself, where no rollout of it calls for that, and when it
does not get on.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from django.db.models import F, Q, QuerySet

from fleet.actions.approval_calls import due_of
from fleet.actions.calls import Due, is_alone
from fleet.models import RolloutSequence
from fleet.rules.calls import FAILING, CallKind, Stuck, failed_words, is_stuck_due, stuck
from fleet.rules.phases import Phase as RolloutPhase
from fleet.rules.sequence import FINAL, Phase, StageState


def take_due_stops(now: datetime, again: timedelta) -> list[Due]:
    """Answers what to tell now, and marks it told. In the caller's transaction and scope."""
    if not is_alone():
        return []
    return [*stops(), *stuck_ones(now, again)]


def stops() -> list[Due]:
    untold = Q(stop_told=None) | ~Q(stop_told=F("phase_since"))
    rows = with_stages(RolloutSequence.objects.filter(untold, phase=Phase.PAUSED.value))
    stopped = [row for row in rows if has_stopped(row)]
    ids = [row.pk for row in stopped]
    RolloutSequence.objects.filter(pk__in=ids).update(stop_told=F("phase_since"))
    return [due_of(row, CallKind.PAUSED) for row in stopped]


def with_stages(rows: QuerySet[RolloutSequence]) -> QuerySet[RolloutSequence]:
    rows = rows.select_related("service__current_release", "release").order_by("id")
    return rows.prefetch_related("stages__cluster", "stages__rollout")


def has_stopped(sequence: RolloutSequence) -> bool:
    """By a stage whose rollout did not go back: of that one people are told already."""
    failed = [s for s in sequence.stages.all() if s.state == StageState.FAILED]
    return any(s.rollout is None or s.rollout.phase != RolloutPhase.ROLLED_BACK for s in failed)


def stuck_ones(now: datetime, again: timedelta) -> Iterator[Due]:
    refused = Q(stages__refused_since__isnull=False)
    rows = RolloutSequence.objects.filter(refused | Q(failures__gte=FAILING)).distinct()
    for row in with_stages(rows.exclude(phase__in=[p.value for p in FINAL])):
        found = stuck(facts_of(row), now)
        if found is None or not is_stuck_due(found, row.stuck_told, now=now, again=again):
            continue
        RolloutSequence.objects.filter(pk=row.pk).update(stuck_told=now)
        why = failed_words(row.failures, row.failure, row.why) if found.failing else row.why
        yield replace(due_of(row, found.kind), why=why, since=found.since)


def facts_of(row: RolloutSequence) -> Stuck:
    refused = [s.refused_since for s in row.stages.all() if s.refused_since is not None]
    back = row.phase == Phase.ROLLING_BACK
    return Stuck(
        kind=CallKind.BLOCKED if back else CallKind.STUCK,
        since=min(refused, default=row.phase_since),
        failing=row.failures >= FAILING,
    )
