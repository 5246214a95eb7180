"""Rollouts as pages and the API show them: the plan, the steps, each gate, the timeline."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from fleet.models import Deployment, GateResult, ObservedPod, Rollout, RolloutEvent
from fleet.queries.access import see_fleet
from fleet.queries.audience import audience_of, shadow_of
from fleet.queries.contracts import ResultRow, result_of
from fleet.queries.prefetch import PrefetchDetail, prefetch_of
from fleet.queries.rollout_abilities import Abilities, abilities_of
from fleet.queries.rollout_events import ClusterEventRow, cluster_events
from fleet.queries.rollout_gates import GateRow, WithLimits, gate_row
from fleet.queries.rollout_pods import KeptPod, LogRow, cost_at, gpu_ms_of, kept_logs, kept_pods
from fleet.queries.rollout_steps import StepRow, steps_of, table_of
from fleet.queries.services import PodRow, pods_by, serving
from fleet.rules.groups import sentence_of, shape_from
from fleet.rules.manifests import Manifest
from fleet.rules.phases import FINAL, Phase
from fleet.rules.step_table import StepLine
from fleet.rules.surge_cost import SurgeCost
from tenants.errors import NotFound
from tenants.queries.changes import get_change
from tenants.rules.access import Viewer

# What a row of a list shows. Manifests, plans and what the drive remembers are large JSON.
LISTED = (
    "plan_kind", "phase", "step", "steps", "wish", "why", "cause", "is_rollback", "created_at",
    "phase_since", "started_at", "ended_at", "look_again", "failures", "failure", "hindered_since",
    "service__name", "cluster__slug", "from_release__number", "to_release__number",
    "requested_by__email",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RolloutRow:
    id: int
    label: str  # RO-12
    service_id: int
    service: str
    cluster: str
    from_id: int | None
    from_label: str
    to_id: int
    to_label: str
    plan_kind: str
    phase: str
    step: int  # from 0
    steps: int
    percent: int  # wanted traffic on the new release
    shadow: int  # percent of the requests that the present step copies instead; 0: none
    wish: str
    why: str
    cause: str
    is_open: bool
    is_rollback: bool
    requested_by: str
    created_at: datetime
    phase_since: datetime
    started_at: datetime | None
    ended_at: datetime | None
    look_again: datetime | None
    failures: int  # passes that raised, in a row
    failure: str  # the traceback
    hindered_since: datetime | None  # of passes that could not do what they decided


@dataclass(frozen=True, slots=True)
class EventRow:
    at: datetime
    phase: str
    step: int
    actor: str  # empty: the machine
    why: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ReleaseSide:
    """One of the two releases: wanted against seen."""

    release_id: int
    label: str
    fingerprint: str
    image_digest: str
    wanted: int
    weight: int
    serving: int
    gpus: int  # held now
    roles: str  # "1 prefill and 2 decode" of a replica; empty: it is one pod
    pods: tuple[PodRow, ...]


@dataclass(frozen=True, slots=True)
class ApprovalRow:
    change_id: int
    state: str
    digest: str
    requester: str
    decider: str
    reason: str
    decided_at: datetime | None
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class RolloutDetail(WithLimits):
    rollout: RolloutRow
    reason: str
    supersedes: int | None  # the rollout that was aborted for this one
    superseded_by: int | None  # the one that this one was aborted for
    wish_by: str
    wish_why: str
    wish_at: datetime | None
    manifest_digest: str
    replicas: int
    plan: Mapping[str, Any]  # fleet.rules.plan.Plan as JSON
    numbers: Mapping[str, Any]  # fleet.rules.proposal.Numbers as JSON
    audience: Mapping[str, str]  # who goes first and last, in words; empty: all alike
    manifests: tuple[Manifest, ...]
    approval: ApprovalRow | None
    step_approval: ApprovalRow | None  # of the step that asked last
    steps: tuple[StepRow, ...]
    table: tuple[StepLine, ...]  # the same and what is around them, planned and as it was
    gates: tuple[GateRow, ...]  # kept ones, newest first
    contract: ResultRow | None  # how the canary answered recorded prompts
    back_because: str  # why it went back, in the first sentence
    share: float | None  # observed traffic of the new release, 0 to 1
    traffic_back_seconds: float | None  # measured, of a rollout that went back
    old: ReleaseSide | None
    new: ReleaseSide
    timeline: tuple[EventRow, ...]  # oldest first
    cluster_events: tuple[ClusterEventRow, ...]  # newest first
    failing: PodRow | None  # whose container ended and left a log
    pods: tuple[KeptPod, ...]  # of both releases, those that are gone as well
    prefetch: PrefetchDetail | None  # its image on nodes; None: not so far, or a way back
    logs: tuple[LogRow, ...]  # of containers that failed or never got ready
    gpu_ms: Mapping[str, int]  # measured on top of what served before, by product
    cost: SurgeCost | None  # of the GPUs on top, at the plan's prices
    observed_at: datetime | None
    can: Abilities


def rollouts(viewer: Viewer) -> QuerySet[Rollout]:
    """Newest first."""
    see_fleet(viewer)
    related = ("service", "cluster", "from_release", "to_release", "requested_by")
    return Rollout.objects.select_related(*related).order_by("-id")


def list_rollouts(
    viewer: Viewer, *, service_id: int | None = None, only_open: bool = False
) -> tuple[RolloutRow, ...]:
    rows = rollouts(viewer).only(*LISTED)
    if service_id is not None:
        rows = rows.filter(service_id=service_id)
    return rows_of(rows.exclude(phase__in=FINAL) if only_open else rows)


def current_rollouts(viewer: Viewer, since: datetime) -> tuple[RolloutRow, ...]:
    """Open ones, and those rolled back since then that nobody closed and no other followed."""
    newer = Rollout.objects.filter(service=OuterRef("service"), id__gt=OuterRef("id"))
    back = Q(~Exists(newer), phase=Phase.ROLLED_BACK, ended_at__gt=since, closed_at=None)
    return rows_of(rollouts(viewer).filter(~Q(phase__in=FINAL) | back).only(*LISTED))


def search_rollouts(viewer: Viewer, *, show: str = "", service: str = "") -> QuerySet[Rollout]:
    """For lists that are cut into pages before they become rows. `show`: "open" or a phase."""
    rows = rollouts(viewer).only(*LISTED)
    if service:
        rows = rows.filter(service__name=service)
    if show == "open":
        return rows.exclude(phase__in=FINAL)
    return rows.filter(phase=show) if show else rows


def rows_of(found: Iterable[Rollout]) -> tuple[RolloutRow, ...]:
    return tuple(rollout_row(r) for r in found)


def moved_services(viewer: Viewer) -> tuple[str, ...]:
    """Names of the services that ever had a rollout."""
    rows = rollouts(viewer).order_by("service__name")
    return tuple(rows.values_list("service__name", flat=True).distinct())


def find_rollout(viewer: Viewer, rollout: int | Rollout) -> Rollout:
    """With all that belongs to it. One that was read already is not read again: it is wide."""
    if isinstance(rollout, Rollout):
        see_fleet(viewer)
        return rollout
    parts = ("model_version", "service")
    of_both = (f"{side}_release__{part}" for side in ("from", "to") for part in parts)
    found = rollouts(viewer).select_related(*of_both).filter(pk=rollout).first()
    if found is None:
        raise NotFound("There is no such rollout")
    return found


def get_rollout(viewer: Viewer, rollout: int | Rollout) -> RolloutDetail:
    found = find_rollout(viewer, rollout)
    gates = [gate_row(g) for g in GateResult.objects.filter(rollout=found).order_by("-id")]
    timeline = [event_row(e) for e in RolloutEvent.objects.filter(rollout=found).order_by("id")]
    placed = Deployment.objects.filter(service=found.service_id, cluster=found.cluster_id)
    old, new = sides_of(found, placed)
    pods = (*new.pods, *(old.pods if old else ()))
    memory, gpu_ms = found.memory, gpu_ms_of(found)
    steps = steps_of(found, gates)
    return RolloutDetail(
        rollout=rollout_row(found),
        reason=found.reason,
        supersedes=found.supersedes_id,
        superseded_by=following(found),
        wish_by=found.wish_by,
        wish_why=found.wish_why,
        wish_at=found.wish_at,
        manifest_digest=found.manifest_digest,
        replicas=found.replicas,
        plan=found.plan.get("plan", {}),
        numbers=found.plan.get("numbers", {}),
        audience=audience_of(found).told(),
        manifests=tuple(found.manifests),
        approval=approval_of(viewer, found.change_id),
        step_approval=approval_of(viewer, found.step_change_id),
        steps=steps,
        table=table_of(found, steps, gates, timeline),
        gates=tuple(gates),
        contract=result_of(found),
        back_because=memory.get("reason", ""),
        share=memory.get("share"),
        traffic_back_seconds=traffic_back(timeline),
        old=old,
        new=new,
        timeline=tuple(timeline),
        cluster_events=cluster_events(found, pods, [d.name for d in placed]),
        failing=next((p for p in pods if p.last_log), None),
        pods=kept_pods(found, {p.uid for p in pods}),
        prefetch=prefetch_of(found),
        logs=kept_logs(found),
        gpu_ms=gpu_ms,
        cost=cost_at(viewer, found, gpu_ms),
        observed_at=found.cluster.observed_at,
        can=abilities_of(found),
    )


def following(r: Rollout) -> int | None:
    """Of those that nobody rejected or withdrew."""
    never = (Phase.REJECTED, Phase.EXPIRED, Phase.CANCELLED)
    rows = Rollout.objects.filter(supersedes=r).exclude(phase__in=[p.value for p in never])
    return rows.order_by("-id").values_list("pk", flat=True).first()


def rollout_row(r: Rollout) -> RolloutRow:
    new = next((s for s in r.steps[r.step : r.step + 1]), None)
    shadow = shadow_of(r)
    return RolloutRow(
        id=r.pk,
        label=str(r),
        service_id=r.service_id,
        service=r.service.name,
        cluster=r.cluster.slug,
        from_id=r.from_release_id,
        from_label=str(r.from_release) if r.from_release else "",
        to_id=r.to_release_id,
        to_label=str(r.to_release),
        plan_kind=r.plan_kind,
        phase=r.phase,
        step=r.step,
        steps=len(r.steps),
        percent=0 if shadow else new["percent"] if new else 100,
        shadow=shadow,
        wish=r.wish,
        why=r.why,
        cause=r.cause,
        is_open=Phase(r.phase) not in FINAL,
        is_rollback=r.is_rollback,
        requested_by=r.requested_by.email if r.requested_by else "",
        created_at=r.created_at,
        phase_since=r.phase_since,
        started_at=r.started_at,
        ended_at=r.ended_at,
        look_again=r.look_again,
        failures=r.failures,
        failure=r.failure,
        hindered_since=r.hindered_since,
    )


def event_row(e: RolloutEvent) -> EventRow:
    return EventRow(e.at, e.phase, e.step, e.actor, e.why, e.detail)


def approval_of(viewer: Viewer, change_id: int | None) -> ApprovalRow | None:
    if change_id is None:
        return None
    change = get_change(viewer, change_id)
    return ApprovalRow(
        change_id=change.pk,
        state=change.state,
        digest=change.digest,
        requester=change.requester.email,
        decider=change.decider.email if change.decider else "",
        reason=change.decision_reason,
        decided_at=change.decided_at,
        expires_at=change.expires_at,
    )


def sides_of(r: Rollout, rows: Iterable[Deployment]) -> tuple[ReleaseSide | None, ReleaseSide]:
    placed = {d.release_id: d for d in rows}
    names = [x.fingerprint for x in (r.from_release, r.to_release) if x]
    of_both = ObservedPod.objects.filter(cluster=r.cluster_id, release__in=names)
    pods = pods_by("release", of_both.order_by("created_at"))

    def side(release: Any) -> ReleaseSide:
        row, seen = placed.get(release.pk), tuple(pods.get(release.fingerprint, ()))
        return ReleaseSide(
            release_id=release.pk,
            label=str(release),
            fingerprint=release.fingerprint,
            image_digest=release.image_digest,
            wanted=row.replicas if row else 0,
            weight=row.weight if row else 0,
            serving=serving(seen, shape_from(release.resources, release.roles)),
            roles=sentence_of(shape_from(release.resources, release.roles)),
            gpus=sum(p.gpus for p in seen),
            pods=seen,
        )

    return (side(r.from_release) if r.from_release else None), side(r.to_release)


def traffic_back(timeline: Sequence[EventRow]) -> float | None:
    """Seconds from the start of the way back until all weight was on the old release."""
    began = next((e.at for e in timeline if e.phase == Phase.ABORTING), None)
    if began is None:
        return None
    done = next(
        (e.at for e in timeline if e.at >= began and e.detail.get("weight_old") == 100), None
    )
    return (done - began).total_seconds() if done else None
