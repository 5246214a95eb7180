"""The first page: what needs a person now, then the numbers."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from console.access import ViewerRequest
from console.charts import OUTCOMES, outcome_name
from console.progress import read_progress
from console.ranges import TimeRange, read_range
from fleet.queries import clusters as cluster_queries
from fleet.queries import overview as queries
from fleet.queries import rollouts as rollout_queries
from fleet.queries.services import Health
from tenants.rules.access import Permission, Viewer

DAY = timedelta(days=1)
GROUPS = {
    queries.Urgency.NOW: ("Hurting tenants now", "bad", "alert-octagon"),
    queries.Urgency.SOON: ("Will hurt soon", "warn", "alert-triangle"),
    queries.Urgency.PERSON: ("Waiting for a person", "info", "user-check"),
}
# What kind of object a line is about: the page that lists it, and what the button says.
ACTS = {
    "finding": ("/degradation/findings/{}/", "See the causes"),
    "service": ("/services/{}/", "Open the service"),
    "rollout": ("/rollouts/{}/", "Open the rollout"),
    "change": ("/approvals/{}/", "Review the plan"),
    "nodes": ("/nodes/?state={}", "Open the nodes"),
    "cluster": ("/clusters/{}/", "Open the cluster"),
}


@dataclass(frozen=True, slots=True)
class Line:
    item: queries.Attention
    url: str
    act: str


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
    before = TimeRange(span.start - DAY, span.end - DAY, "", "", "")
    rows = outcome_rows(viewer, span, before)
    progress = read_progress(settings.QM_UP_FILE)
    sees_fleet = viewer.may(Permission.VIEW_FLEET)
    gpus = total_gpus(found.clusters)
    context = {
        "range": span,
        "groups": groups(found.attention),
        "attention": len(found.attention),
        "gpus": gpus,
        "gpu_sum": {k: sum(getattr(g, k) for g in gpus) for k in GPU_PARTS},
        "outcomes": rows,
        "requests": sum(r.requests for r in rows),
        "services": found.services,
        "healthy": sum(s.health is Health.HEALTHY for s in found.services),
        "clusters": found.clusters,
        "sees_fleet": sees_fleet,
        "may_propose": viewer.may(Permission.PROPOSE),
        "rollouts": rollout_queries.list_rollouts(viewer, only_open=True) if sees_fleet else (),
        "progress": None if progress is None or progress.is_over else progress,
        "progress_is_stale": bool(progress and progress.is_stale(now)),
    }
    return render(request, "overview/index.html", context)


GPU_PARTS = ("allocatable", "used", "free", "out")


def groups(items: Iterable[queries.Attention]) -> list[Group]:
    found = queries.by_urgency(items)
    return [
        Group(title, tone, icon, tuple(line(item) for item in found[urgency]))
        for urgency, (title, tone, icon) in GROUPS.items()
        if found[urgency]
    ]


def line(item: queries.Attention) -> Line:
    address, act = ACTS[item.kind]
    return Line(item, address.format(item.key), act)


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


def outcome_rows(viewer: Viewer, span: TimeRange, before: TimeRange) -> list[OutcomeRow]:
    now = queries.outcomes(viewer, span.start, span.end)
    then = queries.outcomes(viewer, before.start, before.end)
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
