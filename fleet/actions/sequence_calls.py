"""Call whoever may approve a sequence: once when it waits, once before its approval expires."""

from datetime import datetime

from fleet.actions.calls import Due, is_alone
from fleet.models import RolloutSequence, SequenceCall
from fleet.rules.calls import CallKind, Facts, calls_for
from fleet.rules.phases import Phase as RolloutPhase
from fleet.rules.sequence import Phase
from tenants.queries.changes import waiting_until


def take_due_sequences(now: datetime) -> list[Due]:
    """Answers what to tell now, and marks it told. In the caller's transaction and scope."""
    if not is_alone():
        return []
    rows = RolloutSequence.objects.filter(phase=Phase.AWAITING_APPROVAL.value)
    rows = rows.select_related("service__current_release", "release").order_by("id")
    asking = {s.pk: s for s in rows.prefetch_related("stages__cluster")}
    waits = waiting_until(s.change_id for s in asking.values() if s.change_id)
    over = SequenceCall.objects.filter(ended_at=None).exclude(sequence__in=asking)
    over.update(ended_at=now)
    told = set(SequenceCall.objects.filter(sequence__in=asking).values_list("sequence_id", "kind"))
    found = []
    for sequence in asking.values():
        until = waits.get(sequence.change_id or 0)
        facts = Facts(
            phase=RolloutPhase.AWAITING_APPROVAL,
            approval="waiting" if until else "",
            expires_at=until,
        )
        for kind in sorted(calls_for(facts, now)):
            if (sequence.pk, kind) in told:
                continue
            SequenceCall.objects.create(sequence=sequence, kind=kind.value, called_at=now)
            found.append(due_of(sequence, kind, until))
    return found


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
