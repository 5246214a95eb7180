"""The change calendar: when no rollout begins, and what waits for it."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from console.access import ViewerRequest
from console.forms import explain
from console.forms.freezes import MOMENT, FreezeForm
from fleet.actions import freezes as actions
from fleet.queries import freezes as queries
from fleet.queries.clusters import list_clusters
from fleet.queries.services import service_names
from tenants.errors import ConsoleError
from tenants.rules.access import Permission


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    viewer, now = request.viewer, timezone.now()
    rows = queries.list_freezes(viewer, now)
    context = {
        "open": [f for f in rows if f.state != "over"],
        "over": [f for f in rows if f.state == "over"],
        "held": queries.held_rollouts(viewer, now),
        "may_plan": viewer.may(Permission.PROPOSE),
        "may_end": viewer.may(Permission.PROPOSE) or viewer.may(Permission.APPROVE),
    }
    return render(request, "freezes/index.html", context)


@require_http_methods(["GET", "POST"])
def new(request: ViewerRequest) -> HttpResponse:
    request.viewer.require(Permission.PROPOSE)
    initial = {"starts_at": timezone.now().strftime(MOMENT)}
    form = FreezeForm(request.POST or None, scopes=scopes(request), initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            freeze = actions.create_freeze(request.viewer, form.window(), **form.scope_ids())
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, f"“{freeze}” is in the calendar")
            return redirect("freezes")
    status = 422 if form.errors else 200
    return render(request, "freezes/form.html", {"form": form}, status=status)


def scopes(request: ViewerRequest) -> list[tuple[str, str]]:
    clusters = list_clusters(request.viewer, timezone.now())
    services = service_names(request.viewer)
    return [(f"cluster:{c.id}", f"Cluster {c.slug}") for c in clusters] + [
        (f"service:{pk}", f"Service {name}") for pk, name in services.items()
    ]


@require_POST
def end(request: ViewerRequest, freeze_id: int) -> HttpResponse:
    freeze = actions.end_freeze(request.viewer, freeze_id, why=request.POST.get("why", ""))
    messages.success(request, f"“{freeze}” has ended: what waited for it goes on within seconds")
    return redirect("freezes")


@require_POST
def exception(request: ViewerRequest, rollout_id: int) -> HttpResponse:
    change_id = actions.ask_exception(request.viewer, rollout_id, why=request.POST.get("why", ""))
    messages.success(request, "The exception waits for somebody else's approval")
    return redirect("approval", change_id=change_id)
