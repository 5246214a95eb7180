"""Tenants: the list, and the tabs of one."""

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from console.access import ViewerRequest
from console.addresses import address
from console.confirm import require_typed
from console.downloads import download, wants_file
from console.forms import explain
from console.forms.tenants import TenantForm
from console.tenant_figures import Figures, figures_by_tenant
from fleet.queries import services
from fleet.queries.adapters import adapter_names
from tenants.actions import tenants as actions
from tenants.errors import ConsoleError
from tenants.queries import audit, keys, people, quotas
from tenants.queries import tenants as queries
from tenants.rules.access import Permission

NOTHING = Figures()
SORTS = {"slug", "name", "traffic_class", "key_count", "quota_count", "monthly_budget"}
POLICIES = {"confidential": "Confidential only", "hosted": "Hosted fallback", "residency": "Bound to regions"}  # fmt: skip  # noqa: E501
FILTERS = ("search", "traffic_class", "state", "policy", "model")
COLUMNS = (
    "slug", "name", "state", "traffic_class", "currency", "time_zone", "residency",
    "hosted_fallback", "confidential_only", "applications", "live_keys", "models", "quotas",
    "monthly_budget", "charged_this_month", "requests_24h", "answered_24h", "open_findings",
    "last_request_at", "demo",
)  # fmt: skip


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    viewer = request.viewer
    wanted = {name: request.GET.get(name, "").strip() for name in FILTERS}
    rows = sorted_rows(queries.list_tenants(viewer, queries.TenantFilter(**wanted)), request)
    if wants_file(request):
        figures = figures_by_tenant(viewer, timezone.now())
        lines = (line(t, figures.get(t.pk, NOTHING)) for t in rows)
        return download(request, "tenants", COLUMNS, lines)
    page = Paginator(rows, 50).get_page(request.GET.get("page"))
    figures = figures_by_tenant(viewer, timezone.now(), tuple(t.pk for t in page))
    context = {
        "page": page,
        "found": [
            {"t": t, "f": figures.get(t.pk, NOTHING), "url": address("tenant", t.slug)}
            for t in page
        ],
        "money": viewer.may_somewhere(Permission.VIEW_MONEY),
        "wanted": wanted,
        "narrowed": any(wanted.values()),
        "drops": drops(request, wanted) if not page.paginator.count else [],
        "classes": queries.CLASSES,
        "policies": POLICIES.items(),
        "models": queries.known_models(viewer),
        "all": queries.visible_tenants(viewer).count(),
        "may_create": viewer.may(Permission.MANAGE_TENANTS),
    }
    return render(request, "tenants/index.html", context)


def sorted_rows(rows: QuerySet[Any], request: ViewerRequest) -> QuerySet[Any]:
    by = request.GET.get("sort", "")
    return rows.order_by(by, "slug") if by.lstrip("-") in SORTS else rows


def drops(request: ViewerRequest, wanted: dict[str, str]) -> list[dict[str, Any]]:
    """For an empty list: which filter to drop, and how many rows that would show."""
    found = []
    for name in FILTERS:
        if wanted[name]:
            without = queries.TenantFilter(**(wanted | {name: ""}))
            count = queries.list_tenants(request.viewer, without).count()
            query = request.GET.copy()
            query.pop(name, None)
            found.append({"value": wanted[name], "count": count, "url": f"?{query.urlencode()}"})
    return sorted(found, key=lambda d: -d["count"])


def line(t: Any, f: Figures) -> tuple[Any, ...]:
    state = "suspended" if t.suspended_at else "active"
    return (
        t.slug, t.name, state, t.traffic_class, t.currency, t.time_zone, t.residency,
        t.hosted_fallback, t.confidential_only, t.application_count, t.key_count, t.model_count,
        t.quota_count, t.monthly_budget, f.charged, f.requests, f.answered, f.findings,
        t.last_request_at, t.demo,
    )  # fmt: skip


@require_http_methods(["GET", "POST"])
def new(request: ViewerRequest) -> HttpResponse:
    viewer = request.viewer
    viewer.require(Permission.MANAGE_TENANTS)
    form = TenantForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            tenant = actions.create_tenant(
                viewer,
                slug=given["slug"],
                currency=given["currency"],
                fields=form.tenant_fields(),
                why=given["why"],
            )
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, f"{tenant.slug} is a tenant now: grant it a model next")
            return redirect("tenant_models", slug=tenant.slug)
    return answer_form(request, form, {"title": "Add a tenant", "go": "Add the tenant"})


@require_http_methods(["GET", "POST"])
def edit(request: ViewerRequest, slug: str) -> HttpResponse:
    viewer = request.viewer
    tenant = queries.get_tenant(viewer, slug)
    viewer.require(Permission.MANAGE_TENANTS, tenant.pk)
    now = actions.fields_of(tenant)
    initial = {
        "name": now.name, "traffic_class": now.traffic_class, "time_zone": now.time_zone,
        "residency": " ".join(now.residency), "hosted_fallback": now.hosted_fallback,
        "confidential_only": now.confidential_only, "version": tenant.version,
    }  # fmt: skip
    form = TenantForm(request.POST or None, initial=initial).for_change()
    if request.method == "POST" and form.is_valid():
        expected, why = form.cleaned_data["version"], form.cleaned_data["why"]
        try:
            actions.change_tenant(
                viewer, slug, fields=form.tenant_fields(), expected=expected, why=why
            )
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, f"{slug} is changed; gateways know within seconds")
            return redirect("tenant", slug=slug)
    context = {"title": f"Change {slug}", "go": "Save the change", "tenant": tenant}
    return answer_form(request, form, context)


def answer_form(request: ViewerRequest, form: TenantForm, context: dict[str, Any]) -> HttpResponse:
    status = 422 if form.errors else 200
    return render(request, "tenants/form.html", context | {"form": form}, status=status)


def frame(request: ViewerRequest, slug: str, tab: str) -> dict[str, Any]:
    """What all tabs of a tenant show above their own part."""
    viewer = request.viewer
    tenant = queries.get_tenant(viewer, slug)
    return {
        "tenant": tenant,
        "tab": tab,
        "state": "suspended" if tenant.suspended_at else "active",
        "may_manage": viewer.may(Permission.MANAGE_TENANTS, tenant.pk),
        "may_keys": viewer.may(Permission.MANAGE_KEYS, tenant.pk),
    }


@require_GET
def show(request: ViewerRequest, slug: str) -> HttpResponse:
    context = frame(request, slug, "overview")
    viewer, tenant = request.viewer, context["tenant"]
    current = list(quotas.list_quotas(viewer, tenant=tenant))
    live, expiring = keys.count_live(viewer, tenant)
    context |= {
        "applications": queries.list_applications(viewer, tenant),
        "models": queries.granted_models(viewer, tenant),
        "quotas": current,
        "budget": next((q for q in current if not q.application_id and not q.model), None),
        "live_keys": live,
        "expiring": expiring,
        "events": audit.events_of_tenant(viewer, tenant)[:8],
        "figures": figures_by_tenant(viewer, timezone.now(), (tenant.pk,)).get(tenant.pk, NOTHING),
        "money": viewer.may(Permission.VIEW_MONEY, tenant.pk),
    }
    return render(request, "tenants/show.html", context)


@require_GET
def models(request: ViewerRequest, slug: str) -> HttpResponse:
    context = frame(request, slug, "models")
    viewer, tenant = request.viewer, context["tenant"]
    grants = list(queries.list_grants(viewer, tenant))
    granted = {g.model for g in grants}
    served = {*services.service_names(viewer).values(), *adapter_names(viewer)}
    known = served | {*queries.known_models(viewer)}
    context |= {"grants": grants, "others": sorted(known - granted)}
    return render(request, "tenants/models.html", context)


@require_POST
def grant(request: ViewerRequest, slug: str) -> HttpResponse:
    model = request.POST.get("model", "").strip()
    actions.grant_model(request.viewer, slug, model, why=request.POST.get("why", ""))
    messages.success(request, f"{slug} may call {model} within seconds")
    return redirect("tenant_models", slug=slug)


@require_POST
def withdraw(request: ViewerRequest, slug: str) -> HttpResponse:
    model = request.POST.get("model", "")
    require_typed(request, model)
    actions.withdraw_model(request.viewer, slug, model, why=request.POST.get("why", ""))
    messages.success(request, f"{slug} may not call {model} any more")
    return redirect("tenant_models", slug=slug)


@require_GET
def team(request: ViewerRequest, slug: str) -> HttpResponse:
    context = frame(request, slug, "people")
    context["bindings"] = people.people_of_tenant(request.viewer, context["tenant"])
    context["may_people"] = request.viewer.may(Permission.MANAGE_PEOPLE)
    return render(request, "tenants/people.html", context)


@require_GET
def activity(request: ViewerRequest, slug: str) -> HttpResponse:
    context = frame(request, slug, "activity")
    rows = audit.events_of_tenant(request.viewer, context["tenant"])
    context["page"] = Paginator(rows, 50).get_page(request.GET.get("page"))
    return render(request, "tenants/activity.html", context)


@require_POST
def suspend(request: ViewerRequest, slug: str) -> HttpResponse:
    require_typed(request, slug)
    actions.suspend_tenant(request.viewer, slug, why=request.POST.get("why", ""))
    told = "its requests are refused, and those that run end, within seconds"
    messages.success(request, f"{slug} is suspended: {told}")
    return redirect("tenant", slug=slug)


@require_POST
def resume(request: ViewerRequest, slug: str) -> HttpResponse:
    actions.resume_tenant(request.viewer, slug, why=request.POST.get("why", ""))
    messages.success(request, f"{slug} is active again")
    return redirect("tenant", slug=slug)


@require_POST
def renew_salt(request: ViewerRequest, slug: str) -> HttpResponse:
    require_typed(request, slug)
    actions.renew_salt(request.viewer, slug, why=request.POST.get("why", ""))
    messages.success(request, f"Cached prefixes of {slug} cannot be reached any more")
    return redirect("tenant", slug=slug)
