"""Resolve what a tag or a branch means, from the form of a release; what was typed stays."""

from typing import Any

from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_POST

from console.access import ViewerRequest, own_scope, refused
from console.forms.releases import ReleaseForm
from fleet.actions import resolutions as actions
from fleet.queries import resolutions as queries
from fleet.queries.services import service_names
from tenants.base.scope import scope_of
from tenants.errors import ConsoleError
from tenants.rules.access import Permission, Viewer


@own_scope
@require_POST
def resolve(request: ViewerRequest) -> HttpResponse:
    """The registry is asked before any transaction opens: it may take seconds to answer."""
    viewer, typed = request.viewer, request.POST.dict()
    try:
        viewer.require(Permission.PROPOSE)
    except ConsoleError as refusal:
        return refused(request, refusal)
    found, why = None, ""
    try:
        answered = ask(viewer, request.POST)
        typed |= filled(answered, typed)
        with scope_of(viewer):
            found = queries.get_resolution(viewer, actions.keep(viewer, answered).pk)
    except ConsoleError as refusal:
        why = refusal.message
    with scope_of(viewer):
        names = service_names(viewer)
        context = {
            "form": ReleaseForm(services=names.items(), initial=typed),
            "services": names,
            "resolved": found,
            "unresolved": why,
        }
        return render(request, "releases/form.html", context, status=422 if why else 200)


def ask(viewer: Viewer, typed: QueryDict) -> actions.Answered:
    if typed.get("what") == "model":
        return actions.ask_model(viewer, typed.get("model", ""), typed.get("commit", ""))
    return actions.ask_image(viewer, typed.get("image", ""))


def filled(answered: actions.Answered, typed: dict[str, Any]) -> dict[str, str]:
    """The fields of the form that the answer fills."""
    if answered.kind == "model":
        licence = typed.get("licence") or answered.licence
        return {"commit": answered.pinned, "label": answered.label, "licence": licence}
    tag = f":{answered.label}" if answered.label else ""
    return {"image": f"{answered.name}{tag}@{answered.pinned}"}
