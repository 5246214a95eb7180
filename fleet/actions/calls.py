"""Call a person: note what needs one, say when to tell it, and who has taken it on.

Fleet knows no receivers: whoever sends takes what is due in its own transaction, so that a call is
told once, or again after a time.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.db import connection, transaction
from django.db.models import Q

from fleet.actions.waking import OPEN
from fleet.models import Rollout, RolloutCall, RolloutEvent
from fleet.rules.calls import (
    FAILING,
    NEWS,
    REFUSED_BACK,
    CallKind,
    Facts,
    calls_for,
    failed_words,
    is_due,
)
from fleet.rules.phases import Phase
from tenants.actions.audit import record
from tenants.errors import Conflict, NotFound
from tenants.queries.changes import waiting_until
from tenants.rules.access import Permission, Viewer

LOCK = 7_010_060  # of advisory locks: one tells at a time
CALLING = (
    Phase.AWAITING_APPROVAL.value,
    Phase.AWAITING_STEP_APPROVAL.value,
    Phase.PAUSED.value,
    Phase.ROLLBACK_BLOCKED.value,
)


class Subject(StrEnum):
    """What a call is about."""

    ROLLOUT = "rollout"
    SEQUENCE = "sequence"
    DRILL = "drill"


@dataclass(frozen=True, slots=True)
class Due:
    """What is told now. `times`: how often it was told, this one included."""

    kind: CallKind
    subject: Subject
    pk: int
    label: str  # RO-12, SQ-3, DR-7
    service: str
    cluster: str
    release_from: str
    release_to: str
    why: str
    since: datetime
    expires_at: datetime | None = None
    times: int = 1


def take_due(now: datetime, again: timedelta) -> list[Due]:
    """Bring calls up to date; answers those to tell now. In the caller's transaction and scope."""
    if not is_alone():
        return []
    related = ("service", "cluster", "from_release", "to_release")
    news = Q(phase=Phase.ROLLED_BACK.value, ended_at__gt=now - NEWS)
    failing = Q(phase__in=OPEN, failures__gte=FAILING)
    hindered = Q(phase__in=OPEN, hindered_since__lte=now - REFUSED_BACK)
    rows = Rollout.objects.filter(Q(phase__in=CALLING) | news | failing | hindered)
    rows = rows.select_related(*related).defer("manifests", "plan")
    rollouts = {r.pk: r for r in rows.order_by("id")}
    waits = waiting_until(asked for r in rollouts.values() if (asked := asked_of(r)))
    wanted = {pk: calls_for(facts_of(r, waits), now) for pk, r in rollouts.items()}
    found = {(c.rollout_id, c.kind): c for c in known(rollouts, now, again)}
    for (pk, kind), call in found.items():
        if call.ended_at is None and kind not in wanted.get(pk, ()):
            RolloutCall.objects.filter(pk=call.pk).update(ended_at=now)
    pairs = [(pk, kind) for pk, kinds in wanted.items() for kind in sorted(kinds)]
    told = (
        _tell(rollouts[pk], kind, found.get((pk, kind)), waits, now, again) for pk, kind in pairs
    )
    return [due for due in told if due]


def is_alone() -> bool:
    """Nobody else tells until the end of this transaction. It may be asked again in it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        return bool(cursor.fetchone()[0])


def known(rollouts: Iterable[int], now: datetime, again: timedelta) -> Iterable[RolloutCall]:
    """Open ones, and those that ended a moment ago: what flickers is one call."""
    lately = Q(rollout__in=list(rollouts), ended_at__gt=now - again)
    once = Q(kind=CallKind.ROLLED_BACK.value, rollout__in=list(rollouts))
    return RolloutCall.objects.filter(Q(ended_at=None) | lately | once).order_by("id")


def asked_of(r: Rollout) -> int | None:
    """The change that it waits for: of the step, or of the whole."""
    is_step = r.phase == Phase.AWAITING_STEP_APPROVAL
    return r.step_change_id if is_step else r.change_id


def facts_of(r: Rollout, waits: dict[int, datetime]) -> Facts:
    until = waits.get(asked_of(r) or 0)
    return Facts(
        phase=Phase(r.phase),
        paused_by=r.memory.get("paused_by", ""),
        cause=r.cause,
        approval="waiting" if until else "",
        expires_at=until,
        ended_at=r.ended_at,
        failures=r.failures,
        hindered=r.hindered_since,
    )


def _tell(
    r: Rollout,
    kind: CallKind,
    call: RolloutCall | None,
    waits: dict[int, datetime],
    now: datetime,
    again: timedelta,
) -> Due | None:
    call = call or RolloutCall(rollout=r, kind=kind.value, since=now)
    acknowledged = call.acknowledged_at is not None
    due = is_due(kind, call.called_at, acknowledged=acknowledged, now=now, again=again)
    if not due and call.ended_at is None:
        return None
    call.ended_at = None
    if not due:
        call.save()
        return None
    call.called_at, call.times = now, call.times + 1
    call.save()
    return Due(
        kind=kind,
        subject=Subject.ROLLOUT,
        pk=r.pk,
        label=str(r),
        service=r.service.name,
        cluster=r.cluster.slug,
        release_from=str(r.from_release) if r.from_release else "",
        release_to=str(r.to_release),
        why=why_of(r, kind),
        since=call.since,
        expires_at=waits.get(asked_of(r) or 0),
        times=call.times,
    )


def why_of(r: Rollout, kind: CallKind) -> str:
    raised = kind is CallKind.STUCK and r.failures >= FAILING
    return failed_words(r.failures, r.failure, r.why) if raised else r.why


@transaction.atomic
def acknowledge(viewer: Viewer, rollout_id: int, *, why: str = "") -> Rollout:
    """Somebody is on it: nobody is called again about what this rollout waits for now."""
    viewer.require(Permission.PROPOSE)
    rollout = Rollout.objects.filter(pk=rollout_id).first()
    if rollout is None:
        raise NotFound("There is no such rollout")
    calls = RolloutCall.objects.select_for_update().filter(rollout=rollout, ended_at=None)
    open_calls = [call for call in calls.order_by("id") if call.acknowledged_at is None]
    if not open_calls:
        raise Conflict(f"{rollout} calls nobody, or somebody is on it already")
    at = RolloutEvent.objects.create(
        rollout=rollout,
        phase=rollout.phase,
        step=rollout.step,
        actor=viewer.email,
        why="Is on it" + (f": {why.strip()}" if why.strip() else ""),
    ).at
    ids = [call.pk for call in open_calls]
    RolloutCall.objects.filter(pk__in=ids).update(acknowledged_by=viewer.email, acknowledged_at=at)
    after = {"calls": [call.kind for call in open_calls]}
    record(viewer, "rollout.acknowledge", rollout, after=after, why=why)
    return rollout
