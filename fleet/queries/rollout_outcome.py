"""The plan that a rollout keeps, against what happened."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Max, Q

from fleet.models import Rollout, RolloutEvent, StartSample
from fleet.queries.rollout_pods import cost_at, gpu_ms_of
from fleet.queries.rollouts import (
    EventRow,
    RolloutDetail,
    event_row,
    find_rollout,
    traffic_back,
)
from fleet.rules.outcome import Comparison, Happened, compare
from fleet.rules.phases import Phase
from fleet.rules.starts import Cache
from fleet.rules.surge_cost import MS_PER_HOUR
from tenants.rules.access import Viewer


@dataclass(frozen=True, slots=True)
class PlanOutcome:
    rollout_id: int
    plan: Mapping[str, Any]  # fleet.rules.plan.Plan as it was frozen
    numbers: Mapping[str, Any]
    starts: Mapping[str, Any]
    touched: Sequence[Mapping[str, Any]]
    compared: tuple[Comparison, ...]


def outcome_of(
    viewer: Viewer, rollout: int | Rollout, known: RolloutDetail | None = None
) -> PlanOutcome:
    """`known`: the same rollout, where somebody has read it already."""
    found = find_rollout(viewer, rollout)
    return PlanOutcome(
        rollout_id=found.pk,
        plan=found.plan.get("plan", {}),
        numbers=found.plan.get("numbers", {}),
        starts=found.plan.get("starts", {}),
        touched=tuple(found.plan.get("touched", ())),
        compared=compare(found.plan, happened(viewer, found, known)),
    )


def happened(viewer: Viewer, r: Rollout, known: RolloutDetail | None) -> Happened:
    if r.started_at is None:
        return Happened()
    events = known.timeline if known else timeline_of(r)
    held = known.gpu_ms if known else gpu_ms_of(r)
    begun = next((e.at for e in events if e.phase == Phase.ABORTING), None)
    whole = begun is None and r.phase == Phase.SUCCEEDED and r.ended_at is not None
    back = begun is not None and r.phase == Phase.ROLLED_BACK and r.ended_at is not None
    admitted = [uid for e in events for uid in e.detail.get("admitted", ())]
    starts = StartSample.objects.filter(release=r.to_release, pod_uid__in=admitted)
    seen = starts.aggregate(
        n=Count("id"),
        slowest=Max("seconds"),
        warm=Count("id", filter=Q(cache=Cache.WARM)),
        cold=Count("id", filter=Q(cache=Cache.COLD)),
    )
    return Happened(
        seconds=(r.ended_at - r.started_at).total_seconds() if whole and r.ended_at else None,
        most_gpus=r.memory.get("most_gpus") or None,
        least_serving=r.memory.get("least_serving"),
        gpu_hours=sum(held.values()) / MS_PER_HOUR if held or r.ended_at else None,
        starts=seen["n"],
        warm_starts=seen["warm"],
        cold_starts=seen["cold"],
        slowest_start=seen["slowest"],
        traffic_back=traffic_back(events),
        full_back=(r.ended_at - begun).total_seconds() if back and begun and r.ended_at else None,
        late=any(e.phase == Phase.SOAKING for e in events),
        spent=cost_at(viewer, r, held),
        over=r.ended_at is not None,
    )


def timeline_of(r: Rollout) -> tuple[EventRow, ...]:
    return tuple(map(event_row, RolloutEvent.objects.filter(rollout=r).order_by("id")))
