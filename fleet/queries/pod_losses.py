"""What a drill of a lost pod looks like to the rules, and what traffic met meanwhile."""

from collections import Counter
from datetime import datetime, timedelta

from django.db.models import Sum

from fleet.models import (
    TAKES_TRAFFIC,
    ObservedPod,
    PodLoss,
    Release,
    Rollout,
    Service,
    StartSample,
    TrafficSlot,
)
from fleet.queries.access import see_fleet
from fleet.queries.freezes import freeze_of_service
from fleet.queries.rollout_time import RolloutHour
from fleet.rules.drill import Limits
from fleet.rules.phases import FINAL
from fleet.rules.pod_loss import LossPhase, LossState
from fleet.rules.starts import measured
from fleet.rules.state import Approval
from fleet.rules.traffic import GATE_SECONDS, slot_of
from tenants.queries.changes import get_verdict
from tenants.queries.directory import tenant_refs
from tenants.rules.access import Permission, Viewer

KIND = "pod_loss"  # of the change request; its target is the drill
LOST = ("failed", "timed_out", "shed")
SERVED = ("served", "rerouted", "degraded")
STARTS = 50
HOUR = timedelta(hours=1)


def promised_start(service: Service, release: Release) -> float | None:
    """Seconds, p95 of its last starts: so long a replacement should take."""
    rows = StartSample.objects.filter(release=release).order_by("-id")
    return measured(list(rows.values_list("seconds", flat=True)[:STARTS]), str(release)).p95


def state_of(viewer: Viewer, loss: PodLoss) -> LossState:
    verdict = get_verdict(viewer, loss.change_id) if loss.change_id else None
    return LossState(
        phase=LossPhase(loss.phase),
        phase_since=loss.phase_since,
        limits=Limits(**loss.drill.limits),
        consent=loss.consent,
        approval=Approval(verdict.state, verdict.by, verdict.why) if verdict else Approval(),
        uid=loss.uid,
        pod=loss.pod,
        node=loss.node,
        gpus=loss.gpus,
        before=loss.before,
        least=loss.least,
        killed_at=loss.killed_at,
        out_at=loss.out_at,
        replaced_by=loss.replaced_by,
        replaced_at=loss.replaced_at,
    )


def moving(loss: PodLoss) -> str:
    """The rollout that moves its service, or will by itself."""
    rows = Rollout.objects.filter(service=loss.service_id).exclude(
        phase__in=[p.value for p in FINAL]
    )
    found = rows.exclude(started_at=None).first()
    return str(found) if found else ""


def frozen(loss: PodLoss, now: datetime) -> str:
    found = freeze_of_service(loss.service, loss.cluster, now)
    return found.sentence if found else ""


def routed(loss: PodLoss) -> frozenset[str]:
    """Pods that a routing snapshot made now would hold."""
    rows = ObservedPod.objects.filter(TAKES_TRAFFIC, deployment__service=loss.service_id)
    return frozenset(rows.values_list("uid", flat=True))


def lost_requests(loss: PodLoss) -> tuple[int, tuple[tuple[str, int], ...]]:
    """Requests that were served, and those lost by tenant, in the slots from kill to end."""
    if loss.killed_at is None or loss.ended_at is None:
        return 0, ()
    start = slot_of(loss.killed_at, GATE_SECONDS)
    rows = TrafficSlot.objects.filter(
        service_id=loss.service_id, seconds=GATE_SECONDS, slot__gte=start, slot__lte=loss.ended_at
    )
    counted = rows.values_list("tenant_id", "outcome").annotate(n=Sum("requests"))
    served, lost = 0, Counter[int]()
    for tenant_id, outcome, number in counted:
        if outcome in LOST:
            lost[tenant_id] += number
        elif outcome in SERVED:
            served += number
    names = tenant_refs(lost) if lost else {}
    named = ((names[t].slug if t in names else str(t), n) for t, n in lost.most_common())
    return served, tuple(named)


def loss_hours(
    viewer: Viewer,
    start: datetime | None = None,
    end: datetime | None = None,
    *,
    drill_id: int | None = None,
) -> list[tuple[int, RolloutHour]]:
    """By drill: GPUs of the killed replica from the kill until another one served, which were paid
    and served nobody. Of the hours in [start, end), or all of one drill.
    """
    if not viewer.may(Permission.VIEW_MONEY):
        see_fleet(viewer)
    rows = PodLoss.objects.exclude(killed_at=None).exclude(ended_at=None)
    if drill_id is not None:
        rows = rows.filter(drill_id=drill_id)
    if start is not None and end is not None:
        rows = rows.filter(killed_at__lt=end, ended_at__gte=start)
    related = ("service", "cluster", "release")
    found = [pair for loss in rows.select_related(*related) for pair in hours_of(loss)]
    return [(d, h) for d, h in found if start is None or end is None or start <= h.hour < end]


def hours_of(loss: PodLoss) -> list[tuple[int, RolloutHour]]:
    assert loss.killed_at is not None
    assert loss.ended_at is not None
    until = loss.replaced_at or loss.ended_at
    hour = loss.killed_at.replace(minute=0, second=0, microsecond=0)
    found = []
    while hour < until:
        inside = min(hour + HOUR, until) - max(hour, loss.killed_at)
        found.append((loss.drill_id, RolloutHour(
            rollout_id=0, service=loss.service.name, cluster=loss.cluster.slug, phase=loss.phase,
            started_at=loss.killed_at, ended_at=loss.ended_at, hour=hour,
            product=loss.release.resources.get("gpu_product", ""),
            gpu_ms=round(inside.total_seconds() * 1000) * loss.gpus,
        )))  # fmt: skip
        hour += HOUR
    return found
