"""Pods, logs and money that a rollout keeps: they are there when the pods are long gone."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Sum

from fleet.models import Rollout, RolloutGpuTime, RolloutLog, RolloutPod
from fleet.queries.access import see_fleet
from fleet.queries.releases import spec_of
from fleet.rules.differences import Change, compare
from fleet.rules.phases import FINAL, Phase
from fleet.rules.surge_cost import SurgeCost, read_cost
from tenants.errors import NotFound
from tenants.rules.access import Permission, Viewer

END = 40  # lines of a log that a page shows


@dataclass(frozen=True, slots=True)
class KeptPod:
    uid: str
    name: str
    release: str  # fingerprint
    role: str
    node: str
    created_at: datetime
    start_seconds: float | None  # from creation to admission; None: it never took traffic
    restarts: int
    trouble: str
    answered: str  # the fingerprint that its answers carried last
    answered_at: datetime | None
    gone: bool
    gone_at: datetime | None  # when passes stopped seeing it


@dataclass(frozen=True, slots=True)
class LogRow:
    """The end of a container's log, secrets masked; `trouble`: why it is not the whole end."""

    id: int
    pod: str
    release: str  # fingerprint
    previous: bool  # of the run before its last restart
    restarts: int
    at: datetime
    text: str
    trouble: str

    @property
    def end(self) -> str:
        return "\n".join(self.text.splitlines()[-END:])

    @property
    def lines(self) -> int:
        return len(self.text.splitlines())


def kept_pods(rollout: Rollout, live: Collection[str]) -> tuple[KeptPod, ...]:
    """`live`: uids that the observer sees now. What ended unseen is gone as well."""
    over = Phase(rollout.phase) in FINAL
    rows = RolloutPod.objects.filter(rollout=rollout).order_by("created_at", "name")
    return tuple(kept_pod(p, gone=p.uid not in live and bool(p.gone_at or over)) for p in rows)


def kept_pod(p: RolloutPod, *, gone: bool) -> KeptPod:
    same = (p.uid, p.name, p.release, p.role, p.node, p.created_at, p.start_seconds, p.restarts)
    return KeptPod(*same, p.trouble, p.answered, p.answered_at, gone, p.gone_at)


def kept_logs(rollout: Rollout) -> tuple[LogRow, ...]:
    """Of each pod the run that failed before the one after it; the newest pod first."""
    rows = RolloutLog.objects.filter(rollout=rollout).order_by("-at", "pod", "-previous")
    return tuple(map(log_row, rows))


def log_row(row: RolloutLog) -> LogRow:
    return LogRow(
        row.pk, row.pod, row.release, row.previous, row.restarts, row.at, row.text, row.trouble
    )


def get_log(viewer: Viewer, rollout_id: int, log_id: int) -> LogRow:
    see_fleet(viewer)
    row = RolloutLog.objects.filter(rollout=rollout_id, pk=log_id).first()
    if row is None:
        raise NotFound("This rollout has no such log")
    return log_row(row)


def changes_of(rollout: Rollout) -> tuple[Change, ...]:
    """From the old release to the new one; empty where nothing served before."""
    if rollout.from_release is None:
        return ()
    return tuple(compare(spec_of(rollout.from_release), spec_of(rollout.to_release)))


def cost_at(viewer: Viewer, rollout: Rollout, gpu_ms: Mapping[str, int]) -> SurgeCost | None:
    """Planned and measured, at the plan's prices. None: no price was known, or no right to it."""
    price = rollout.plan.get("price")
    if not price or not viewer.may(Permission.VIEW_MONEY):
        return None
    return read_cost(price, gpu_ms)


def gpu_ms_of(rollout: Rollout) -> Mapping[str, int]:
    rows = RolloutGpuTime.objects.filter(rollout=rollout).values_list("gpu_product")
    return dict(rows.annotate(ms=Sum("gpu_ms")))
