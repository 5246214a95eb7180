"""How a service is scaled by its load: bounds, hours, what was decided, and why."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from console.access import ViewerRequest
from console.charts import Chart, Series, line_chart
from console.forms import explain
from console.forms.scaling import ScalingForm, initial
from console.ranges import TimeRange, read_range
from fleet.actions import scaling as actions
from fleet.queries import scaling as queries
from fleet.queries.services import get_service
from fleet.rules.steps import grid
from tenants.errors import ConsoleError
from tenants.rules.access import Permission, Viewer

SHOWN = 20


@require_GET
def show(request: ViewerRequest, name: str) -> HttpResponse:
    now, viewer = timezone.now(), request.viewer
    service = get_service(viewer, name, now).service
    span = read_range(request.GET, now)
    last = queries.list_decisions(viewer, service.id, most=1)
    context = {
        "service": service,
        "policy": queries.find_policy(viewer, service.id, now),
        "last": last[0] if last else None,
        "changes": queries.list_decisions(viewer, service.id, only_changed=True, most=SHOWN),
        "charts": charts(viewer, service.id, span),
        "range": span,
        "may_manage": viewer.may(Permission.MANAGE_FLEET),
    }
    return render(request, "services/scaling.html", context)


def charts(viewer: Viewer, service_id: int, span: TimeRange) -> dict[str, Chart]:
    over = grid(span.start, span.end, span.end)
    found = queries.load_series(viewer, service_id, over)
    if not found.has_data:
        return {}
    load = [
        Series("in flight", found.demand, "c1", "solid", fill=True),
        Series("what the replicas take", found.capacity, "c2", "dash", step=True),
    ]
    replicas = [
        Series("wanted", found.given, "c2", "dash", step=True),
        Series("take traffic", found.serving, "c1", "solid", step=True),
    ]
    at = over.moments
    return {
        "load": line_chart("load", "Requests in flight", at, load, digits=1),
        "replicas": line_chart("replicas", "Replicas", at, replicas, digits=0),
    }


@require_http_methods(["GET", "POST"])
def edit(request: ViewerRequest, name: str) -> HttpResponse:
    request.viewer.require(Permission.MANAGE_FLEET)
    now = timezone.now()
    service = get_service(request.viewer, name, now).service
    policy = queries.find_policy(request.viewer, service.id, now)
    form = ScalingForm(request.POST or None, initial=initial(policy))
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            version = given["version"]
            actions.set_policy(request.viewer, service.id, version, form.policy(), why=given["why"])
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(
                request, f"{name} is scaled by its load, within 15 s for the first time"
            )
            return redirect("service_scaling", name=name)
    status = 422 if form.errors else 200
    context = {"form": form, "service": service, "policy": policy}
    return render(request, "services/scaling_form.html", context, status=status)


@require_POST
def clear(request: ViewerRequest, name: str) -> HttpResponse:
    service = get_service(request.viewer, name, timezone.now()).service
    left = actions.clear_policy(request.viewer, service.id, None, why=request.POST.get("why", ""))
    messages.success(request, f"{name} stays at {left.replicas} replicas until somebody changes it")
    return redirect("service_scaling", name=name)


@require_POST
def wake(request: ViewerRequest, name: str) -> HttpResponse:
    service = get_service(request.viewer, name, timezone.now()).service
    actions.wake(request.viewer, service.id, why=request.POST.get("why", ""))
    messages.success(request, f"{name} wakes: its first replica is ordered within seconds")
    return redirect("service_scaling", name=name)
