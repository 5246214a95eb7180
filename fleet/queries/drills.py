"""Drills as pages and the API show them, and which services need one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Max, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import JSONObject

from fleet.models import Drill, DrillReport, PodLoss, Rollout, Service
from fleet.queries.access import see_fleet
from fleet.rules.drill import DrillVerdict, Moment, is_stale, moment_in_words
from fleet.rules.phases import BEFORE_WRITES, FINAL, Phase
from fleet.rules.pod_loss import LossPhase
from tenants.errors import NotFound
from tenants.rules.access import Permission, Viewer

# Manifests and what the drive remembers are large JSON.
WIDE = ("rollout__manifests", "rollout__plan", "rollout__memory")


@dataclass(frozen=True, slots=True)
class DrillRow:
    """`state`: waiting, running, reporting, or the verdict: passed, failed, not_run."""

    id: int
    label: str  # DR-3
    service: str
    rollout_id: int | None  # None: of a lost pod
    rollout: str  # RO-12
    phase: str  # of the rollout, or of the loss
    from_label: str
    to_label: str
    plan_kind: str
    moment: str
    step: int
    when: str  # the moment in words
    limits: Mapping[str, float]
    promise: Mapping[str, float | None]
    reason: str
    requested_by: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    state: str
    why: str
    reported_at: datetime | None
    digest: str  # SHA-256 of the report
    report: Mapping[str, Any] | None
    change_id: int | None = None  # of a lost pod: what somebody else decides
    pod: str = ""  # that was killed
    timeline: tuple[Mapping[str, Any], ...] = ()  # of a lost pod: at, phase, who, why

    @property
    def is_open(self) -> bool:
        return self.state in ("waiting", "running", "reporting")


@dataclass(frozen=True, slots=True)
class DrillAge:
    """When the way back of a service was last proved."""

    service: str
    last: datetime | None
    is_stale: bool


def search_drills(viewer: Viewer, *, service: str = "", state: str = "") -> QuerySet[Drill]:
    """Newest first. `state`: "open" or a verdict."""
    see_fleet(viewer)
    related = (
        "service", "requested_by", "report", "rollout__from_release", "rollout__to_release",
        "loss__release",
    )  # fmt: skip
    rows = Drill.objects.select_related(*related).defer(*WIDE).order_by("-id")
    if service:
        rows = rows.filter(service__name=service)
    if state == "open":
        return rows.filter(report=None)
    return rows.filter(report__verdict=state) if state else rows


def rows_of(found: Iterable[Drill]) -> tuple[DrillRow, ...]:
    return tuple(row_of(drill) for drill in found)


def get_drill(viewer: Viewer, drill_id: int) -> DrillRow:
    found = search_drills(viewer).filter(pk=drill_id).first()
    if found is None:
        raise NotFound("There is no such drill")
    return row_of(found)


def drilled(viewer: Viewer, rollout_ids: Iterable[int]) -> dict[int, int]:
    """Those of the rollouts that are drills, with the drill. Who sees the fleet's money sees it."""
    if not viewer.may(Permission.VIEW_MONEY):
        see_fleet(viewer)
    rows = Drill.objects.filter(rollout__in=list(rollout_ids))
    return dict(rows.values_list("rollout_id", "id"))


def proved() -> QuerySet[DrillReport]:
    """Of ways back: that a lost pod is replaced says nothing of them."""
    passed = DrillReport.objects.filter(verdict=DrillVerdict.PASSED)
    return passed.exclude(drill__moment=Moment.POD_LOST)


def drill_ages(viewer: Viewer, now: datetime) -> tuple[DrillAge, ...]:
    """Of all services that have a release, the one that waited longest first."""
    see_fleet(viewer)
    passed = proved()
    last = dict(passed.values_list("drill__service__name").annotate(Max("at")))
    serving = Service.objects.exclude(current_release=None).order_by("name")
    names = serving.values_list("name", flat=True)
    days = settings.QM_DRILL_DAYS
    ages = [DrillAge(n, last.get(n), is_stale(last.get(n), now, days)) for n in names]
    return tuple(sorted(ages, key=lambda age: age.last.timestamp() if age.last else 0.0))


@dataclass(frozen=True, slots=True)
class DrillFault:
    """The last drill of a service that proved something, where that was not as it must be."""

    drill_id: int
    service: str
    why: str
    at: datetime


def drill_needs(
    viewer: Viewer, now: datetime
) -> tuple[tuple[DrillFault, ...], tuple[DrillAge, ...]]:
    """What failed last, of ways back and of lost pods apart; and whose way back is overdue: not
    proved for too long, or never in as long since the service was made. One statement.
    """
    see_fleet(viewer)
    lost = Q(drill__moment=Moment.POD_LOST)
    passed = Q(drills__report__verdict=DrillVerdict.PASSED) & ~Q(drills__moment=Moment.POD_LOST)
    rows = Service.objects.exclude(current_release=None).order_by("name")
    rows = rows.annotate(
        last=Max("drills__report__at", filter=passed), way=last_of(~lost), loss=last_of(lost)
    )
    found = list(rows.values_list("name", "created_at", "last", "way", "loss"))
    days = settings.QM_DRILL_DAYS
    ages = [
        DrillAge(name, last, True)
        for name, made, last, _, _ in found
        if is_stale(last or made, now, days)
    ]
    faults = [
        DrillFault(one["id"], name, one["why"], datetime.fromisoformat(one["at"]))
        for name, _, _, *both in found
        for one in both
        if one and one["verdict"] == DrillVerdict.FAILED
    ]
    ages.sort(key=lambda age: age.last.timestamp() if age.last else 0.0)
    return tuple(faults), tuple(ages)


def last_of(kind: Q) -> Subquery:
    """Of those of a service that proved something."""
    judged = DrillReport.objects.filter(kind, drill__service=OuterRef("pk"))
    judged = judged.exclude(verdict=DrillVerdict.NOT_RUN).order_by("-id")
    told = JSONObject(id="drill_id", verdict="verdict", why="why", at="at")
    return Subquery(judged.values(told=told)[:1])


def drill_age(viewer: Viewer, service_id: int, now: datetime) -> DrillAge:
    """The last drill that passed, of one service."""
    see_fleet(viewer)
    rows = proved().filter(drill__service=service_id)
    last = rows.aggregate(at=Max("at"))["at"]
    return DrillAge("", last, is_stale(last, now, settings.QM_DRILL_DAYS))


def row_of(drill: Drill) -> DrillRow:
    report: DrillReport | None = getattr(drill, "report", None)
    of_it = of_rollout(drill.rollout) if drill.rollout else of_loss(drill.loss)
    row = DrillRow(
        id=drill.pk,
        label=str(drill),
        service=drill.service.name,
        moment=drill.moment,
        step=drill.step,
        when=moment_in_words(Moment(drill.moment), drill.step),
        limits=drill.limits,
        promise=drill.promise,
        reason=drill.reason,
        requested_by=drill.requested_by.email if drill.requested_by else "",
        created_at=drill.created_at,
        reported_at=report.at if report else None,
        digest=report.digest if report else "",
        report=report.report if report else None,
        **of_it,
    )
    return replace(row, state=report.verdict, why=report.why) if report else row


def of_rollout(r: Rollout) -> dict[str, Any]:
    return {
        "rollout_id": r.pk,
        "rollout": str(r),
        "phase": r.phase,
        "from_label": str(r.from_release) if r.from_release else "",
        "to_label": str(r.to_release),
        "plan_kind": r.plan_kind,
        "started_at": r.started_at,
        "ended_at": r.ended_at,
        "state": state_of(Phase(r.phase)),
        "why": r.why,
    }


def of_loss(loss: PodLoss) -> dict[str, Any]:
    waits = loss.phase == LossPhase.AWAITING_APPROVAL
    return {
        "rollout_id": None,
        "rollout": "",
        "phase": loss.phase,
        "from_label": str(loss.release),
        "to_label": str(loss.release),
        "plan_kind": "",
        "started_at": loss.killed_at,
        "ended_at": loss.ended_at,
        "state": "reporting" if loss.ended_at else "waiting" if waits else "running",
        "why": loss.why,
        "change_id": loss.change_id,
        "pod": loss.pod,
        "timeline": tuple(loss.timeline),
    }


def state_of(phase: Phase) -> str:
    if phase in FINAL:
        return "reporting"
    return "waiting" if phase in BEFORE_WRITES else "running"
