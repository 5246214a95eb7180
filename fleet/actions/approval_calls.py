"""Call whoever may approve what asks once, as a whole: a sequence, or a drill that kills a replica.

Told once when it waits, and once before its approval expires. What a rollout waits for in between
is told by `fleet.actions.calls`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from fleet.actions.calls import Due, Subject, is_alone
from fleet.models import ApprovalCall, PodLoss, RolloutSequence
from fleet.rules.calls import CallKind, Facts, calls_for
from fleet.rules.phases import Phase as RolloutPhase
from fleet.rules.pod_loss import LossPhase
from fleet.rules.sequence import Phase
from tenants.queries.changes import waiting_until


@dataclass(frozen=True, slots=True)
class Asking:
    change_id: int
    told: Due  # but for the moment at which its approval expires


def take_due_approvals(now: datetime) -> list[Due]:
    """Answers what to tell now, and marks it told. In the caller's transaction and scope."""
    if not is_alone():
        return []
    asking = {a.change_id: a for a in (*sequences(), *losses())}
    waits = waiting_until(asking)
    over = ApprovalCall.objects.filter(ended_at=None).exclude(change_id__in=asking)
    over.update(ended_at=now)
    told = set(ApprovalCall.objects.filter(change_id__in=asking).values_list("change_id", "kind"))
    found = []
    for change_id, until in sorted(waits.items()):
        facts = Facts(RolloutPhase.AWAITING_APPROVAL, approval="waiting", expires_at=until)
        for kind in sorted(calls_for(facts, now)):
            if (change_id, kind) not in told:
                ApprovalCall.objects.create(change_id=change_id, kind=kind.value, called_at=now)
                found.append(replace(asking[change_id].told, kind=kind, expires_at=until))
    return found


def sequences() -> Iterator[Asking]:
    rows = RolloutSequence.objects.filter(phase=Phase.AWAITING_APPROVAL.value, change_id__gt=0)
    rows = rows.select_related("service__current_release", "release").order_by("id")
    for row in rows.prefetch_related("stages__cluster"):
        stages = sorted(row.stages.all(), key=lambda stage: stage.number)
        serving = row.service.current_release
        yield Asking(
            row.change_id or 0,
            Due(
                kind=CallKind.APPROVAL_WAITS,
                subject=Subject.SEQUENCE,
                pk=row.pk,
                label=str(row),
                service=row.service.name,
                cluster=", ".join(stage.cluster.slug for stage in stages),
                release_from=str(serving) if serving else "",
                release_to=str(row.release),
                why=row.why,
                since=row.phase_since,
            ),
        )


def losses() -> Iterator[Asking]:
    """Nothing moves to another release: it names the one of which a replica is killed."""
    rows = PodLoss.objects.filter(phase=LossPhase.AWAITING_APPROVAL.value, change_id__gt=0)
    for row in rows.select_related("drill", "service", "cluster", "release").order_by("id"):
        yield Asking(
            row.change_id or 0,
            Due(
                kind=CallKind.APPROVAL_WAITS,
                subject=Subject.DRILL,
                pk=row.drill_id,
                label=str(row.drill),
                service=row.service.name,
                cluster=row.cluster.slug,
                release_from=str(row.release),
                release_to=str(row.release),
                why=row.why,
                since=row.phase_since,
            ),
        )
