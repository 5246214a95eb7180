"""One pass over one drill of a lost pod: claim, look, decide, act, record."""

import uuid
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db.models.functions import Now

from fleet.clients.errors import ClientError
from fleet.clients.workloads import Workloads
from fleet.drive.look import side_of
from fleet.drive.outside import REAL, Outside
from fleet.models import Deployment, PodLoss
from fleet.queries.pod_losses import frozen, moving, routed, state_of
from fleet.rules.manifests import kinds_of, selector_of
from fleet.rules.pod_loss import (
    FINAL,
    GRACE_SECONDS,
    SOON,
    LossDecision,
    LossPhase,
    LossSeen,
    decide,
)
from tenants.actions import audit
from tenants.base.claims import claimed
from tenants.base.scope import fleet_scope
from tenants.rules.access import Permission, Viewer, system_viewer

log = structlog.get_logger(__name__)
KEPT = (
    "uid", "pod", "node", "gpus", "before", "least", "killed_at", "out_at", "replaced_by",
    "replaced_at",
)  # fmt: skip


def due_losses() -> list[int]:
    return PodLoss.due(ended_at=None)


def is_due(loss_id: int) -> bool:
    return PodLoss.objects.filter(pk=loss_id, ended_at=None, look_again__lte=Now()).exists()


def drive(loss_id: int, outside: Outside = REAL) -> timedelta | None:
    """Make one pass. Answers when to look again; None: final, or somebody else has the row."""
    with claimed(PodLoss, loss_id) as claim:
        return pass_over(loss_id, claim, outside) if claim else None


def pass_over(loss_id: int, claim: uuid.UUID, outside: Outside) -> timedelta | None:
    now = outside.clock()
    with fleet_scope():
        related = ("drill", "service", "cluster", "release")
        row = PodLoss.objects.select_related(*related).get(pk=loss_id)
        state = state_of(viewer(row), row)
    seen, workloads = look(row, outside, now)
    decision = decide(state, seen, now)
    if decision.kills and workloads is not None:
        if not PodLoss.keep_claim(loss_id, claim):
            log.info("claim lost, nothing is killed", drill=row.drill_id)
            return None
        try:
            workloads.delete("Pod", row.pod, row.uid, grace_seconds=GRACE_SECONDS)
        except ClientError as error:
            decision = LossDecision(state, f"It cannot be killed. {error.message}", SOON)
    if not record(row, decision, claim, now):
        log.info("claim lost, the record is dropped", drill=row.drill_id)
        return None
    return decision.look_again


def viewer(row: PodLoss) -> Viewer:
    return system_viewer(str(row.drill), (Permission.VIEW_FLEET, Permission.PROPOSE))


def look(row: PodLoss, outside: Outside, now: datetime) -> tuple[LossSeen, Workloads | None]:
    """The cluster itself, once it is approved; the observer says what gateways are told of."""
    if row.phase == LossPhase.AWAITING_APPROVAL:
        return LossSeen(), None
    told: dict[str, Any] = {
        "routed": routed(row),
        "moving": moving(row),
        "frozen": frozen(row, now),
    }
    placed = Deployment.objects.filter(service=row.service, release=row.release).first()
    if placed is None or row.service.current_release_id != row.release_id:
        return LossSeen(trouble=f"{row.release} does not serve any more", **told), None
    try:
        workloads = outside.connect(row.cluster)
        found = workloads.look(selector_of(row.service.name), kinds_of(placed.manifest))
    except ClientError as error:
        return LossSeen(trouble=error.message, **told), None
    return LossSeen(side=side_of(found, row.release), **told), workloads


def record(row: PodLoss, d: LossDecision, claim: uuid.UUID, now: datetime) -> bool:
    """Write phase and measurements, guarded by the claim. False: lost, all is dropped."""
    moved = d.state.phase.value != row.phase
    found: dict[str, Any] = {name: getattr(d.state, name) for name in KEPT}
    found |= {
        "phase": d.state.phase.value,
        "phase_since": d.state.phase_since,
        "why": d.why,
        "look_again": None if d.look_again is None else now + d.look_again,
        "failures": 0,
        "failure": "",
    }
    if moved:
        line = {"at": now.isoformat(), "phase": found["phase"], "step": 0, "who": "", "why": d.why}
        found["timeline"] = [*row.timeline, line]
    if d.state.phase in FINAL:
        found["ended_at"] = now
    with fleet_scope():
        if not PodLoss.record(row.pk, claim, **found):
            return False
        if moved and (d.kills or d.state.phase in FINAL):
            verb = "drill.kill" if d.kills else f"drill.{d.state.phase}"
            after = {"pod": d.state.pod, "node": d.state.node, "phase": found["phase"]}
            before = {"phase": row.phase}
            audit.record(viewer(row), verb, row.drill, before=before, after=after, why=d.why)
    return True
