"""Plan a rollout: compare the ways, then propose one to somebody else."""

from dataclasses import asdict
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from billing.queries.gpu_prices import HourlyPrice, gpu_prices
from console import plan_page as page_parts
from console.access import ViewerRequest
from console.forms import explain
from console.forms.gate_limits import PREFIX, shown_limits
from console.forms.rollouts import PlanForm, ProposeForm, steps_text
from console.manifests import shown
from fleet.actions import rollouts as actions
from fleet.queries import plans as queries
from fleet.queries import releases as release_queries
from fleet.queries.plans import Proposal
from fleet.queries.releases import ReleaseRow
from fleet.queries.service_states import list_states
from fleet.queries.superseding import open_rollout
from fleet.rules.answers import Answer
from fleet.rules.gate_limits import limits_of
from tenants.errors import ConsoleError, Invalid
from tenants.rules.access import Permission, Viewer

APART = ("first", "first_classes", "last", "begins_from", "begins_before")  # limits: by prefix


@require_http_methods(["GET", "POST"])
def new(request: ViewerRequest) -> HttpResponse:
    """`?release=<id>` shows the plan; without it one chooses, perhaps within `?service=<name>`."""
    request.viewer.require(Permission.PROPOSE)
    release_id = request.GET.get("release", "")
    if not release_id:
        return choose(request)
    if not release_id.isdecimal():
        raise Invalid(release=f"'{release_id[:20]}' is no release")
    release = release_queries.get_release_row(request.viewer, int(release_id))
    if request.method == "POST":
        return propose(request, release)
    return compare(request, release)


def choose(request: ViewerRequest) -> HttpResponse:
    services = list_states(request.viewer, timezone.now())
    wanted = request.GET.get("service", "")
    chosen = next((s for s in services if s.name == wanted), None)
    rows = release_queries.list_releases(request.viewer, service_id=chosen.id) if chosen else ()
    context = {
        "services": services,
        "chosen": chosen,
        "releases": [r for r in rows if r.fate not in ("serving", "trying")],
    }
    return render(request, "rollouts/choose.html", context)


def compare(request: ViewerRequest, release: ReleaseRow) -> HttpResponse:
    """The plan's own numbers are in the address, so that a plan can be shared as a link."""
    given = {k: request.GET[k] for k in PlanForm.base_fields if k in request.GET}
    form = PlanForm(given) if given else None
    if form is not None and not form.is_valid():
        return render(request, "rollouts/plan.html", {"form": form, "release": release}, status=422)
    proposal = planned(request, release, form)
    context = page_of(request.viewer, proposal, release) | {
        "propose": ProposeForm(initial=usual_limits(proposal))
    }
    context["form"] = form or PlanForm(initial=chosen_in(proposal))
    return render(request, "rollouts/plan.html", context)


def chosen_in(proposal: Proposal) -> dict[str, Any]:
    return {
        "replicas": proposal.replicas,
        "soak_seconds": proposal.soak_seconds,
        "steps": steps_text(proposal.steps),
    }


def planned(request: ViewerRequest, release: ReleaseRow, form: forms.Form | None) -> Proposal:
    """Without a form: the replicas that the service wants and the usual steps."""
    choice = {k: form.cleaned_data[k] for k in PlanForm.base_fields} if form else {}
    before = open_rollout(request.viewer, release.service_id)
    return queries.plan_rollout(
        request.viewer, release.service_id, release.id, supersedes=before, **choice
    )


def propose(request: ViewerRequest, release: ReleaseRow) -> HttpResponse:
    form = ProposeForm(request.POST)
    if form.is_valid():
        try:
            rollout = actions.propose_rollout(
                request.viewer,
                release.service_id,
                release.id,
                audience=form.audience(),
                limits=form.limits(),
                begins=form.begins(),
                **rest_of(form.cleaned_data),
            )
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, f"Proposed RO-{rollout.pk}: somebody else decides now")
            return redirect("rollout", rollout_id=rollout.pk)
    context: dict[str, Any] = {"propose": form, "release": release, "form": form}
    if not form.errors.keys() & {"replicas", "steps", "soak_seconds"}:
        context |= page_of(request.viewer, planned(request, release, form), release)
    return render(request, "rollouts/plan.html", context, status=422)


def rest_of(given: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in given.items() if k not in APART and not k.startswith(PREFIX)}


def usual_limits(proposal: Proposal) -> dict[str, Any]:
    s = proposal.situation
    return shown_limits(asdict(limits_of({}, s.gpus_new, s.gpus_old)))


def page_of(viewer: Viewer, proposal: Proposal, release: ReleaseRow) -> dict[str, Any]:
    prices = prices_of(viewer, proposal)
    ways = page_parts.ways_of(proposal, prices)
    return {
        "proposal": proposal,
        "supersedes": proposal.supersedes,
        "release": release,
        "ways": ways,
        "columns": len(ways) + 1,
        "price": next(iter(prices.values()), None),
        "priced_by": page_parts.lines_of(prices),
        "starts": proposal.situation.starts_new,
        "touching": page_parts.touching(proposal),
        "peak": proposal.situation.peak,
        "tenants": page_parts.tenants_in(proposal.touched),
        "classes": page_parts.classes_in(proposal.touched),
        "now": timezone.now(),
        "asks_consent": any(w.plan.answer == Answer.NEEDS_CONSENT for w in ways),
        "best": proposal.plans[0],
        "steps": proposal.steps,
        "lines": page_parts.steps_in(proposal),
        "steps_text": steps_text(proposal.steps),
        "diff": proposal,
        "manifests": shown(proposal.manifests),
        "total_gpus": proposal.replicas * proposal.gpus,
    }


def prices_of(viewer: Viewer, proposal: Proposal) -> dict[str, HourlyPrice]:
    """Nothing for those who may not see money."""
    if not viewer.may(Permission.VIEW_MONEY):
        return {}
    return gpu_prices(viewer, proposal.gpu_mix, timezone.now(), cluster=proposal.cluster)
