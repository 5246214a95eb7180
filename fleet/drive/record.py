"""Record: the pass's result in one transaction, guarded by the claim. Lost claim: nothing."""

import uuid
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.db.models.functions import Now

from fleet.actions.steps import ask_step, withdraw_step
from fleet.actions.superseding import make_way
from fleet.drive.act import writes
from fleet.drive.evidence import store_probes, store_prompts, store_starts
from fleet.drive.fetched import store_fetches
from fleet.drive.look import View, viewer
from fleet.drive.pods import store_pods
from fleet.models import (
    Cluster,
    ContractResult,
    Deployment,
    GateResult,
    Release,
    Rollout,
    RolloutEvent,
    Service,
)
from fleet.queries.contracts import contract_of
from fleet.rules.phases import BEFORE_WRITES, FINAL, Phase
from fleet.rules.recorded import objects_before, objects_now
from fleet.rules.state import KEEP, Decision, Place
from tenants.actions import audit, changes
from tenants.base.scope import fleet_scope
from tenants.errors import Conflict
from tenants.nudge import nudge

PUBLISH = "fleet.tasks.publish_routing"
AUDITED = FINAL | {Phase.ABORTING, Phase.PREPARING, Phase.ROLLBACK_BLOCKED}


def record(view: View, decision: Decision, claim: uuid.UUID, now: datetime) -> bool:
    """Write phase, wanted state, timeline and samples. False: claim lost, all is dropped."""
    with fleet_scope():
        if not Rollout.record(view.rollout.pk, claim, **columns(view, decision, now)):
            return False
        changed = store_places(view, decision)
        store_evidence(view, decision, changed, now)
        store_pods(view, decision, now)
        store_fetches(view, now)
        ask_of_step(view, decision)
        if decision.phase in FINAL:
            close(view, decision)
        if changed or decision.admit or tells_gateways(view, decision):
            nudge(PUBLISH)
        if decision.admit:  # gateways learn of these replicas from the observer's next look
            Cluster.objects.filter(pk=view.rollout.cluster_id).update(look_again=Now())
    return True


def tells_gateways(view: View, d: Decision) -> bool:
    """A shadow begins and ends with its step: no weight moves that would tell them."""
    moved = (d.phase, d.step) != (view.state.phase, view.state.step)
    return moved and bool(view.state.shadow or replace(view.state, step=d.step).shadow)


def begins_copies(view: View, d: Decision) -> bool:
    """No weight tells the timeline of it."""
    before, after = view.state.memory.shifted_at, d.memory.shifted_at
    return bool(view.state.shadow) and d.phase is Phase.SHIFTING and before != after


def columns(view: View, d: Decision, now: datetime) -> dict[str, Any]:
    r = view.rollout
    moved = (d.phase, d.step) != (r.phase, r.step)
    found: dict[str, Any] = {
        "phase": d.phase.value,
        "step": d.step,
        "why": d.why,
        "cause": d.cause.value if d.cause else "",
        "resume_phase": d.resume_phase.value if d.resume_phase else "",
        "memory": d.memory.as_json(),
        "hindered_since": (r.hindered_since or now) if d.hindered else None,
        "look_again": None if d.look_again is None else now + d.look_again,
        "failures": 0,
        "failure": "",
    }
    if moved:
        found["phase_since"] = now
    if r.started_at is None and writes(view, d):
        found["started_at"] = now
    if d.phase in FINAL:
        found["ended_at"] = now
    return found | left_at(view, d, now)


def left_at(view: View, d: Decision, now: datetime) -> dict[str, Any]:
    """Since when a release gets no traffic any more."""
    if d.want is None:
        return {}
    found: dict[str, Any] = {}
    for name, before, place in (
        ("old_left_at", view.state.weight_old, d.want.old),
        ("new_left_at", view.state.weight_new, d.want.new),
    ):
        if place.weight:
            found[name] = None
        elif before:
            found[name] = now
    return found


def store_places(view: View, d: Decision) -> dict[str, int]:
    """The wanted state as rows; answers what changed, for the timeline."""
    if d.want is None:
        return {}
    r = view.rollout
    changed: dict[str, int] = {}
    for which, release, place in (
        ("old", r.from_release, d.want.old),
        ("new", r.to_release, d.want.new),
    ):
        if release is not None:
            changed |= store_place(view, which, release, place)
    return changed


def store_place(view: View, which: str, release: Release, place: Place) -> dict[str, int]:
    r = view.rollout
    manifest = view.manifests.get(which, {})
    row, made = Deployment.objects.get_or_create(
        service=r.service,
        release=release,
        cluster=r.cluster,
        defaults={"name": manifest["metadata"]["name"], "manifest": manifest, "fence": r.fence},
    )
    replicas = row.replicas if place.replicas == KEEP else place.replicas or 0
    changed: dict[str, int] = {}
    if row.replicas != replicas:
        changed[f"replicas_{which}"] = replicas
    if row.weight != place.weight:
        changed[f"weight_{which}"] = place.weight
    if changed or made or not row.manifest:
        row.replicas, row.weight, row.fence = replicas, place.weight, r.fence
        row.manifest = row.manifest or manifest
        row.save()
    return changed


def store_evidence(view: View, d: Decision, changed: dict[str, int], now: datetime) -> None:
    r = view.rollout
    moved = (d.phase, d.step) != (r.phase, r.step)
    if moved or changed or d.admit or d.mends or begins_copies(view, d):
        detail: dict[str, Any] = dict(changed) | ({"cause": d.cause.value} if d.cause else {})
        if d.admit:
            detail["admitted"] = list(d.admit)
        detail |= open_requests(view, changed)
        RolloutEvent.objects.create(
            rollout=r, phase=d.phase.value, step=d.step, why=d.why, detail=detail
        )
    if moved and d.phase in AUDITED:
        after: dict[str, Any] = {"phase": d.phase.value, "step": d.step}
        after["cause"] = d.cause.value if d.cause else ""
        before: dict[str, Any] = {
            "phase": r.phase,
            "step": r.step,
            "manifest_digest": r.manifest_digest,
        }
        if view.manifests:
            state, seen = view.state, view.seen
            before["objects"] = objects_before(state, view.manifests)
            after["objects"] = objects_now(state, seen, d.want, view.manifests)
        audit.record(viewer(), f"rollout.{d.phase}", r, before=before, after=after, why=d.why)
    if d.reading:
        kept = d.reading.as_json()
        GateResult.objects.create(
            rollout=r,
            step=view.state.step,
            window_start=d.reading.start,
            window_end=d.reading.end,
            verdict=kept["verdict"],
            checks=kept["checks"],
            why=d.reading.why,
            evidence=kept["evidence"],
        )
    store_contract(view, d, now)
    store_probes(r.service, view.seen.probes, view.answers, now)
    for side, release in ((view.seen.old, r.from_release), (view.seen.new, r.to_release)):
        if release is not None:
            admitted = [p for p in side.pods if p.uid in d.admit]
            store_starts(r.service, r.cluster, release, admitted, now)


def ask_of_step(view: View, d: Decision) -> None:
    """A step asks for a person's word, or what it asked is of no use any more."""
    if d.asks is not None:
        ask_step(viewer(), view.rollout, d.asks, digest=d.memory.judged, why=d.why)
    elif Phase.AWAITING_STEP_APPROVAL not in (d.phase, d.resume_phase):
        withdraw_step(viewer(), view.rollout, why=d.why)


def open_requests(view: View, changed: dict[str, int]) -> dict[str, int]:
    """What gateways had in flight on a release whose replicas go now."""
    told, found = view.seen.gateways, {}
    for which, side, flying in (
        ("old", view.seen.old, told.open_old if told else None),
        ("new", view.seen.new, told.open_new if told else None),
    ):
        if flying is not None and changed.get(f"replicas_{which}", side.wanted) < side.wanted:
            found[f"open_{which}"] = flying
    return found


def store_contract(view: View, d: Decision, now: datetime) -> None:
    r = view.rollout
    store_prompts(r.service, view.seen.new, view.seen.contract, now)
    contract = contract_of(r) if d.contract else None
    if d.contract is None or contract is None:
        return
    ContractResult.objects.create(
        rollout=r,
        contract=contract,
        verdict=d.contract.verdict.value,
        why=d.contract.why,
        answers=list(d.contract.answers),
    )


def close(view: View, d: Decision) -> None:
    """What only the end of a rollout writes."""
    r = view.rollout
    make_way(r)
    if d.phase is Phase.SUCCEEDED:
        Service.objects.filter(pk=r.service_id).update(current_release=r.to_release)
        nudge(PUBLISH)
    if Phase(r.phase) in BEFORE_WRITES and r.change_id and view.state.approval.state == "waiting":
        try:
            changes.withdraw(viewer(), r.change_id, why=d.why)
        except Conflict:
            return  # decided in this moment: the rollout has ended all the same
