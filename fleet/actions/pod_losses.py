"""Propose drills of a lost pod, wake them when somebody decided, look back for their reports."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from fleet.models import Drill, PodLoss, Release, Service
from fleet.queries.pod_losses import KIND, lost_requests, promised_start
from fleet.rules.drill import Check, DrillVerdict, Limits, Moment, Promise, refuse_limits
from fleet.rules.pod_loss import USUAL, LossMeasured, LossPhase, judge, sentence
from tenants.actions import changes
from tenants.actions.audit import record
from tenants.errors import Conflict, Invalid, NotFound
from tenants.nudge import nudge
from tenants.rules.access import Permission, Viewer

DRIVE = "fleet.tasks.drive_pod_loss"


@transaction.atomic
def propose_pod_loss(
    viewer: Viewer,
    service_id: int,
    *,
    limits: Limits | None = None,
    reason: str = "",
    consent: bool = False,
) -> Drill:
    """Freeze a drill, and ask somebody else to approve that a replica is killed.

    `consent`: to the only replica of a service as well.
    """
    viewer.require(Permission.PROPOSE)
    limits = limits or USUAL
    if refusal := refuse_limits(limits):
        raise Invalid(limits=refusal)
    related = ("cluster", "current_release")
    service = Service.objects.select_related(*related).filter(pk=service_id).first()
    if service is None:
        raise NotFound("There is no such service")
    if service.current_release is None or service.cluster is None:
        raise Conflict("Nothing serves yet: there is no replica to kill")
    promise = Promise(None, promised_start(service, service.current_release))
    drill = Drill.objects.create(
        service=service,
        rollout=None,
        moment=Moment.POD_LOST.value,
        limits=asdict(limits),
        promise=asdict(promise),
        reason=reason.strip(),
        requested_by_id=viewer.user_id,
    )
    loss = store(drill, service, service.current_release, consent)
    change = changes.propose(
        viewer,
        kind=KIND,
        target_id=drill.pk,
        title=f"{service}: a replica is killed",
        payload=facts(loss),
        reason=reason,
    )
    PodLoss.objects.filter(pk=loss.pk).update(change_id=change.pk)
    record(viewer, "drill.propose", drill, after=facts(loss), why=reason)
    nudge(DRIVE, loss.pk)
    return drill


def store(drill: Drill, service: Service, release: Release, consent: bool) -> PodLoss:
    loss = PodLoss(
        drill=drill,
        service=service,
        cluster=service.cluster,
        release=release,
        consent=consent,
        phase=LossPhase.AWAITING_APPROVAL.value,
        phase_since=Now(),
        look_again=Now(),
        why="Proposed",
    )
    try:
        with transaction.atomic():
            loss.save()
    except IntegrityError as error:
        other = PodLoss.objects.select_related("drill").get(service=service, ended_at=None)
        raise Conflict(f"{other.drill} of this service is open: let it end first") from error
    return loss


def facts(loss: PodLoss) -> dict[str, Any]:
    drill = loss.drill
    return {
        "drill": str(drill),
        "service": loss.service.name,
        "release": str(loss.release),
        "cluster": loss.cluster.slug,
        "moment": drill.moment,
        "limits": drill.limits,
        "promise": drill.promise,
        "consent": loss.consent,
        "reason": drill.reason,
    }


def wake_by_change(change_id: int) -> int | None:
    """Make the drill due that waits for this change."""
    rows = PodLoss.objects.filter(change_id=change_id, ended_at=None)
    rows.update(look_again=Now())
    return rows.values_list("id", flat=True).first()


Outcome = tuple[DrillVerdict, list[Check], str, dict[str, Any]]


def outcome_of(loss: PodLoss) -> Outcome:
    """Verdict, checks and sentence of a drill that has ended, and what is kept besides."""
    limits, promise = Limits(**loss.drill.limits), Promise(**loss.drill.promise)
    served, lost = lost_requests(loss)
    found = LossMeasured(
        killed=loss.killed_at is not None,
        before=loss.before,
        least=loss.least,
        out=since_kill(loss, loss.out_at),
        replaced=since_kill(loss, loss.replaced_at),
        served=served,
        lost=sum(number for _, number in lost),
    )
    verdict, checks = judge(found, limits, promise.full_back)
    return verdict, checks, sentence(verdict, checks, loss.why), facts(loss) | told(loss, lost)


def told(loss: PodLoss, lost: Iterable[tuple[str, int]]) -> dict[str, Any]:
    moments = {
        "killed_at": loss.killed_at,
        "out_at": loss.out_at,
        "replaced_at": loss.replaced_at,
        "ended_at": loss.ended_at,
    }
    return {
        "pod": loss.pod,
        "node": loss.node,
        "gpus": loss.gpus,
        "replaced_by": loss.replaced_by,
        "replicas_before": loss.before,
        "replicas_least": loss.least,
        "answers_cut": 0,
        "lost_by_tenant": [{"tenant": t, "requests": n} for t, n in lost],
        "phases": loss.timeline,
        **{name: at.isoformat() if at else None for name, at in moments.items()},
    }


def since_kill(loss: PodLoss, at: datetime | None) -> float | None:
    return (at - loss.killed_at).total_seconds() if at and loss.killed_at else None
