"""Drills: is the way back proved, does a lost replica hurt, and how long does it take."""

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from billing.queries.drill_costs import drill_cost
from console.access import ViewerRequest
from console.downloads import download, wants_file
from console.forms import explain
from console.forms.drills import DrillForm, PodLossForm
from fleet.actions.drills import propose_drill
from fleet.actions.pod_losses import propose_pod_loss
from fleet.queries import drills as queries
from fleet.queries.calls import approvers_told
from fleet.queries.releases import list_releases
from fleet.queries.rollouts import get_rollout
from fleet.queries.services import get_service
from tenants.errors import ConsoleError, NotFound
from tenants.queries.changes import get_change
from tenants.rules.access import Permission, Viewer

VIEWS = {"": "All", "open": "Open", "passed": "Passed", "failed": "Failed", "not_run": "Not run"}
COLUMNS = (
    "label", "service", "rollout", "from_label", "to_label", "plan_kind", "moment", "step", "state",
    "why", "requested_by", "created_at", "started_at", "ended_at", "reported_at", "digest",
)  # fmt: skip
PHASES = ("at", "phase", "step", "who", "why")


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    """Filters: `show` (open or a verdict), `service` (a name)."""
    show, service = request.GET.get("show", ""), request.GET.get("service", "")
    found = queries.search_drills(request.viewer, service=service, state=show)
    if wants_file(request):
        rows = queries.rows_of(found)
        values = ([getattr(row, name) for name in COLUMNS] for row in rows)
        return download(request, "drills", COLUMNS, values)
    page = Paginator(found, 50).get_page(request.GET.get("page"))
    ages = queries.drill_ages(request.viewer, timezone.now())
    context = {
        "page": page,
        "rows": queries.rows_of(page.object_list),
        "narrowed": bool(show or service),
        "show": show,
        "service": service,
        "services": [age.service for age in ages],
        "ages": ages,
        "stale": sum(age.is_stale for age in ages),
        "views": VIEWS.items(),
        "may_propose": request.viewer.may(Permission.PROPOSE),
    }
    return render(request, "drills/index.html", context)


@require_http_methods(["GET", "POST"])
def new(request: ViewerRequest) -> HttpResponse:
    """`service`: its name; without one it is asked for."""
    request.viewer.require(Permission.PROPOSE)
    now, name = timezone.now(), request.GET.get("service", "")
    if not name:
        ages = queries.drill_ages(request.viewer, now)
        return render(request, "drills/choose.html", {"ages": ages})
    service = get_service(request.viewer, name, now).service
    rows = list_releases(request.viewer, service_id=service.id)
    releases = [(r.id, f"{r.label}: {r.note}" if r.note else r.label) for r in rows]
    form = DrillForm(request.POST or None, releases=releases)
    if request.method == "POST" and form.is_valid():
        try:
            release_id = form.cleaned_data["release"]
            drill = propose_drill(request.viewer, service.id, release_id, **form.chosen())
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, f"{drill} waits for somebody else's approval")
            return redirect("drill", drill_id=drill.pk)
    context = {"form": form, "service": service}
    return render(request, "drills/form.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "POST"])
def lose_pod(request: ViewerRequest) -> HttpResponse:
    """`service`: its name."""
    request.viewer.require(Permission.PROPOSE)
    name = request.GET.get("service", "")
    service = get_service(request.viewer, name, timezone.now()).service
    form = PodLossForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            drill = propose_pod_loss(request.viewer, service.id, **form.chosen())
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, f"{drill} waits for somebody else's approval")
            return redirect("drill", drill_id=drill.pk)
    context = {"form": form, "service": service}
    return render(request, "drills/pod_form.html", context, status=422 if form.errors else 200)


@require_GET
def show(request: ViewerRequest, drill_id: int) -> HttpResponse:
    viewer = request.viewer
    drill = queries.get_drill(viewer, drill_id)
    context = {
        "drill": drill,
        "may_decide": viewer.may(Permission.APPROVE),
        "cost": drill_cost(viewer, drill) if viewer.may(Permission.VIEW_MONEY) else None,
    }
    if drill.rollout_id is None:
        return render(request, "drills/pod_loss.html", context | around(viewer, drill))
    detail = get_rollout(viewer, drill.rollout_id)
    context |= {"timeline": detail.timeline, "approval": detail.approval}
    return render(request, "drills/show.html", context)


def around(viewer: Viewer, drill: queries.DrillRow) -> dict[str, Any]:
    """What a rollout has on its own page: the approval, and when what happened."""
    change = get_change(viewer, drill.change_id) if drill.change_id else None
    lines = [{**line, "at": datetime.fromisoformat(line["at"])} for line in drill.timeline]
    return {"change": change, "told_at": approvers_told(drill.change_id), "timeline": lines}


@require_GET
def report(request: ViewerRequest, drill_id: int) -> HttpResponse:
    """The report as it is kept, with its digest."""
    drill = reported(request, drill_id)
    answer = JsonResponse(
        {"digest": drill.digest, "reported_at": drill.reported_at, "report": drill.report}
    )
    answer["Content-Disposition"] = f'attachment; filename="{drill.label}.json"'
    return answer


@require_GET
def phases(request: ViewerRequest, drill_id: int) -> HttpResponse:
    """The report's phases."""
    drill = reported(request, drill_id)
    rows = ([phase[name] for name in PHASES] for phase in (drill.report or {})["phases"])
    return download(request, drill.label, PHASES, rows)


def reported(request: ViewerRequest, drill_id: int) -> queries.DrillRow:
    drill = queries.get_drill(request.viewer, drill_id)
    if drill.report is None:
        raise NotFound(f"{drill.label} has no report yet")
    return drill
