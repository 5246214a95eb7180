"""One model name in several clusters: where it is placed, and a release on its way through them."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from console.access import ViewerRequest
from console.forms import explain
from console.forms.sequences import PlacementsForm, SequenceForm
from fleet.actions import sequences as actions
from fleet.actions.placements import set_placements
from fleet.queries import sequences as queries
from fleet.queries.placements import PlacementRow, list_placements
from fleet.queries.releases import list_releases
from fleet.queries.services import get_service
from fleet.queries.stage_times import list_openings
from tenants.errors import ConsoleError
from tenants.rules.access import Permission


@require_GET
def show(request: ViewerRequest, sequence_id: int) -> HttpResponse:
    detail = queries.get_sequence(request.viewer, sequence_id)
    sequence = detail.sequence
    may = request.viewer.may(Permission.PROPOSE) and sequence.is_open
    going_back = sequence.phase == "rolling_back" or sequence.wish == "roll_back"
    moves = sequence.phase in ("running", "paused") and not going_back
    context = {
        "detail": detail,
        "sequence": sequence,
        "may": may,
        "can_pause": may and moves and sequence.phase == "running" and sequence.wish != "pause",
        "can_resume": may and moves and (sequence.phase == "paused" or sequence.wish == "pause"),
        "can_roll_back": may and moves,
        "may_decide": request.viewer.may(Permission.APPROVE),
        "reached": [s.cluster for s in sequence.stages if s.rollout_id],
    }
    return render(request, "sequences/show.html", context)


@require_http_methods(["GET", "POST"])
def new(request: ViewerRequest) -> HttpResponse:
    """`service`: the name that clients call; `release`: one of its releases, if it is chosen."""
    request.viewer.require(Permission.PROPOSE)
    service = get_service(request.viewer, request.GET.get("service", ""), timezone.now()).service
    placed = list_placements(request.viewer, service.id, timezone.now())
    rows = list_releases(request.viewer, service_id=service.id)
    releases = [(r.id, f"{r.label}: {r.note}" if r.note else r.label) for r in rows]
    form = SequenceForm(request.POST or None, releases=releases, initial=initial(request, placed))
    if request.method == "POST" and form.is_valid():
        try:
            release_id = form.cleaned_data["release"]
            made = actions.propose_sequence(request.viewer, release_id, **form.chosen())
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, f"{made} waits for somebody else's approval")
            return redirect("sequence", sequence_id=made.pk)
    services = [row.service_id for row in placed]
    context = {
        "form": form,
        "service": service,
        "placements": placed,
        "openings": list_openings(request.viewer, services, timezone.now()),
    }
    return render(request, "sequences/form.html", context, status=422 if form.errors else 200)


def initial(request: ViewerRequest, placed: tuple[PlacementRow, ...]) -> dict[str, Any]:
    """The placements first, home at last: it has most of the traffic."""
    home, *others = [row.service for row in placed]
    return {"order": ", ".join([*others, home]), "release": request.GET.get("release", "")}


@require_http_methods(["GET", "POST"])
def placements(request: ViewerRequest, name: str) -> HttpResponse:
    request.viewer.require(Permission.MANAGE_FLEET)
    service = get_service(request.viewer, name, timezone.now()).service
    placed = list_placements(request.viewer, service.id, timezone.now())
    now = ", ".join(row.service for row in placed if not row.is_home)
    form = PlacementsForm(request.POST or None, initial={"members": now})
    if request.method == "POST" and form.is_valid():
        try:
            why = form.cleaned_data["why"]
            set_placements(request.viewer, service.id, form.names(), why=why)
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(
                request, f"Changed where {name} is placed: gateways have it in seconds"
            )
            return redirect("service", name=name)
    context = {"form": form, "service": service}
    return render(request, "sequences/placements.html", context, status=422 if form.errors else 200)


def wish(
    request: ViewerRequest, sequence_id: int, act: Callable[..., Any], said: str
) -> HttpResponse:
    sequence = act(request.viewer, sequence_id, why=request.POST.get("why", ""))
    messages.success(request, f"{sequence}: {said}")
    return redirect("sequence", sequence_id=sequence.pk)


@require_POST
def pause(request: ViewerRequest, sequence_id: int) -> HttpResponse:
    return wish(request, sequence_id, actions.pause_sequence, "pause asked; nothing else begins")


@require_POST
def resume(request: ViewerRequest, sequence_id: int) -> HttpResponse:
    return wish(request, sequence_id, actions.resume_sequence, "resume asked; it goes on")


@require_POST
def end(request: ViewerRequest, sequence_id: int) -> HttpResponse:
    return wish(request, sequence_id, actions.end_sequence, "end asked; what is done stays")


@require_POST
def roll_back(request: ViewerRequest, sequence_id: int) -> HttpResponse:
    said = "the way back begins in every cluster"
    return wish(request, sequence_id, actions.roll_back_sequence, said)


@require_POST
def leave_out(request: ViewerRequest, sequence_id: int, number: int) -> HttpResponse:
    why = request.POST.get("why", "")
    sequence = actions.leave_out(request.viewer, sequence_id, number, why=why)
    messages.success(request, f"{sequence}: stage {number} is left out")
    return redirect("sequence", sequence_id=sequence.pk)
