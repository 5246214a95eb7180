"""Resolve what a tag or a branch means, from the form of a release; what was typed stays."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from console.access import ViewerRequest, own_scope, refused
from console.forms.releases import ReleaseForm
from fleet.actions import resolutions as actions
from fleet.queries import resolutions as queries
from fleet.queries.services import service_names
from fleet.rules.vllm_args import normalise, values_of
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
        found = find(viewer, request.POST)
        typed |= filled(found, typed)
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


def find(viewer: Viewer, typed: QueryDict) -> queries.ResolutionRow:
    """By asking and keeping; `kept-...`: what was kept before, with nobody asked."""
    what = typed.get("what", "")
    image, model, commit = (typed.get(name, "") for name in ("image", "model", "commit"))
    if what.startswith("kept-"):
        with scope_of(viewer):
            if what == "kept-model":
                return queries.recall_model(viewer, model, commit)
            return queries.recall_image(viewer, image)
    if what == "model":
        answered = actions.ask_model(viewer, model, commit, tokenizer_of(typed))
    else:
        answered = actions.ask_image(viewer, image)
    with scope_of(viewer):
        return queries.get_resolution(viewer, actions.keep(viewer, answered).pk)


def tokenizer_of(typed: QueryDict) -> str:
    """One of another repository, as the arguments name it."""
    try:
        words = normalise(typed.get("arguments", "").splitlines())
    except ValueError:
        return ""
    name, branch = values_of(words).get("--tokenizer", ""), typed.get("tokenizer_commit", "")
    return f"{name}@{branch}" if name and branch else name


def filled(found: queries.ResolutionRow, typed: dict[str, Any]) -> dict[str, str]:
    """The fields of the form that the answer fills."""
    if found.kind == "image":
        tag = f":{found.label}" if found.label else ""
        return {"image": f"{found.name}{tag}@{found.pinned}"}
    parts = {p["part"]: p for p in found.parts}
    # What lies beside the weights is pinned by their commit.
    other = {k: p["pinned"] for k, p in parts.items() if p["name"] != found.name}
    return {
        "commit": found.pinned,
        "label": found.label,
        "licence": typed.get("licence") or str(found.answer.get("licence", "")),
        "tokenizer_commit": other.get("tokenizer", ""),
        "code_commit": other.get("code", ""),
        "chat_template_digest": parts.get("chat_template", {}).get("pinned", ""),
    }


@require_POST
def check_again(request: ViewerRequest, release_id: int, resolution_id: int) -> HttpResponse:
    """Judge what is kept with the keys of now, and show the release again."""
    row = actions.check_again(request.viewer, resolution_id)
    messages.success(request, f"{row.name} is judged again: {row.signature['why']}")
    return redirect("release", release_id=release_id)
