"""Traffic of the two releases of a rollout over time: for charts and for who doubts a gate."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Q, Sum

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
from fleet.rules.traffic import (
    DASHBOARD_SECONDS,
    GATE_SECONDS,
    REFUSED,
    ReleaseWindow,
    slot_of,
)
from tenants.base.scope import fleet_scope
from tenants.rules.access import Viewer

Tables = tuple[
    type[TrafficSlot | ShadowSlot | AdapterSlot],
    type[LatencySlot | ShadowLatencySlot | AdapterLatencySlot],
]
ADAPTERS: Tables = (AdapterSlot, AdapterLatencySlot)
TRAFFIC: Tables = (TrafficSlot, LatencySlot)
COPIES: Tables = (ShadowSlot, ShadowLatencySlot)
PREEMPTIONS = """
SELECT to_timestamp(slot * %(seconds)s), release_id, sum(greatest(step, 0))::bigint FROM (
    SELECT floor(extract(epoch FROM at) / %(seconds)s) AS slot, release_id,
        preemptions - lag(preemptions) OVER (PARTITION BY pod_uid ORDER BY at) AS step
    FROM engine_sample WHERE service_id = %(service)s AND release_id = ANY(%(pair)s)
        AND at >= %(start)s AND at < %(end)s
) AS sample WHERE step IS NOT NULL GROUP BY 1, 2
"""
FINE = timedelta(hours=1)  # longer ones are drawn from the coarse slots


@dataclass(frozen=True, slots=True)
class Point:
    """One slot. Ratios are 0 to 1, latencies milliseconds, gpu is tokens per GPU-second (median),
    preempted is per request; None: no samples.

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
    gpu_new: float | None = None
    gpu_old: float | None = None
    length_new: float | None = None
    length_old: float | None = None
    aborted_new: float | None = None
    aborted_old: float | None = None
    refused_new: float | None = None
    refused_old: float | None = None
    cached_new: float | None = None
    cached_old: float | None = None
    preempted_new: float | None = None
    preempted_old: float | None = None


@dataclass(slots=True)
class Slot:
    outcomes: dict[str, int] = field(default_factory=dict)
    ttft: dict[int, int] = field(default_factory=dict)
    itl: dict[int, int] = field(default_factory=dict)
    gpu: dict[int, int] = field(default_factory=dict)
    finish: dict[int, int] = field(default_factory=dict)
    tokens: list[int] = field(default_factory=lambda: [0, 0])  # of prompts, of them cached
    refused: int = 0
    preempted: int | None = None  # None: the engines said nothing

    def leave_out(self, other: "Slot") -> None:
        _subtract(self.outcomes, other.outcomes)
        _subtract(self.ttft, other.ttft)
        _subtract(self.itl, other.itl)
        _subtract(self.gpu, other.gpu)
        _subtract(self.finish, other.finish)
        self.tokens = [a - b for a, b in zip(self.tokens, other.tokens, strict=True)]
        self.refused -= other.refused

    def window(self) -> ReleaseWindow:
        return ReleaseWindow(
            outcomes=self.outcomes,
            ttft=Histogram(self.ttft),
            itl=Histogram(self.itl),
            gpu=Histogram(self.gpu),
            finish=Histogram(self.finish),
            refused=self.refused,
            prompt_tokens=self.tokens[0],
            cached_tokens=self.tokens[1],
        )


Slots = dict[tuple[datetime, int], Slot]  # by release


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
    add_preemptions([slots, copies], rollout.service_id, pair, *bounds)
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
        refused = Sum("requests", filter=Q(reason__in=REFUSED), default=0)
        sums = {"n": Sum("requests"), "prompt": Sum("prompt_tokens"), "hit": Sum("cached_tokens")}
        for at, release_id, outcome, n, prompt, hit, no in counts.annotate(**sums, no=refused):
            slot = slots.setdefault((at, release_id), Slot())
            slot.outcomes[outcome] = n
            slot.tokens = [slot.tokens[0] + prompt, slot.tokens[1] + hit]
            slot.refused += no
        timed = timed_in.objects.filter(**place, metric__in=("ttft", "itl", "gpu", "finish"))
        rows = timed.values_list("slot", "release_id", "metric", "bucket")
        for at, release_id, metric, bucket, n in rows.annotate(n=Sum("samples")):
            getattr(slots.setdefault((at, release_id), Slot()), metric)[bucket] = n
    return slots


def add_preemptions(
    parts: Sequence[Slots],
    service_id: int,
    pair: Sequence[int],
    seconds: int,
    start: datetime,
    end: datetime,
) -> None:
    """Only where there were requests: of traffic, or else of copies."""
    values: dict[str, Any] = {"seconds": seconds, "service": service_id, "pair": list(pair)}
    with fleet_scope(), connection.cursor() as cursor:
        cursor.execute(PREEMPTIONS, values | {"start": start, "end": end})
        for at, release_id, grown in cursor.fetchall():
            for slots in parts:
                if slot := slots.get((slot_of(at, seconds), release_id)):
                    slot.preempted = grown


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
        preempted_new=share((new if n is met else copied).preempted, n.requests),
        preempted_old=share(old.preempted, o.requests),
        **figures(n, "new"),
        **figures(o, "old"),
    )


def figures(w: ReleaseWindow, side: str) -> dict[str, float | None]:
    gpu, finished = w.gpu.quantile(0.5), w.finish.total
    found = {
        "gpu": 1000 / gpu if gpu else None,
        "length": share(w.ended_by("length"), finished),
        "aborted": share(w.ended_by("abort"), finished),
        "refused": share(w.refused, judged(w) + w.refused),
        "cached": share(w.cached_tokens, w.prompt_tokens),
    }
    return {f"{name}_{side}": value for name, value in found.items()}


def share(part: int | None, of: int) -> float | None:
    return part / of if part is not None and of else None
