"""The first page: what needs a person now, then the numbers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from console.access import ViewerRequest
from console.attention import (
    Line,
    archive_lines,
    commitment_lines,
    fleet_lines,
    gateway_lines,
    money_lines,
)
from console.charts import OUTCOMES, outcome_name
from console.progress import read_progress
from console.ranges import TimeRange, read_range
from fleet.queries import clusters as cluster_queries
from fleet.queries import overview as queries
from fleet.queries.gateways import read_gateways
from fleet.queries.service_states import Health
from tenants.rules.access import Permission, Viewer

DAY = timedelta(days=1)
GROUPS = {
    queries.Urgency.NOW: ("Hurting tenants now", "bad", "alert-octagon"),
    queries.Urgency.SOON: ("Will hurt soon", "warn", "alert-triangle"),
    queries.Urgency.PERSON: ("Waiting for a person", "info", "user-check"),
}


@dataclass(frozen=True, slots=True)
class Group:
    title: str
    tone: str
    icon: str
    lines: tuple[Line, ...]

    @property
    def css(self) -> str:
        return f"i-l c-{self.tone}"


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    outcome: str
    name: str
    requests: int
    share: float
    points: float | None  # share now minus share a day before, in percent; None: no traffic then


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    now = timezone.now()
    viewer: Viewer = request.viewer
    span = read_range(request.GET, now)
    found = queries.get_overview(viewer, now)
    sees_fleet = viewer.may(Permission.VIEW_FLEET)
    gateways = read_gateways(now) if sees_fleet else None
    request.gateways = gateways  # type: ignore[attr-defined]  # the frame need not ask again
    money, billing = money_lines(viewer, now)
    lines = [
        *fleet_lines(found.attention),
        *(gateway_lines(gateways, now) if gateways else ()),
        *money,
        *commitment_lines(viewer, now),
        *archive_lines(viewer),
    ]
    rows = outcome_rows(viewer, span)
    progress = read_progress(settings.QM_UP_FILE)
    gpus = total_gpus(found.clusters)
    context = {
        "range": span,
        "groups": groups(lines),
        "attention": len(lines),
        "gateways": gateways,
        "billing": billing,
        "gpus": gpus,
        "gpu_sum": {k: sum(getattr(g, k) for g in gpus) for k in GPU_PARTS},
        "outcomes": rows,
        "requests": sum(r.requests for r in rows),
        "services": found.services,
        "healthy": sum(s.health is Health.HEALTHY for s in found.services),
        "clusters": found.clusters,
        "sees_fleet": sees_fleet,
        "may_propose": viewer.may(Permission.PROPOSE),
        "rollouts": found.rollouts,
        "queues": found.queues,
        "progress": None if progress is None or progress.is_over else progress,
        "progress_is_stale": bool(progress and progress.is_stale(now)),
    }
    return render(request, "overview/index.html", context)


GPU_PARTS = ("allocatable", "used", "free", "out")


def groups(lines: Sequence[Line]) -> list[Group]:
    return [
        Group(title, tone, icon, found)
        for urgency, (title, tone, icon) in GROUPS.items()
        if (found := tuple(line for line in lines if line.urgency is urgency))
    ]


def total_gpus(
    clusters: Iterable[cluster_queries.ClusterRow],
) -> list[cluster_queries.GpuCount]:
    """By product over all clusters."""
    sums: dict[str, list[int]] = {}
    for cluster in clusters:
        for g in cluster.gpus:
            total = sums.setdefault(g.product, [0] * len(GPU_PARTS))
            for i, part in enumerate(GPU_PARTS):
                total[i] += getattr(g, part)
    return [cluster_queries.GpuCount(product, *sums[product]) for product in sorted(sums)]


def outcome_rows(viewer: Viewer, span: TimeRange) -> list[OutcomeRow]:
    now, then = queries.outcomes(viewer, span.start, span.end, before=DAY)
    total, total_then = sum(now.values()), sum(then.values())
    if not total:
        return []
    return [
        OutcomeRow(
            outcome,
            outcome_name(outcome),
            now.get(outcome, 0),
            now.get(outcome, 0) / total,
            100 * (now.get(outcome, 0) / total - then.get(outcome, 0) / total_then)
            if total_then
            else None,
        )
        for outcome in OUTCOMES
    ]
