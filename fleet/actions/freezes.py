"""The change calendar: plan freezes, end them, and ask for an exception."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from fleet.actions.waking import OPEN
from fleet.models import Cluster, Freeze, Rollout, RolloutEvent, Service
from fleet.queries.freezes import EXCEPTION, held, window_of
from fleet.rules.freeze import Window, held_until, refuse_window
from fleet.rules.phases import BEFORE_WRITES
from tenants.actions import changes
from tenants.actions.audit import record
from tenants.errors import Conflict, Forbidden, Invalid, NotFound
from tenants.nudge import nudge
from tenants.rules.access import Permission, Viewer

DRIVE = "fleet.tasks.drive_rollout"


@transaction.atomic
def create_freeze(
    viewer: Viewer,
    window: Window,
    *,
    cluster_id: int | None = None,
    service_id: int | None = None,
) -> Freeze:
    """Let no rollout begin in this time: everywhere, in one cluster, or of one service."""
    viewer.require(Permission.PROPOSE)
    window = replace(window, title=window.title.strip(), reason=window.reason.strip())
    wrong = refuse_window(window) | refuse_scope(cluster_id, service_id)
    if wrong:
        raise Invalid(**wrong)
    freeze = Freeze.objects.create(
        title=window.title[:120],
        reason=window.reason,
        cluster_id=cluster_id,
        service_id=service_id,
        starts_at=window.starts_at,
        ends_at=window.ends_at,
        weekdays=sorted(set(window.weekdays)),
        from_time=window.from_time if window.weekdays else None,
        minutes=window.minutes if window.weekdays else 0,
        zone=window.zone,
        created_by=viewer.email,
    )
    record(viewer, "freeze.create", freeze, after=freeze, why=window.reason)
    return freeze


def refuse_scope(cluster_id: int | None, service_id: int | None) -> dict[str, str]:
    if cluster_id is not None and service_id is not None:
        return {"scope": "A cluster or a service, not both"}
    clusters = Cluster.objects.filter(removed_at=None)
    if cluster_id is not None and not clusters.filter(pk=cluster_id).exists():
        return {"scope": "There is no such cluster"}
    if service_id is not None and not Service.objects.filter(pk=service_id).exists():
        return {"scope": "There is no such service"}
    return {}


@transaction.atomic
def end_freeze(viewer: Viewer, freeze_id: int, *, why: str) -> Freeze:
    """Rollouts may begin from now on. A window that holds now is ended by an approver only."""
    rows = Freeze.objects.select_for_update(no_key=True)
    freeze = rows.filter(pk=freeze_id).first()
    if freeze is None:
        raise NotFound("There is no such freeze")
    refuse_ender(viewer, freeze, timezone.now())
    if freeze.closed_at is not None:
        raise Conflict(f"{freeze} was ended by {freeze.closed_by} already")
    if not why.strip():
        raise Invalid(why="Say why it ends: the reason is kept")
    rows.filter(pk=freeze_id).update(
        closed_at=Now(), closed_by=viewer.email, closed_why=why.strip()
    )
    freeze.refresh_from_db()
    record(viewer, "freeze.end", freeze, after=freeze, why=why)
    for rollout_id in wake():
        nudge(DRIVE, rollout_id)
    return freeze


def refuse_ender(viewer: Viewer, freeze: Freeze, now: datetime) -> None:
    """Otherwise ending it would be an exception that nobody approved. A hold has no end set: who
    is at work in the incident ends it, but nobody for a rollout of their own.
    """
    holds, _ = held_until(window_of(freeze), now)
    if not holds:
        viewer.require(Permission.PROPOSE)
        return
    is_planned = freeze.ends_at is not None or bool(freeze.weekdays)
    if is_planned or not viewer.may(Permission.PROPOSE):
        viewer.require(Permission.APPROVE)
    mine = held_of(viewer, freeze)
    if mine is not None:
        raise Forbidden(
            f"It keeps back {mine}, which you proposed: somebody else ends it,"
            " or ask for an exception for that one"
        )


def held_of(viewer: Viewer, freeze: Freeze) -> Rollout | None:
    """A rollout of theirs that this freeze keeps back."""
    rows = Rollout.objects.filter(phase__in=[p.value for p in BEFORE_WRITES], is_rollback=False)
    if freeze.cluster_id is not None:
        rows = rows.filter(cluster=freeze.cluster_id)
    if freeze.service_id is not None:
        rows = rows.filter(service=freeze.service_id)
    return rows.filter(requested_by=viewer.user_id).order_by("id").first()


def wake() -> list[int]:
    rows = Rollout.objects.filter(phase__in=OPEN, started_at=None)
    rows.update(look_again=Now())
    return list(rows.values_list("id", flat=True))


@transaction.atomic
def ask_exception(viewer: Viewer, rollout_id: int, *, why: str) -> int:
    """Ask somebody else to let this one rollout begin although the calendar says no: despite the
    freezes that hold it now. One that is declared later is news, and needs its own exception.

    Answers the number of the change request.
    """
    viewer.require(Permission.PROPOSE)
    rollout = Rollout.objects.select_related("service", "to_release").filter(pk=rollout_id).first()
    if rollout is None:
        raise NotFound("There is no such rollout")
    if not why.strip():
        raise Invalid(why="Say why it cannot wait: the approver decides by it")
    kept_back = held(viewer, rollout, timezone.now())
    if kept_back is None:
        raise Conflict(f"Nothing freezes {rollout}: it needs no exception")
    if kept_back.exception == "approved":
        raise Conflict(f"{rollout} has its exception already")
    payload: dict[str, Any] = {
        "rollout": rollout.pk,
        "service": str(rollout.service),
        "to": str(rollout.to_release),
        "freezes": sorted(kept_back.freezes),
        "frozen": [sentence for _, sentence in sorted(kept_back.freezes.items())],
        "manifest_digest": rollout.manifest_digest,
    }
    change = changes.propose(
        viewer,
        kind=EXCEPTION,
        target_id=rollout.pk,
        title=f"{rollout.service}: exception from the freeze for {rollout}",
        payload=payload,
        reason=why,
    )
    record(viewer, "rollout.ask_exception", rollout, after=payload, why=why)
    RolloutEvent.objects.create(
        rollout=rollout,
        phase=rollout.phase,
        step=rollout.step,
        actor=viewer.email,
        why=f"Exception from the freeze asked: {why.strip()}",
    )
    return int(change.pk)
