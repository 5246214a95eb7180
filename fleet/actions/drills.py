"""Propose drills of the way back, take their rollouts back at the moment, keep the reports.

There is no second machine: a drill's rollout is planned, approved, moved and aborted like any
other. What is frozen here is when it is taken back and what it must keep then.
"""

from dataclasses import asdict
from datetime import datetime
from typing import Any, Unpack

from django.db import IntegrityError, transaction
from django.db.models import Q

from fleet.actions.pod_losses import Outcome, outcome_of
from fleet.actions.rollouts import Choice, abort_rollout, propose_rollout
from fleet.models import Drill, DrillReport, Rollout, RolloutEvent
from fleet.queries.rollout_harm import harm_of
from fleet.rules.drill import (
    SETTLES,
    USUAL,
    Limits,
    Measured,
    Moment,
    Promise,
    judge,
    moment_in_words,
    reached,
    refuse_limits,
    refuse_moment,
    sentence,
)
from fleet.rules.phases import FINAL, Phase, PlanKind, Wish
from fleet.rules.proposal import PATIENCE
from fleet.rules.release import digest_json
from tenants.actions.audit import record
from tenants.base.scope import fleet_scope
from tenants.errors import Conflict, Invalid
from tenants.rules.access import Permission, Viewer, system_viewer


@transaction.atomic
def propose_drill(
    viewer: Viewer,
    service_id: int,
    release_id: int,
    *,
    moment: Moment,
    step: int = 0,
    limits: Limits | None = None,
    kind: PlanKind | None = None,
    reason: str = "",
    consent: bool = False,
    patience_seconds: int = PATIENCE,
    **choice: Unpack[Choice],
) -> Drill:
    """Freeze a drill with its rollout, which waits for somebody else's approval."""
    viewer.require(Permission.PROPOSE)
    limits = limits or USUAL
    if refusal := refuse_limits(limits):
        raise Invalid(limits=refusal)
    number = step if moment is Moment.STEP else 0
    said = f"Drill: it is taken back {moment_in_words(moment, number)}"
    rollout = propose_rollout(
        viewer,
        service_id,
        release_id,
        kind=kind,
        reason=f"{said}. {reason.strip()}".strip(),
        consent=consent,
        patience_seconds=patience_seconds,
        **choice,
    )
    if rollout.from_release_id is None:
        raise Conflict("Nothing serves yet: there is no release to go back to")
    gated = rollout.plan["plan"]["gated"]
    if refusal := refuse_moment(moment, number, len(rollout.steps), gated=gated):
        raise Conflict(refusal)
    drill = Drill.objects.create(
        service_id=service_id,
        rollout=rollout,
        moment=moment.value,
        step=number,
        limits=asdict(limits),
        promise=asdict(promise_of(rollout, moment)),
        reason=reason.strip(),
        requested_by_id=viewer.user_id,
    )
    record(viewer, "drill.propose", drill, after=facts(drill, rollout), why=reason)
    return drill


def promise_of(rollout: Rollout, moment: Moment) -> Promise:
    """What the plan expects of a way back from there, seconds."""
    plan = rollout.plan["plan"]
    late = moment is Moment.SOAKING
    full = plan["late_back_seconds" if late else "full_back_seconds"]
    return Promise(plan["traffic_back_seconds"], full)


def take_back(rollout_id: int) -> bool:
    """Abort the rollout of a drill whose moment has come. Before each pass of the drive."""
    drill = Drill.objects.filter(rollout=rollout_id, rollout__wish=Wish.RUN).first()
    if drill is None:
        return False
    with fleet_scope():
        phase, step = Rollout.objects.values_list("phase", "step").get(pk=rollout_id)
        if not reached(Phase(phase), step, Moment(drill.moment), drill.step):
            return False
        words = moment_in_words(Moment(drill.moment), drill.step)
        try:
            abort_rollout(actor_of(drill), rollout_id, why=f"{drill}: {words}, as planned")
        except Conflict:
            return False  # it ended meanwhile
    return True


def actor_of(drill: Drill) -> Viewer:
    return system_viewer(str(drill), (Permission.PROPOSE, Permission.VIEW_FLEET))


def due_reports(now: datetime) -> list[int]:
    """Drills whose rollout has ended long enough ago and that have no report yet."""
    settled = now - SETTLES
    moved = Q(rollout__phase__in=FINAL, rollout__ended_at__lte=settled)
    rows = Drill.objects.filter(moved | Q(loss__ended_at__lte=settled), report=None)
    return list(rows.order_by("id").values_list("pk", flat=True)[:50])


def write_report(drill_id: int, now: datetime) -> DrillReport | None:
    """Once for each drill, and never changed. None: somebody else wrote it."""
    of_rollout = (f"rollout__{name}" for name in ("service", "cluster", "from_release"))
    of_loss = (f"loss__{name}" for name in ("drill", "service", "cluster", "release"))
    with fleet_scope():
        rows = Drill.objects.select_related(*of_rollout, "rollout__to_release", *of_loss)
        drill = rows.get(pk=drill_id)
        viewer = actor_of(drill)
        verdict, checks, why, body = came_of(viewer, drill)
        body |= {"verdict": verdict.value, "why": why, "checks": [asdict(c) for c in checks]}
        try:
            with transaction.atomic():
                report = DrillReport.objects.create(
                    drill=drill, at=now, verdict=verdict.value, why=why, report=body,
                    digest=digest_json(body),
                )  # fmt: skip
        except IntegrityError:
            return None
        after = {"verdict": verdict.value, "digest": report.digest}
        record(viewer, "drill.report", drill, after=after, why=why)
    return report


def came_of(viewer: Viewer, drill: Drill) -> Outcome:
    if drill.rollout is None:
        return outcome_of(drill.loss)
    found, body = look_back(viewer, drill, drill.rollout)
    verdict, checks = judge(found, Limits(**drill.limits), Promise(**drill.promise))
    return verdict, checks, sentence(verdict, checks, drill.rollout.why), body


def look_back(viewer: Viewer, drill: Drill, r: Rollout) -> tuple[Measured, dict[str, Any]]:
    """What is judged, and what is kept besides."""
    events = list(RolloutEvent.objects.filter(rollout=r).order_by("id"))
    asked = next((e for e in events if e.actor == actor_of(drill).email), None)
    back = None
    if asked:
        later = (e for e in events if e.at >= asked.at)
        back = next((e for e in later if all_back(e, r)), None)
    over = next((e for e in reversed(events) if e.phase == Phase.ROLLED_BACK), None)
    harm = harm_of(viewer, r)
    found = Measured(
        started=r.started_at is not None,
        asked_in=asked.phase if asked else "",
        phase=Phase(r.phase),
        traffic_back=(back.at - asked.at).total_seconds() if asked and back else None,
        full_back=(over.at - asked.at).total_seconds() if asked and over else None,
        lost=harm.requests,
    )
    body = {
        **facts(drill, r),
        "cluster": r.cluster.slug,
        "began_at": moment_text(r.started_at),
        "taken_back_at": moment_text(asked.at if asked else None),
        "taken_back_in": found.asked_in,
        "ended_at": moment_text(r.ended_at),
        "ended_as": r.phase,
        "rollout_says": r.why,
        "traffic_back_seconds": found.traffic_back,
        "full_back_seconds": found.full_back,
        "requests_lost": harm.requests,
        "answers_cut": harm.cut,
        "lost_by_tenant": [{"tenant": t, "requests": n} for t, n in harm.tally],
        "phases": [
            {"at": moment_text(e.at), "phase": e.phase, "step": e.step, "who": e.actor,
             "why": e.why} for e in events
        ],
    }  # fmt: skip
    return found, body


def all_back(event: RolloutEvent, r: Rollout) -> bool:
    """All weight is on the old release; at once where the new one never had any."""
    going = event.phase in (Phase.ABORTING, Phase.ROLLING_BACK, Phase.ROLLED_BACK)
    return going and (event.detail.get("weight_old") == 100 or r.new_left_at is None)


def moment_text(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def facts(drill: Drill, r: Rollout) -> dict[str, Any]:
    return {
        "drill": str(drill),
        "service": r.service.name,
        "rollout": str(r),
        "from": str(r.from_release),
        "to": str(r.to_release),
        "plan": r.plan_kind,
        "moment": drill.moment,
        "step": drill.step,
        "limits": drill.limits,
        "promise": drill.promise,
        "reason": drill.reason,
        "manifest_digest": r.manifest_digest,
    }
