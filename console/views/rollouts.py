"""Rollouts: what moves, whether it is safe, how to go back."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from billing.queries.gpu_prices import HourlyPrice, gpu_prices
from billing.queries.rollout_costs import RolloutCost, rollout_cost
from console import gate_page
from console import rollout_page as page_parts
from console import rollout_parts as parts
from console.access import ViewerRequest
from console.harm_page import harm_page, verified
from console.manifests import shown
from console.views.tries import tries_for
from fleet.actions import calls
from fleet.actions import rollouts as actions
from fleet.actions.closing import close_rollout
from fleet.queries import rollouts as queries
from fleet.queries.by_hand import way_back_by_hand
from fleet.queries.calls import open_calls
from fleet.queries.freezes import held
from fleet.queries.rollout_harm import harm_of
from fleet.queries.rollout_outcome import outcome_of
from fleet.queries.rollout_pods import changes_of, get_log
from fleet.queries.rollout_traffic import traffic_of
from fleet.queries.rollouts import RolloutDetail
from fleet.queries.sequences import list_sequences
from fleet.rules.phases import Phase
from tenants.errors import Conflict, Invalid
from tenants.rules.access import Permission, Viewer

BROKEN = (Phase.ROLLED_BACK, Phase.REJECTED)
VIEWS = {"": "All", "open": "Open", "rolled_back": "Rolled back", "succeeded": "Succeeded"}


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    """Filters: `show` (open or a phase), `service` (a name)."""
    show, service = request.GET.get("show", ""), request.GET.get("service", "")
    found = queries.search_rollouts(request.viewer, show=show, service=service)
    page = Paginator(found, 50).get_page(request.GET.get("page"))
    narrowed = bool(show or service)
    everything = queries.search_rollouts(request.viewer) if narrowed else found
    context = {
        "page": page,
        "rows": queries.rows_of(page.object_list),
        "all": everything.count() if narrowed else page.paginator.count,
        "show": show,
        "service": service,
        "sequences": list_sequences(request.viewer, only_open=True),
        "services": queries.moved_services(request.viewer),
        "views": VIEWS.items(),
        "may_propose": request.viewer.may(Permission.PROPOSE),
        "tries": tries_for(request),
    }
    return render(request, "rollouts/index.html", context)


@require_GET
def show(request: ViewerRequest, rollout_id: int) -> HttpResponse:
    viewer, now = request.viewer, timezone.now()
    row = queries.find_rollout(viewer, rollout_id)
    detail = queries.get_rollout(viewer, row)
    points = traffic_of(viewer, row, now) if row.started_at else ()
    context = {
        "detail": detail,
        "rollout": detail.rollout,
        "can": detail.can if viewer.may(Permission.PROPOSE) else None,
        "may_decide": viewer.may(Permission.APPROVE),
        "sides": [side for side in (detail.new, detail.old) if side],
        "pods_by_side": parts.pods_by_side(detail),
        "holding": parts.holding(detail),
        "changes": parts.changes_in_words(changes_of(row)),
        "fixes": detail.rollout.phase in BROKEN and viewer.may(Permission.PROPOSE),
        "dots": page_parts.dots(detail),
        "moments": page_parts.moments(detail),
        "back": page_parts.way_back(detail),
        "harm": harm_page(harm_of(viewer, row), now),
        "verified": verified(detail) if detail.rollout.cause else None,
        "cost": page_parts.cost_of(detail, prices_of(viewer, detail), now),
        "measured": measured(viewer, rollout_id) if row.started_at else None,
        "manifests": shown(detail.manifests),
        "outcome": outcome_of(viewer, row, detail),
        "by_hand": by_hand(viewer, row),
        "held": held(viewer, row, now),
        "calls": open_calls(viewer, rollout_id) if detail.rollout.is_open or row.cause else (),
        "last_point": next((p for p in reversed(points) if p.share is not None), None),
        **gate_context(detail, points),
    }
    if points:
        until = points[-1].at
        chart = page_parts.share_chart(points, detail.timeline, detail.new.label, until)
        context["share"] = chart
    return render(request, "rollouts/show.html", context)


def by_hand(viewer: Viewer, row: Any) -> str:
    try:
        return "\n".join(way_back_by_hand(viewer, row))
    except Conflict:
        return ""  # there is nothing to go back from


def measured(viewer: Viewer, rollout_id: int) -> RolloutCost | None:
    """Nothing for those who may not see money."""
    return rollout_cost(viewer, rollout_id) if viewer.may(Permission.VIEW_MONEY) else None


def prices_of(viewer: Viewer, detail: RolloutDetail) -> dict[str, HourlyPrice]:
    """Nothing for those who may not see money, or before anything ran."""
    started = detail.rollout.started_at
    if started is None or not viewer.may(Permission.VIEW_MONEY):
        return {}
    gpus, cluster = page_parts.on_top(detail), detail.rollout.cluster
    return gpu_prices(viewer, gpus, started, cluster=cluster)


def gate_context(detail: RolloutDetail, points: Any) -> dict[str, Any]:
    """The gate of the present step, or the last one that said something."""
    current = next((s for s in detail.steps if s.state == "now" and s.gate), None)
    seen = current or next((s for s in reversed(detail.steps) if s.gate), None)
    if seen is None:
        return {"gates": []}
    assert seen.gate is not None
    return {
        "gate_step": seen,
        "gate": seen.gate,
        "gates": gate_page.gates(seen.gate, points),
        "gate_lines": gate_page.lines(seen.gate),
        "gate_terms": gate_page.terms_of(seen.gate),
    }


@require_GET
def timeline(request: ViewerRequest, rollout_id: int) -> HttpResponse:
    """The timeline as JSON, as it is kept."""
    detail = queries.get_rollout(request.viewer, rollout_id)
    events = [asdict(e) for e in detail.timeline]
    answer = JsonResponse({"rollout": detail.rollout.label, "timeline": events})
    answer["Content-Disposition"] = f'attachment; filename="{detail.rollout.label}.json"'
    return answer


@require_GET
def log(request: ViewerRequest, rollout_id: int, log_id: int) -> HttpResponse:
    """All that is kept of it, as plain text."""
    found = get_log(request.viewer, rollout_id, log_id)
    return HttpResponse(found.text, content_type="text/plain; charset=utf-8")


Wish = Callable[..., Any]


def wish(request: ViewerRequest, rollout_id: int, act: Wish, said: str) -> HttpResponse:
    rollout = act(request.viewer, rollout_id, why=request.POST.get("why", ""))
    messages.success(request, f"RO-{rollout.pk}: {said}")
    return redirect("rollout", rollout_id=rollout.pk)


@require_POST
def pause(request: ViewerRequest, rollout_id: int) -> HttpResponse:
    return wish(request, rollout_id, actions.pause_rollout, "pause asked; it holds as it is")


@require_POST
def resume(request: ViewerRequest, rollout_id: int) -> HttpResponse:
    return wish(request, rollout_id, actions.resume_rollout, "resume asked; it goes on")


@require_POST
def abort(request: ViewerRequest, rollout_id: int) -> HttpResponse:
    return wish(request, rollout_id, actions.abort_rollout, "abort asked; traffic goes back first")


@require_POST
def acknowledge(request: ViewerRequest, rollout_id: int) -> HttpResponse:
    return wish(request, rollout_id, calls.acknowledge, "you are on it; nobody is called again")


@require_POST
def close(request: ViewerRequest, rollout_id: int) -> HttpResponse:
    return wish(request, rollout_id, close_rollout, "closed; your note is in its timeline")


@require_POST
def roll_back(request: ViewerRequest, rollout_id: int) -> HttpResponse:
    """Of a finished rollout: a new one, whose page opens."""
    return wish(request, rollout_id, actions.roll_back, "the way back has begun")


@require_POST
def skip_gate(request: ViewerRequest, rollout_id: int) -> HttpResponse:
    step = request.POST.get("step", "")
    if not step.isdecimal():
        raise Invalid(step="Say which step's gate: its number, from 0")
    actions.skip_gate(request.viewer, rollout_id, int(step), why=request.POST.get("why", ""))
    messages.success(request, f"RO-{rollout_id}: the gate of step {int(step) + 1} is skipped")
    return redirect("rollout", rollout_id=rollout_id)
