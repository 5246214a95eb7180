"""Quotas: across tenants, of one tenant, and the versions of one."""

from dataclasses import asdict
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from console.access import ViewerRequest
from console.confirm import require_typed
from console.downloads import download, wants_file
from console.forms import explain
from console.forms.tenants import LimitsForm, QuotaForm
from console.views.tenants import frame
from tenants.actions import quotas as actions
from tenants.errors import ConsoleError
from tenants.queries import quotas as queries
from tenants.queries import tenants
from tenants.rules.access import Permission

COLUMNS = (
    "tenant", "application", "model", "requests_per_minute", "tokens_per_minute", "concurrency",
    "monthly_budget", "currency", "monthly_input_tokens", "monthly_output_tokens",
    "monthly_tokens", "series", "version", "valid_from",
)  # fmt: skip


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    """Filters: `tenant`, `model` (parts of their names)."""
    wanted = {name: request.GET.get(name, "").strip() for name in ("tenant", "model")}
    rows = queries.narrow(queries.list_quotas(request.viewer), **wanted)
    if wants_file(request):
        return download(request, "quotas", COLUMNS, (line(q) for q in rows))
    context = {
        "page": Paginator(rows, 50).get_page(request.GET.get("page")),
        "wanted": wanted,
        "narrowed": any(wanted.values()),
    }
    return render(request, "quotas/index.html", context)


def line(q: Any) -> tuple[Any, ...]:
    return (
        q.tenant.slug, q.application.slug if q.application else "", q.model,
        q.requests_per_minute, q.tokens_per_minute, q.concurrency, q.monthly_budget,
        q.tenant.currency, q.monthly_input_tokens, q.monthly_output_tokens, q.monthly_tokens,
        q.series, q.version, q.valid_from,
    )  # fmt: skip


@require_GET
def of_tenant(request: ViewerRequest, slug: str) -> HttpResponse:
    context = frame(request, slug, "quotas")
    context["quotas"] = queries.list_quotas(request.viewer, tenant=context["tenant"])
    context["changes"] = queries.quota_changes(request.viewer, context["tenant"])
    return render(request, "quotas/of_tenant.html", context)


@require_http_methods(["GET", "POST"])
def new(request: ViewerRequest, slug: str) -> HttpResponse:
    viewer = request.viewer
    tenant = tenants.get_tenant(viewer, slug)
    viewer.require(Permission.MANAGE_TENANTS, tenant.pk)
    applications = tenants.list_applications(viewer, tenant).values_list("slug", flat=True)
    form = QuotaForm(
        request.POST or None,
        applications=list(applications),
        models=tenants.granted_models(viewer, tenant),
    )
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        target = actions.Target(slug, given["application"], given["model"])
        try:
            actions.set_quota(viewer, target, limits=form.limits(), expected=0, why=given["why"])
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, "The quota holds within seconds")
            return redirect("tenant_quotas", slug=slug)
    context = {"form": form, "tenant": tenant}
    return render(request, "quotas/new.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "POST"])
def show(request: ViewerRequest, series: int) -> HttpResponse:
    """The limits that hold, as a form for those who may change them, and all versions."""
    viewer = request.viewer
    quota = queries.get_quota(viewer, series)
    may = viewer.may(Permission.MANAGE_TENANTS, quota.tenant_id)
    initial = asdict(actions.limits_of(quota)) | {"version": quota.version}
    form = LimitsForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        application = quota.application.slug if quota.application else ""
        target = actions.Target(quota.tenant.slug, application, quota.model)
        expected = 0 if quota.superseded_at else form.cleaned_data["version"]
        why = form.cleaned_data["why"]
        try:
            new = actions.set_quota(
                viewer, target, limits=form.limits(), expected=expected, why=why
            )
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, f"Version {new.version} holds within seconds")
            return redirect("quota", series=series)
    versions = queries.quota_history(viewer, series)
    context = {"form": form, "quota": quota, "versions": versions, "may_manage": may}
    return render(request, "quotas/show.html", context, status=422 if form.errors else 200)


@require_POST
def clear(request: ViewerRequest, series: int) -> HttpResponse:
    quota = queries.get_quota(request.viewer, series)
    require_typed(request, quota.tenant.slug)
    actions.clear_quota(request.viewer, series, why=request.POST.get("why", ""))
    messages.success(request, "The quota is cleared: nothing of it holds any more")
    return redirect("tenant_quotas", slug=quota.tenant.slug)
