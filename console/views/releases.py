"""Releases: what is pinned, what differs between two, a new one."""

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from console.access import ViewerRequest
from console.forms import explain
from console.forms.releases import ReleaseForm, copied
from fleet.actions import releases as actions
from fleet.queries import releases as queries
from fleet.queries.services import service_names
from fleet.rules.groups import MEANS
from fleet.rules.release import Role
from tenants.errors import ConsoleError, Invalid
from tenants.rules.access import Permission


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    """Filters: `service` (a name), `fate`."""
    names = service_names(request.viewer)
    wanted, fate = request.GET.get("service", ""), request.GET.get("fate", "")
    chosen = wanted if wanted in names.values() else ""
    found = queries.search_releases(request.viewer, service=chosen, fate=fate)
    page = Paginator(found, 50).get_page(request.GET.get("page"))
    fits = page.paginator.count > 0
    context = {
        "page": page,
        "rows": queries.release_rows(list(page.object_list)),
        "all": fits or queries.search_releases(request.viewer, service=chosen).exists(),
        "names": sorted(names.values()),
        "wanted": wanted,
        "fate": fate,
        "fates": ("serving", "trying", "succeeded", "rolled_back", "unused"),
        "may_propose": request.viewer.may(Permission.PROPOSE),
    }
    return render(request, "releases/index.html", context)


@require_GET
def show(request: ViewerRequest, release_id: int) -> HttpResponse:
    found = queries.get_release(request.viewer, release_id)
    rows = queries.list_releases(request.viewer, service_id=found.release.service_id)
    others = [r for r in rows if r.id != release_id]
    before = next((r for r in others if r.number < found.release.number), None)
    context = {
        "detail": found,
        "release": found.release,
        "parts": [part_of(found, role) for role in found.roles],
        "others": others,
        "before": before,
        "may_propose": request.viewer.may(Permission.PROPOSE),
    }
    return render(request, "releases/show.html", context)


def part_of(found: queries.ReleaseDetail, role: Role) -> dict[str, Any]:
    """One role of a replica, for its page."""
    return {
        "name": role.name,
        "pods": role.replicas * role.resources.get("group_size", found.resources.group_size),
        "gpus": role.resources.get("gpus", found.resources.gpus),
        "product": role.resources.get("gpu_product", found.resources.gpu_product),
        "means": MEANS[role.name],
        "arguments": role.arguments,
    }


@require_GET
def choose(request: ViewerRequest, release_id: int) -> HttpResponse:
    """The form without script: `?with=<id>` leads to the comparison."""
    other = request.GET.get("with", "")
    if not other.isdecimal():
        raise Invalid(**{"with": "Choose the release to compare with"})
    return redirect("release_diff", old_id=int(other), new_id=release_id)


@require_GET
def diff(request: ViewerRequest, old_id: int, new_id: int) -> HttpResponse:
    compared = queries.compare_releases(request.viewer, old_id, new_id)
    return render(request, "releases/diff.html", {"diff": compared})


@require_http_methods(["GET", "POST"])
def new(request: ViewerRequest) -> HttpResponse:
    """`?service=<name>` or `?copy=<release id>` fills the form."""
    request.viewer.require(Permission.PROPOSE)
    names = service_names(request.viewer)
    form = ReleaseForm(request.POST or None, services=names.items(), initial=start(request, names))
    if request.method == "POST" and form.is_valid():
        try:
            release = actions.create_release(
                request.viewer, form.cleaned_data["service_id"], **form.values()
            )
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(
                request, f"Made {release} of {release.service.name}. Nothing runs it yet."
            )
            return redirect("release", release_id=release.pk)
    status = 422 if form.errors else 200
    return render(request, "releases/form.html", {"form": form, "services": names}, status=status)


def start(request: ViewerRequest, names: dict[int, str]) -> dict[str, Any]:
    copy = request.GET.get("copy", "")
    if copy.isdecimal():
        return copied(queries.get_release(request.viewer, int(copy)))
    wanted = request.GET.get("service", "")
    found = [pk for pk, name in names.items() if name == wanted]
    rows = queries.list_releases(request.viewer, service_id=found[0]) if found else ()
    if rows:
        return copied(queries.get_release(request.viewer, rows[0].id))
    return {"service_id": found[0]} if found else {}
