"""Services: what tenants call, what runs, where requests and data may go."""

from collections.abc import Iterable
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from console.access import ViewerRequest
from console.forms import explain
from console.forms.fleet import NEW_SERVICE, ServiceForm, objective_values
from fleet.actions import services as actions
from fleet.queries import clusters as cluster_queries
from fleet.queries import services as queries
from fleet.queries.drift import DriftRow, list_drift
from fleet.queries.drills import drill_age
from fleet.queries.placements import list_placements
from fleet.queries.scaling import find_policy
from fleet.queries.sequences import list_sequences
from fleet.queries.service_states import Health
from tenants.errors import ConsoleError
from tenants.rules.access import Permission

VIEWS = {
    "": "All", "degraded": "Degraded or down", "drifted": "Drifted", "moving": "Moving",
    "sleeping": "Sleeping",
}  # fmt: skip


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    """Filters: `show` (degraded, drifted, moving, sleeping), `q` (part of the name)."""
    rows = queries.list_services(request.viewer, timezone.now())
    show, text = request.GET.get("show", ""), request.GET.get("q", "").strip().lower()
    shown = [s for s in rows if fits(s, show) and text in s.name]
    context = {
        "services": shown, "all": len(rows), "show": show, "views": VIEWS.items(), "text": text,
        "healthy": sum(s.health == Health.HEALTHY for s in rows),
        "may_manage": request.viewer.may(Permission.MANAGE_FLEET),
    }  # fmt: skip
    return render(request, "services/index.html", context)


def fits(service: queries.ServiceRow, show: str) -> bool:
    if show == "degraded":
        return service.health in (Health.DEGRADED, Health.DOWN)
    if show == "drifted":
        return service.sync == "drifted" and not service.is_moving
    if show == "sleeping":
        return service.health in (Health.SLEEPING, Health.WAKING)
    return service.is_moving if show == "moving" else True


@require_GET
def show(request: ViewerRequest, name: str) -> HttpResponse:
    now = timezone.now()
    found = queries.get_service(request.viewer, name, now)
    drifts = list_drift(request.viewer, service_id=found.service.id)
    rests = found.service.slept_at is not None
    may_propose = request.viewer.may(Permission.PROPOSE)
    context = {
        "detail": found,
        "service": found.service,
        "policy": find_policy(request.viewer, found.service.id, now) if rests else None,
        "drifts": drifts,
        "drill": drill_age(request.viewer, found.service.id, now),
        "placements": list_placements(request.viewer, found.service.id, now),
        "open_sequences": list_sequences(
            request.viewer, service_id=found.service.id, only_open=True
        ),
        "choices": choices(drifts) if may_propose else [],
        "adoptions": adoptions(drifts) if may_propose else [],
        "may_manage": request.viewer.may(Permission.MANAGE_FLEET),
        "may_propose": may_propose,
        "may_money": request.viewer.may(Permission.VIEW_MONEY),
    }
    return render(request, "services/show.html", context)


def choices(drifts: Iterable[DriftRow]) -> list[DriftRow]:
    """One for each Deployment that can be put right: the row that can be adopted, if there is."""
    able = sorted((d for d in drifts if d.can_repair), key=lambda d: d.can_adopt)
    return list({d.deployment_id: d for d in able}.values())


def adoptions(drifts: Iterable[DriftRow]) -> list[DriftRow]:
    """One for each Deployment whose content may become a release."""
    return list({d.deployment_id: d for d in drifts if d.can_adopt_content}.values())


@require_http_methods(["GET", "POST"])
def new(request: ViewerRequest) -> HttpResponse:
    request.viewer.require(Permission.MANAGE_FLEET)
    form = ServiceForm(request.POST or None, clusters=clusters(request), initial=NEW_SERVICE)
    if request.method == "POST" and form.is_valid():
        try:
            name = form.cleaned_data["name"]
            actions.create(request.viewer, name=name, **fields_of(form))
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, f"Made {name}. It answers once a release is rolled out.")
            return redirect("service", name=name)
    status = 422 if form.errors else 200
    return render(request, "services/form.html", {"form": form}, status=status)


@require_http_methods(["GET", "POST"])
def edit(request: ViewerRequest, name: str) -> HttpResponse:
    request.viewer.require(Permission.MANAGE_FLEET)
    found = queries.get_service(request.viewer, name, timezone.now())
    form = ServiceForm(
        request.POST or None, clusters=clusters(request), fixed_name=True, initial=initial(found)
    )
    if request.method == "POST" and form.is_valid():
        try:
            version = form.cleaned_data["version"]
            actions.change(request.viewer, found.service.id, version, **fields_of(form))
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, f"Changed {name}: gateways have it within seconds")
            return redirect("service", name=name)
    status = 422 if form.errors else 200
    return render(
        request, "services/form.html", {"form": form, "service": found.service}, status=status
    )


def clusters(request: ViewerRequest) -> list[tuple[int, str]]:
    rows = cluster_queries.list_clusters(request.viewer, timezone.now())
    return [(c.id, f"{c.slug} ({c.region})") for c in rows]


def fields_of(form: ServiceForm) -> dict[str, Any]:
    return {
        "description": form.cleaned_data["description"],
        "cluster_id": form.cleaned_data["cluster_id"],
        "fallbacks": form.fallback_names(),
        "objectives": form.objectives(),
        **form.limits(),
    }


def initial(found: queries.ServiceDetail) -> dict[str, Any]:
    row = found.service
    return {
        "description": row.description,
        "cluster_id": row.cluster_id,
        "fallbacks": ", ".join(found.fallbacks),
        "version": row.version,
        "replicas": found.wanted_replicas,
        "max_model_len": found.max_model_len,
        "default_max_tokens": found.default_max_tokens,
        "max_queue": found.max_queue,
        "request_seconds": found.request_seconds,
        "chunk_seconds": found.chunk_seconds,
        "prefetch_seconds": found.prefetch_seconds,
        **objective_values(found.own_objectives),
    }
