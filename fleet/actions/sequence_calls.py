"""Call people about a sequence: whoever may approve it, once when it waits and once before its
approval expires; and once each time it stops by itself, where no rollout of it calls for that.
"""

from datetime import datetime

from fleet.actions.calls import Due, is_alone
from fleet.models import RolloutSequence, SequenceCall
from fleet.rules.calls import CallKind, Facts, calls_for
from fleet.rules.phases import Phase as RolloutPhase
from fleet.rules.sequence import Phase, StageState
from tenants.queries.changes import waiting_until

CALLING = (Phase.AWAITING_APPROVAL.value, Phase.PAUSED.value)


def take_due_sequences(now: datetime) -> list[Due]:
    """Answers what to tell now, and marks it told. In the caller's transaction and scope."""
    if not is_alone():
        return []
    rows = RolloutSequence.objects.filter(phase__in=CALLING)
    rows = rows.select_related("service__current_release", "release").order_by("id")
    calling = {s.pk: s for s in rows.prefetch_related("stages__cluster", "stages__rollout")}
    waits = waiting_until(s.change_id for s in calling.values() if s.change_id)
    wanted = {
        (pk, kind): sequence
        for pk, sequence in calling.items()
        for kind in sorted(calls_of(sequence, waits.get(sequence.change_id or 0), now))
    }
    found = {
        (c.sequence_id, CallKind(c.kind)): c for c in SequenceCall.objects.filter(ended_at=None)
    }
    over = [call.pk for key, call in found.items() if key not in wanted]
    SequenceCall.objects.filter(pk__in=over).update(ended_at=now)
    told = []
    for (pk, kind), sequence in wanted.items():
        if (pk, kind) not in found and mark(sequence, kind, now):
            told.append(due_of(sequence, kind, waits.get(sequence.change_id or 0)))
    return told


def calls_of(
    sequence: RolloutSequence, until: datetime | None, now: datetime
) -> frozenset[CallKind]:
    """`until`: when the approval that it waits for expires."""
    if sequence.phase == Phase.PAUSED:
        return frozenset({CallKind.PAUSED}) if has_stopped(sequence) else frozenset()
    waiting = "waiting" if until else ""
    facts = Facts(phase=RolloutPhase.AWAITING_APPROVAL, approval=waiting, expires_at=until)
    return calls_for(facts, now)


def has_stopped(sequence: RolloutSequence) -> bool:
    """By a stage whose rollout did not go back: of that one people are told already."""
    failed = [s for s in sequence.stages.all() if s.state == StageState.FAILED]
    return any(s.rollout is None or s.rollout.phase != RolloutPhase.ROLLED_BACK for s in failed)


def mark(sequence: RolloutSequence, kind: CallKind, now: datetime) -> bool:
    """False: it was told before. What stops again after it had gone on is news."""
    rows = SequenceCall.objects.filter(sequence=sequence, kind=kind.value)
    if not rows.exists():
        SequenceCall.objects.create(sequence=sequence, kind=kind.value, called_at=now)
        return True
    if kind is not CallKind.PAUSED:
        return False
    rows.update(called_at=now, ended_at=None)
    return True


def due_of(sequence: RolloutSequence, kind: CallKind, until: datetime | None) -> Due:
    stages = sorted(sequence.stages.all(), key=lambda stage: stage.number)
    serving = sequence.service.current_release
    return Due(
        kind=kind,
        sequence_id=sequence.pk,
        label=str(sequence),
        service=sequence.service.name,
        cluster=", ".join(stage.cluster.slug for stage in stages),
        release_from=str(serving) if serving else "",
        release_to=str(sequence.release),
        why=sequence.why,
        since=sequence.phase_since,
        expires_at=until,
        times=1,
    )
