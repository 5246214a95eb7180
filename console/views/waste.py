"""Cost that no tenant caused: GPUs on top of rollouts and drills, and idle GPUs."""

from decimal import Decimal

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from billing.queries.drill_costs import drill_costs
from billing.queries.idle_costs import idle_costs
from billing.queries.rollout_costs import rollout_costs
from console.access import ViewerRequest
from console.downloads import download, wants_file
from console.filters import compose
from console.ranges import read_range
from tenants.rules.access import Permission

ROLLOUT_COLUMNS = (
    "label", "service", "cluster", "phase", "started_at", "ended_at", "gpu_hours", "unpriced_hours",
    "cost", "currency",
)  # fmt: skip
DRILL_COLUMNS = ("drill", *ROLLOUT_COLUMNS)
IDLE_COLUMNS = ("model", "product", "state", "gpu_hours", "amount", "currency")
ZERO = Decimal(0)


@require_GET
def rollouts(request: ViewerRequest) -> HttpResponse:
    """Of the hours in the range; a rollout over its edge has only the part inside."""
    span = read_range(request.GET, timezone.now(), "now-30d")
    found = rollout_costs(request.viewer, span.start, span.end)
    if wants_file(request):
        rows = ([getattr(row, name) for name in ROLLOUT_COLUMNS] for row in found)
        return download(request, "rollout-costs", ROLLOUT_COLUMNS, rows)
    currencies = sorted({row.currency for row in found if row.currency})
    context = {
        "page": Paginator(found, 50).get_page(request.GET.get("page")),
        "range": span,
        "sees_fleet": request.viewer.may(Permission.VIEW_FLEET),
        "sums": [
            (name, sum((r.cost for r in found if r.currency == name), ZERO)) for name in currencies
        ],
        "gpu_hours": sum((r.gpu_hours for r in found), ZERO),
        "unpriced_hours": sum((r.unpriced_hours for r in found), ZERO),
    }
    return render(request, "economics/rollouts.html", context)


@require_GET
def drills(request: ViewerRequest) -> HttpResponse:
    """Of the hours in the range, as of rollouts: a drill is a rollout that was taken back."""
    span = read_range(request.GET, timezone.now(), "now-90d")
    found = drill_costs(request.viewer, span.start, span.end)
    if wants_file(request):
        rows = (
            (row.label, *(getattr(row.cost_of, name) for name in ROLLOUT_COLUMNS)) for row in found
        )
        return download(request, "drill-costs", DRILL_COLUMNS, rows)
    costs = [row.cost_of for row in found]
    currencies = sorted({cost.currency for cost in costs if cost.currency})
    context = {
        "page": Paginator(found, 50).get_page(request.GET.get("page")),
        "range": span,
        "sees_fleet": request.viewer.may(Permission.VIEW_FLEET),
        "sums": [
            (name, sum((c.cost for c in costs if c.currency == name), ZERO)) for name in currencies
        ],
        "gpu_hours": sum((c.gpu_hours for c in costs), ZERO),
        "unpriced_hours": sum((c.unpriced_hours for c in costs), ZERO),
    }
    return render(request, "economics/drills.html", context)


@require_GET
def idle(request: ViewerRequest) -> HttpResponse:
    """Idle GPU time of the whole UTC days that the range touches, the dearest first."""
    span = read_range(request.GET, timezone.now(), "now-7d")
    known, found = idle_costs(request.viewer, span.start, span.end)
    if wants_file(request):
        rows = (
            (*(getattr(row, name) for name in IDLE_COLUMNS[:-1]), known.currency) for row in found
        )
        return download(request, "idle", IDLE_COLUMNS, rows)
    context = {
        "page": Paginator(found, 50).get_page(request.GET.get("page")),
        "known": known,
        "currency": known.currency or "USD",
        "range": span,
        "whole": sum((row.amount for row in found), ZERO),
        "rows": compose(known.start, known.end, kind="idle"),
    }
    return render(request, "economics/idle.html", context)
