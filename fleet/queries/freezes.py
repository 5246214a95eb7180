"""The change calendar: what holds now, what comes, what is over, and what waits for it."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, QuerySet

from fleet.models import Cluster, Freeze, Rollout, Service
from fleet.queries.access import see_fleet
from fleet.rules.freeze import (
    Frozen,
    Window,
    excepted,
    frozen_by,
    held_until,
    holding,
    longest,
    next_start,
    words_of,
)
from fleet.rules.phases import BEFORE_WRITES, Phase
from tenants.queries.changes import latest_change, latest_payloads
from tenants.rules.access import Viewer

EXCEPTION = "freeze_exception"  # of the change request; its target is the rollout


@dataclass(frozen=True, slots=True)
class FreezeRow:
    """`state`: holds, planned, over."""

    id: int
    title: str
    reason: str
    scope: str  # everything, cluster x, service y
    when: str
    state: str
    starts_at: datetime
    until: datetime | None  # of what holds now
    next_at: datetime | None
    ends_at: datetime | None
    created_by: str
    created_at: datetime
    closed_at: datetime | None
    closed_by: str
    closed_why: str

    @property
    def dialog(self) -> str:
        return str(self.id)

    @property
    def end_body(self) -> str:
        guard = " Nobody ends it for a rollout of their own." if self.state == "holds" else ""
        guard += " As it holds now and has an end, only an approver may." if self.until else ""
        return f"“{self.title}” for {self.scope}: rollouts that wait for it begin.{guard}"


@dataclass(frozen=True, slots=True)
class Held:
    """Why a rollout may not begin now. `freezes`: all that hold it, id and sentence. `exception`:
    state of the change that asks for one; empty where none is about what holds it.
    """

    sentence: str
    until: datetime | None
    freezes: Mapping[int, str]
    exception: str = ""
    change_id: int | None = None

    @property
    def holds(self) -> bool:
        return self.exception != "approved"

    @property
    def may_ask(self) -> bool:
        return self.exception not in ("waiting", "approved")


def list_freezes(viewer: Viewer, now: datetime, *, past: bool = True) -> tuple[FreezeRow, ...]:
    """What holds first, then what comes, then what is over."""
    see_fleet(viewer)
    rows = Freeze.objects.select_related("cluster", "service").order_by("-id")
    found = [row_of(f, now) for f in rows]
    order = {"holds": 0, "planned": 1, "over": 2}
    kept = [f for f in found if past or f.state != "over"]
    return tuple(sorted(kept, key=lambda f: (order[f.state], f.until or f.next_at or f.starts_at)))


def row_of(f: Freeze, now: datetime) -> FreezeRow:
    window = window_of(f)
    held, until = held_until(window, now)
    coming = next_start(window, now)
    open_ = f.closed_at is None
    state = "holds" if open_ and held else "planned" if open_ and coming else "over"
    scope = f"cluster {f.cluster}" if f.cluster else f"service {f.service}" if f.service else ""
    return FreezeRow(
        id=f.pk,
        title=f.title,
        reason=f.reason,
        scope=scope or "everything",
        when=words_of(window),
        state=state,
        starts_at=f.starts_at,
        until=until if state == "holds" else None,
        next_at=coming if open_ else None,
        ends_at=f.ends_at,
        created_by=f.created_by,
        created_at=f.created_at,
        closed_at=f.closed_at,
        closed_by=f.closed_by,
        closed_why=f.closed_why,
    )


def window_of(f: Freeze) -> Window:
    return Window(
        title=f.title,
        reason=f.reason,
        starts_at=f.starts_at,
        ends_at=f.ends_at,
        weekdays=tuple(f.weekdays),
        from_time=f.from_time,
        minutes=f.minutes,
        zone=f.zone,
    )


def freeze_of_service(service: Service, cluster: Cluster, now: datetime) -> Frozen | None:
    """Meanwhile replicas are not taken away for want of load."""
    return frozen_by((window_of(f) for f in freezes_over(service.pk, cluster.pk)), now)


def freezes_over(service_id: int, cluster_id: int) -> QuerySet[Freeze]:
    everything = Q(cluster=None, service=None)
    mine = everything | Q(cluster=cluster_id) | Q(service=service_id)
    return Freeze.objects.filter(mine, closed_at=None)


def held(viewer: Viewer, rollout: Rollout, now: datetime) -> Held | None:
    """The freezes that hold a rollout back, with the exception that somebody asked for. A way back
    is never frozen.
    """
    if rollout.is_rollback or Phase(rollout.phase) not in BEFORE_WRITES:
        return None
    covering = freezes_over(rollout.service_id, rollout.cluster_id)
    found = holding({f.pk: window_of(f) for f in covering}, now)
    if not found:
        return None
    change = latest_change(viewer, kind=EXCEPTION, target_id=rollout.pk)
    if change and change.payload.get("manifest_digest") != rollout.manifest_digest:
        change = None
    left = found
    if change and change.state == "approved":
        left = without(found, excepted(change.payload, rollout.manifest_digest))
        change = None if left else change  # it is from others than those that hold now
    frozen = longest((left or found).values())
    assert frozen is not None
    return Held(
        sentence=frozen.sentence,
        until=frozen.until,
        freezes={pk: f.sentence for pk, f in found.items()},
        exception=change.state if change else "",
        change_id=change.pk if change else None,
    )


def without(found: Mapping[int, Frozen], ids: Container[int]) -> dict[int, Frozen]:
    return {pk: frozen for pk, frozen in found.items() if pk not in ids}


def windows_over(
    freezes: Iterable[Freeze], service_id: int, cluster_id: int | None
) -> dict[int, Window]:
    """Of freezes that were read already, those of one service in one cluster, by id."""
    return {
        f.pk: window_of(f)
        for f in freezes
        if f.cluster_id in (None, cluster_id) and f.service_id in (None, service_id)
    }


def kept_back(rollouts: Sequence[Rollout], now: datetime) -> frozenset[int]:
    """Ids of those that the calendar lets not begin now, for which nobody approved an exception."""
    before = [r for r in rollouts if Phase(r.phase) in BEFORE_WRITES and not r.is_rollback]
    freezes = list(Freeze.objects.filter(closed_at=None)) if before else []
    frozen = {r: holding(windows_over(freezes, r.service_id, r.cluster_id), now) for r in before}
    frozen = {r: found for r, found in frozen.items() if found}
    if not frozen:
        return frozenset()
    asked = latest_payloads(kind=EXCEPTION, target_ids=[r.pk for r in frozen], state="approved")
    return frozenset(
        r.pk
        for r, found in frozen.items()
        if without(found, excepted(asked.get(r.pk, {}), r.manifest_digest))
    )


def held_rollouts(viewer: Viewer, now: datetime) -> tuple[tuple[Rollout, Held], ...]:
    see_fleet(viewer)
    before = [p.value for p in BEFORE_WRITES]
    rows = list(
        Rollout.objects.select_related("service", "cluster", "to_release")
        .filter(phase__in=before)
        .defer("manifests")
        .order_by("id")
    )
    back = kept_back(rows, now)
    found = ((r, held(viewer, r, now)) for r in rows if r.pk in back)
    return tuple((r, h) for r, h in found if h and h.holds)
