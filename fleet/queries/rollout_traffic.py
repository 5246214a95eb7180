"""Traffic of the two releases of a rollout over time: for charts and for who doubts a gate."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Sum

from fleet.models import (
    AdapterLatencySlot,
    AdapterSlot,
    LatencySlot,
    Rollout,
    ShadowLatencySlot,
    ShadowSlot,
    TrafficSlot,
)
from fleet.queries.adapters import apart_of
from fleet.queries.rollouts import find_rollout
from fleet.rules.comparison import failures, judged
from fleet.rules.histogram import Histogram
from fleet.rules.traffic import DASHBOARD_SECONDS, GATE_SECONDS, ReleaseWindow
from tenants.base.scope import fleet_scope
from tenants.rules.access import Viewer

Tables = tuple[
    type[TrafficSlot | ShadowSlot | AdapterSlot],
    type[LatencySlot | ShadowLatencySlot | AdapterLatencySlot],
]
ADAPTERS: Tables = (AdapterSlot, AdapterLatencySlot)
TRAFFIC: Tables = (TrafficSlot, LatencySlot)
COPIES: Tables = (ShadowSlot, ShadowLatencySlot)
FINE = timedelta(hours=1)  # longer ones are drawn from the coarse slots


@dataclass(frozen=True, slots=True)
class Point:
    """One slot. Ratios are 0 to 1, latencies milliseconds; None: no samples.

    Requests for adapters that only one of the two has are left out, as gates leave them out. During
    a shadow step the new release answers copies: its figures are of these, its share is 0.
    """

    at: datetime
    share: float | None  # of the new release
    requests_new: int
    requests_old: int
    errors_new: float | None
    errors_old: float | None
    ttft_new: float | None
    ttft_old: float | None
    itl_new: float | None
    itl_old: float | None
    copies: int = 0  # that a shadow answered


@dataclass(slots=True)
class Slot:
    outcomes: dict[str, int] = field(default_factory=dict)
    ttft: dict[int, int] = field(default_factory=dict)
    itl: dict[int, int] = field(default_factory=dict)

    def leave_out(self, other: "Slot") -> None:
        _subtract(self.outcomes, other.outcomes)
        _subtract(self.ttft, other.ttft)
        _subtract(self.itl, other.itl)

    def window(self) -> ReleaseWindow:
        return ReleaseWindow(
            outcomes=self.outcomes, ttft=Histogram(self.ttft), itl=Histogram(self.itl)
        )


def _subtract(ours: dict[Any, int], theirs: dict[Any, int]) -> None:
    for key, n in theirs.items():
        ours[key] = ours.get(key, 0) - n


def traffic_of(viewer: Viewer, of: int | Rollout, now: datetime) -> tuple[Point, ...]:
    """From the first write until the end, or until now."""
    rollout = find_rollout(viewer, of)
    start = rollout.started_at or rollout.created_at
    end = rollout.ended_at or now
    seconds = GATE_SECONDS if end - start <= FINE else DASHBOARD_SECONDS
    pair = (rollout.to_release_id, rollout.from_release_id or 0)
    bounds = (seconds, start - timedelta(seconds=seconds), end)
    slots = read_slots(rollout.service_id, pair, *bounds)
    if apart := apart_of(rollout):
        beside = read_slots(rollout.service_id, pair, *bounds, tables=ADAPTERS, adapters=apart)
        for place, slot in beside.items():
            slots.setdefault(place, Slot()).leave_out(slot)
    copies: dict[tuple[datetime, int], Slot] = {}
    if any(step.get("shadow") for step in rollout.steps):
        copies = read_slots(rollout.service_id, pair[:1], *bounds, tables=COPIES)
    times = sorted({at for at, _ in (*slots, *copies)})
    new, old = pair
    return tuple(
        point(
            at, *(s.get((at, pk), Slot()) for s, pk in ((slots, new), (slots, old), (copies, new)))
        )
        for at in times
    )


def read_slots(
    service_id: int,
    pair: Sequence[int],
    seconds: int,
    start: datetime,
    end: datetime,
    *,
    tables: Tables = TRAFFIC,
    adapters: Sequence[str] = (),
) -> dict[tuple[datetime, int], Slot]:
    counted_in, timed_in = tables
    place: dict[str, Any] = {
        "seconds": seconds,
        "service_id": service_id,
        "release_id__in": pair,
        "slot__gte": start,
        "slot__lt": end,
    }
    place |= {"adapter__in": adapters} if adapters else {}
    slots: dict[tuple[datetime, int], Slot] = {}
    with fleet_scope():
        counts = counted_in.objects.filter(**place).values_list("slot", "release_id", "outcome")
        for at, release_id, outcome, n in counts.annotate(n=Sum("requests")):
            slots.setdefault((at, release_id), Slot()).outcomes[outcome] = n
        timed = timed_in.objects.filter(**place, metric__in=("ttft", "itl"))
        rows = timed.values_list("slot", "release_id", "metric", "bucket")
        for at, release_id, metric, bucket, n in rows.annotate(n=Sum("samples")):
            getattr(slots.setdefault((at, release_id), Slot()), metric)[bucket] = n
    return slots


def point(at: datetime, new: Slot, old: Slot, copied: Slot) -> Point:
    met, o, copies = new.window(), old.window(), copied.window()
    n = met if judged(met) else copies
    total = judged(met) + judged(o)
    return Point(
        at=at,
        share=judged(met) / total if total else None,
        requests_new=judged(n),
        requests_old=judged(o),
        errors_new=failures(n) / judged(n) if judged(n) else None,
        errors_old=failures(o) / judged(o) if judged(o) else None,
        ttft_new=n.ttft.quantile(0.95),
        ttft_old=o.ttft.quantile(0.95),
        itl_new=n.itl.quantile(0.95),
        itl_old=o.itl.quantile(0.95),
        copies=judged(copies),
    )
