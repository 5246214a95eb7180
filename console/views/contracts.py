"""The output contract of a service: see it, try prompts on what serves now, keep a version."""

import json
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from console.access import ViewerRequest, own_scope, refused
from console.forms import explain
from console.forms.contracts import ContractForm
from fleet.actions import contracts as actions
from fleet.queries import contracts as queries
from fleet.rules.contract.prompts import read_json
from tenants.base.scope import scope_of
from tenants.errors import ConsoleError, Invalid
from tenants.rules.access import Permission, Viewer

EXAMPLE = [
    {
        "name": "knows the capital",
        "kind": "text",
        "prompt": "What is the capital of France? Answer in one word.",
        "contains": ["Paris"],
        "longest": 40,
    },
    {
        "name": "city as JSON",
        "kind": "json",
        "prompt": "Name the capital of France as JSON.",
        "schema": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
    {"name": "refuses too long", "kind": "too_long"},
]


@own_scope
@require_http_methods(["GET", "POST"])
def show(request: ViewerRequest, name: str) -> HttpResponse:
    """A replica is asked before any transaction opens: it may take seconds to answer."""
    viewer = request.viewer
    try:
        with scope_of(viewer):
            found = queries.find_contract(viewer, name)
        if request.method == "GET":
            return shown(request, found, ContractForm(initial=initial_of(found)))
        viewer.require(Permission.MANAGE_FLEET)
        return posted(request, found)
    except ConsoleError as refusal:
        return refused(request, refusal)


def posted(request: ViewerRequest, found: queries.ContractRow) -> HttpResponse:
    form = ContractForm(request.POST)
    if not form.is_valid():
        return shown(request, found, form)
    given, viewer = form.cleaned_data, request.viewer
    try:
        prompts = parsed(given["prompts"])
        if request.POST.get("what") == "try":
            tried = actions.try_contract(viewer, found.service_id, prompts)
            return shown(request, found, form, tried)
        kept = keep(viewer, found, prompts, given)
    except ConsoleError as refusal:
        explain(form, refusal)
        return shown(request, found, form)
    messages.success(request, f"Version {kept} is kept: rollouts proposed from now on hold to it")
    return redirect("service_contract", name=found.service)


def parsed(text: str) -> Any:
    try:
        return read_json(text)
    except ValueError as error:
        raise Invalid(prompts=str(error)) from error


def keep(viewer: Viewer, found: queries.ContractRow, prompts: Any, given: dict[str, Any]) -> int:
    with scope_of(viewer):
        row = actions.keep_contract(
            viewer, found.service_id, given["version"], prompts=prompts, why=given["why"]
        )
    return int(row.version)


def initial_of(found: queries.ContractRow) -> dict[str, Any]:
    """What holds now; where nothing was ever kept, an example to begin with."""
    prompts = found.prompts if found.version else EXAMPLE
    return {
        "version": found.version,
        "prompts": json.dumps(prompts, indent=2, ensure_ascii=False),
    }


def shown(
    request: ViewerRequest,
    found: queries.ContractRow,
    form: ContractForm,
    tried: actions.Tried | None = None,
) -> HttpResponse:
    context = {
        "contract": found,
        "form": form,
        "tried": tried,
        "may_manage": request.viewer.may(Permission.MANAGE_FLEET),
    }
    with scope_of(request.viewer):
        status = 422 if form.errors else 200
        return render(request, "services/contract.html", context, status=status)
