"""Applications of a tenant: its cost centres, with their keys."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from console.access import ViewerRequest
from console.forms import explain
from console.forms.tenants import ApplicationForm
from console.views.tenants import frame
from tenants.actions import applications as actions
from tenants.errors import ConsoleError
from tenants.queries import keys
from tenants.queries import tenants as queries
from tenants.rules.access import Permission


@require_GET
def index(request: ViewerRequest, slug: str) -> HttpResponse:
    """`show=all` lists revoked and expired keys too."""
    context = frame(request, slug, "applications")
    viewer, tenant = request.viewer, context["tenant"]
    rows = keys.list_keys(viewer, tenant=tenant)
    show_all = request.GET.get("show") == "all"
    now = timezone.now()
    found = rows if show_all else keys.in_state(rows, "live")
    by_application: dict[int, list[object]] = {}
    for key in found:
        by_application.setdefault(key.application_id, []).append(
            {"key": key, "state": keys.state_of(key, now)}
        )
    groups = [
        {"application": a, "keys": by_application.get(a.pk, [])}
        for a in queries.list_applications(viewer, tenant)
    ]
    context |= {"groups": groups, "show_all": show_all, "dead": rows.count() - found.count()}
    return render(request, "tenants/applications.html", context)


@require_http_methods(["GET", "POST"])
def new(request: ViewerRequest, slug: str) -> HttpResponse:
    viewer = request.viewer
    tenant = queries.get_tenant(viewer, slug)
    viewer.require(Permission.MANAGE_KEYS, tenant.pk)
    form = ApplicationForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            row = actions.create_application(
                viewer,
                slug,
                slug=given["slug"],
                name=given["name"],
                cost_centre=given["cost_centre"],
            )
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, f"{row.slug} is there: make a key for it")
            return redirect("tenant_applications", slug=slug)
    context = {"form": form, "tenant": tenant, "title": "New application", "go": "Make it"}
    status = 422 if form.errors else 200
    return render(request, "tenants/application_form.html", context, status=status)


@require_http_methods(["GET", "POST"])
def edit(request: ViewerRequest, slug: str, application: str) -> HttpResponse:
    viewer = request.viewer
    tenant = queries.get_tenant(viewer, slug)
    viewer.require(Permission.MANAGE_KEYS, tenant.pk)
    row = queries.get_application(viewer, tenant, application)
    initial = {"name": row.name, "cost_centre": row.cost_centre, "version": row.version}
    form = ApplicationForm(request.POST or None, initial=initial).for_change()
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            actions.change_application(
                viewer,
                slug,
                application,
                name=given["name"],
                cost_centre=given["cost_centre"],
                expected=given["version"],
            )
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, f"{application} is changed")
            return redirect("tenant_applications", slug=slug)
    context = {"form": form, "tenant": tenant, "title": f"Change {application}", "go": "Save"}
    status = 422 if form.errors else 200
    return render(request, "tenants/application_form.html", context, status=status)
