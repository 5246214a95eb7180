"""Propose rollouts, and write what people wish of them. The drive does the moving."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any, TypedDict, Unpack

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from fleet.actions.freezing import freeze
from fleet.actions.gate_limits import checked
from fleet.actions.superseding import refuse_second, to_clear_away, to_supersede
from fleet.actions.wishes import Kind, wish
from fleet.models import Deployment, Release, Rollout, RolloutEvent, Service
from fleet.queries.audience import audience_of, find_audience
from fleet.queries.places import refuse_cluster, refuse_together
from fleet.queries.plans import Proposal, plan_rollout
from fleet.queries.releases import fetch_release
from fleet.queries.resolutions import refuse_signatures
from fleet.rules.answers import Answer
from fleet.rules.audience import Asked, Audience, refuse_audience
from fleet.rules.begins_within import BeginsWithin, refuse_begins
from fleet.rules.gate_limits import unusual
from fleet.rules.phases import FINAL, GOING_BACK, Phase, PlanKind, Wish, gate_is_open
from fleet.rules.plan import Plan
from fleet.rules.proposal import (
    PATIENCE,
    refuse_plan,
    refuse_shadows,
    shadows_of,
)
from fleet.rules.situation import StepPlan
from fleet.rules.sleep import refuse_rollout
from fleet.rules.wishes import ROLLOUTS
from tenants.actions import changes
from tenants.actions.audit import record
from tenants.errors import Conflict, Invalid, NotFound
from tenants.nudge import nudge
from tenants.rules.access import Permission, Viewer

DRIVE = "fleet.tasks.drive_rollout"
KIND = "rollout"  # of the change request


class Choice(TypedDict, total=False):
    """What one may choose of a plan; what is left out is as usual."""

    replicas: int | None
    steps: Sequence[StepPlan] | None
    soak_seconds: int | None
    begins: BeginsWithin | None


@transaction.atomic
def propose_rollout(
    viewer: Viewer,
    service_id: int,
    release_id: int,
    *,
    kind: PlanKind | None = None,
    patience_seconds: int = PATIENCE,
    reason: str = "",
    consent: bool = False,
    audience: Asked | None = None,
    supersede: bool = False,
    limits: Mapping[str, float | None] | None = None,
    **choice: Unpack[Choice],
) -> Rollout:
    """Plan and freeze a rollout, and ask somebody else to approve exactly that.

    `supersede`: an open one is aborted for it, and it begins when that one has ended. `limits`:
    those of its gates that are not as usual.
    """
    viewer.require(Permission.PROPOSE)
    before = to_supersede(service_id, consent=consent) if supersede else None
    hold_place(service_id)
    proposal = plan_rollout(viewer, service_id, release_id, supersedes=before, **choice)
    plan = chosen(proposal, kind)
    alone = shadows_of(proposal.steps) + 1
    parties = replace(find_audience(viewer, audience or Asked()), alone=alone)
    refuse_proposal(fetch_release(viewer, release_id), proposal, plan, parties, consent=consent)
    make_room(viewer, service_id, before, f"{proposal.to_label} supersedes it. {reason}".strip())
    rollout = freeze(
        viewer,
        proposal,
        plan,
        patience=patience_seconds,
        reason=reason,
        audience=parties,
        supersedes=before,
        limits=checked(limits or {}),
    )
    ask_for(viewer, rollout, proposal, plan, wait_of(choice))
    record(viewer, "rollout.propose", rollout, after=facts(rollout), why=reason)
    note(rollout, viewer, f"Proposed: {reason}" if reason else "Proposed", detail=asdict(plan))
    nudge(DRIVE, rollout.pk)
    return rollout


def ask_for(
    viewer: Viewer, rollout: Rollout, proposal: Proposal, plan: Plan, wait: timedelta
) -> None:
    """An approval by somebody else, in so much time."""
    change = changes.propose(
        viewer,
        kind=KIND,
        target_id=rollout.pk,
        title=f"{proposal.service}: {proposal.from_label or 'nothing'} to {proposal.to_label}",
        payload=payload_of(rollout, proposal, plan),
        reason=rollout.reason,
        expires_in=wait,
    )
    rollout.change_id = change.pk
    rollout.save(update_fields=["change_id"])


def wait_of(choice: Choice) -> timedelta:
    """For an approval: not beyond the time that it is for."""
    now, begins = timezone.now(), choice.get("begins") or BeginsWithin()
    if wrong := refuse_begins(begins, now):
        raise Invalid(**wrong)
    return min(changes.WAIT, begins.closes - now) if begins.closes else changes.WAIT


def make_room(viewer: Viewer, service_id: int, before: Rollout | None, why: str) -> None:
    """One that goes back already keeps the wish of who asked for that."""
    if before is None:
        refuse_second(service_id)
    elif Phase(before.phase) not in GOING_BACK:
        abort_rollout(viewer, before.pk, why=why)
    else:
        note(before, viewer, why)


@transaction.atomic
def roll_back(viewer: Viewer, rollout_id: int, *, why: str = "") -> Rollout:
    """Go back, in whatever state: an open rollout is aborted, a finished one undone by a new one.

    Needs nobody's approval, no gate and no plan that might say no: the release has served before.
    A proposal of which nothing has begun is ended for it.
    """
    viewer.require(Permission.PROPOSE)
    rollout = fetch(rollout_id)
    if Phase(rollout.phase) not in FINAL:
        return abort_rollout(viewer, rollout_id, why=why)
    refuse_way_back(rollout)
    target = fetch_release(viewer, rollout.from_release_id or 0)
    proposal = plan_rollout(
        viewer,
        rollout.service_id,
        target.pk,
        replicas=rollout.plan["numbers"]["old_replicas"] or None,
        steps=(),
        soak_seconds=0,
    )
    before = to_clear_away(rollout.service_id)
    if before is not None:
        abort_rollout(viewer, before.pk, why=f"A way back goes first. {why}".strip())
    plan = proposal.plans[0]
    if plan.answer in (Answer.NEVER, Answer.NOT_NOW, Answer.QUEUED):
        # In place always goes: it takes the GPUs of the release that leaves.
        plan = next((p for p in proposal.plans if p.kind is PlanKind.REPLACE), plan)
    back = freeze(
        viewer, proposal, plan, patience=PATIENCE, reason=why, is_rollback=True, supersedes=before
    )
    record(viewer, "rollout.roll_back", back, after=facts(back), why=why)
    note(back, viewer, f"Back from {proposal.from_label}" + (f": {why}" if why else ""))
    nudge(DRIVE, back.pk)
    return back


def refuse_way_back(rollout: Rollout) -> None:
    if rollout.phase != Phase.SUCCEEDED:
        raise Conflict(f"{rollout} ended as {rollout.phase}: there is nothing to go back from")
    service = rollout.service
    if service.current_release_id != rollout.to_release_id:
        raise Conflict(
            f"{rollout} is not the last word on {service}: {service.current_release} serves now."
            " Roll back the rollout that brought it"
        )
    if rollout.from_release_id is None:
        raise Conflict(f"{rollout} brought the first release of {service}: nothing served before")


def pause_rollout(viewer: Viewer, rollout_id: int, *, why: str = "") -> Rollout:
    """Hold everything as it is; what is on its way up goes on loading."""
    return wish(MOVES, viewer, rollout_id, Wish.PAUSE, why)


def resume_rollout(viewer: Viewer, rollout_id: int, *, why: str = "") -> Rollout:
    return wish(MOVES, viewer, rollout_id, Wish.RUN, why)


def abort_rollout(viewer: Viewer, rollout_id: int, *, why: str = "") -> Rollout:
    """Accepted in every open phase, as often as you like."""
    return wish(MOVES, viewer, rollout_id, Wish.ABORT, why)


@transaction.atomic
def skip_gate(viewer: Viewer, rollout_id: int, step: int, *, why: str) -> Rollout:
    """Answer oneself for the gate of this step (counted from 0). All other checks stay."""
    viewer.require(Permission.PROPOSE)
    rollout = fetch(rollout_id, lock=True)
    resume = Phase(rollout.resume_phase) if rollout.resume_phase else None
    if not gate_is_open(Phase(rollout.phase), resume) or rollout.step != step:
        paused = f", paused while {resume}," if resume and rollout.phase == Phase.PAUSED else ""
        raise Conflict(
            f"{rollout} is {rollout.phase}{paused} at step {rollout.step + 1}: no gate of step"
            f" {step + 1} is open"
        )
    if not why.strip():
        raise Conflict("Say why the gate does not count: it is kept with the rollout")
    rows = Rollout.objects.filter(pk=rollout_id)
    rows.update(skip_step=step, skip_by=viewer.email, look_again=Now())
    rollout.refresh_from_db()
    record(viewer, "rollout.skip_gate", rollout, after={"step": step}, why=why)
    note(rollout, viewer, f"Gate of step {step + 1} skipped: {why.strip()}")
    nudge(DRIVE, rollout.pk)
    return rollout


def refuse_proposal(
    release: Release, proposal: Proposal, plan: Plan, parties: Audience, *, consent: bool
) -> None:
    refusals = (refuse_signatures(release), refuse_cluster(release), refuse_together(release))
    if refusal := next(filter(None, refusals), ""):
        raise Conflict(refusal)
    if refusal := refuse_plan(plan, consent=consent):
        raise Conflict(refusal, missing_gpus=plan.gpus_missing)
    if refusal := refuse_shadows(plan.kind, proposal.steps):
        raise Conflict(refusal)
    if refusal := refuse_audience(parties, plan.kind, len(proposal.steps)):
        raise Conflict(refusal)


def chosen(proposal: Proposal, kind: PlanKind | None) -> Plan:
    """The named way, or the best one. A first placement knows one way only."""
    named = [p for p in proposal.plans if p.kind is kind]
    return named[0] if named else proposal.plans[0]


def hold_place(service_id: int) -> None:
    """Until the rollout is stored nothing puts the service to sleep, nor into another cluster.

    A pass of a rollout writes deployments before their service: locks are taken in that order.
    """
    refuse_asleep(service_id)
    list(Service.objects.select_for_update(no_key=True).filter(pk=service_id).values_list("pk"))


def refuse_asleep(service_id: int) -> None:
    row = Service.objects.filter(pk=service_id).select_related("scaling").first()
    if row is None or not hasattr(row, "scaling"):
        return
    placed = Deployment.objects.filter(
        service=row, release=row.current_release_id, cluster=row.cluster_id
    )
    for deployment in placed.select_for_update(of=("self",), no_key=True):
        if not deployment.replicas:
            raise Conflict(refuse_rollout(row.name))


def payload_of(rollout: Rollout, proposal: Proposal, plan: Plan) -> dict[str, Any]:
    """What the approver decides about; the digest of the manifests stands in it."""
    return {
        "rollout": rollout.pk,
        "service": proposal.service,
        "cluster": proposal.cluster,
        "from": proposal.from_label,
        "to": proposal.to_label,
        "plan": plan.kind.value,
        "why": plan.why,
        "replicas": proposal.replicas,
        "steps": rollout.steps,
        "soak_seconds": proposal.soak_seconds,
        "audience": audience_of(rollout).told(),
        "gate_limits": unusual(rollout.plan["numbers"]),
        "output_contract": rollout.plan.get("contract"),
        "visible": list(proposal.visible),
        "supersedes": str(rollout.supersedes or ""),
        "manifest_digest": rollout.manifest_digest,
    } | ({"begins": proposal.begins.words} if proposal.begins else {})


def fetch(rollout_id: int, *, lock: bool = False) -> Rollout:
    rows = Rollout.objects.select_related("service", "from_release", "to_release")
    rows = rows.select_for_update(of=("self",), no_key=True) if lock else rows
    rollout = rows.filter(pk=rollout_id).first()
    if rollout is None:
        raise NotFound("There is no such rollout")
    return rollout


def facts(rollout: Rollout) -> dict[str, Any]:
    """What the audit keeps; the manifests are named by their digest."""
    return {
        "service": str(rollout.service),
        "from": str(rollout.from_release) if rollout.from_release else "",
        "to": str(rollout.to_release),
        "plan": rollout.plan_kind,
        "replicas": rollout.replicas,
        "phase": rollout.phase,
        "wish": rollout.wish,
        "manifest_digest": rollout.manifest_digest,
    } | ({"supersedes": str(rollout.supersedes)} if rollout.supersedes_id else {})


def note(rollout: Rollout, viewer: Viewer, why: str, detail: dict[str, Any] | None = None) -> None:
    RolloutEvent.objects.create(
        rollout=rollout,
        phase=rollout.phase,
        step=rollout.step,
        actor=viewer.email,
        why=why,
        detail=detail or {},
    )


MOVES: Kind[Rollout] = Kind(
    noun="rollout",
    drive=DRIVE,
    manner=ROLLOUTS,
    lock=lambda pk: fetch(pk, lock=True),
    facts=facts,
    note=note,
)
