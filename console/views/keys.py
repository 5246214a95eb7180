"""API keys: all that the viewer may see, and making, rotating, revoking one."""

from datetime import timedelta

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from console.access import ViewerRequest
from console.confirm import require_typed
from console.downloads import download, wants_file
from console.forms import explain
from console.forms.tenants import KeyForm
from console.once import new_ticket, show_secret, use_ticket
from tenants.actions import keys as actions
from tenants.errors import ConsoleError, Invalid
from tenants.queries import keys as queries
from tenants.queries import tenants
from tenants.rules.access import Permission

STATES = {"": "All", "live": "Live", "expiring": "Expire within 14 days", "expired": "Expired",
          "revoked": "Revoked"}  # fmt: skip
COLUMNS = (
    "key", "name", "tenant", "application", "state", "traffic_class", "scopes", "models",
    "created_at", "expires_at", "revoked_at", "last_used_at",
)  # fmt: skip


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    """Filters: `state`, `q` (name, tenant, application, id)."""
    now = timezone.now()
    state = request.GET.get("state", "live")
    text = request.GET.get("q", "").strip()
    rows = queries.in_state(queries.list_keys(request.viewer), state)
    rows = queries.search(rows, text)
    if wants_file(request):
        lines = (
            (
                str(k), k.name, k.tenant.slug, k.application.slug, queries.state_of(k, now),
                k.traffic_class, k.scopes, k.served_models, k.created_at, k.expires_at,
                k.revoked_at, k.last_used_at,
            )
            for k in rows
        )  # fmt: skip
        return download(request, "api-keys", COLUMNS, lines)
    page = Paginator(rows, 50).get_page(request.GET.get("page"))
    found = [{"key": key, "state": queries.state_of(key, now)} for key in page]
    context = {"page": page, "found": found, "state": state, "text": text}
    return render(request, "keys/index.html", context | {"states": STATES.items()})


@require_http_methods(["GET", "POST"])
def new(request: ViewerRequest, slug: str, application: str) -> HttpResponse:
    viewer = request.viewer
    tenant = tenants.get_tenant(viewer, slug)
    viewer.require(Permission.MANAGE_KEYS, tenant.pk)
    row = tenants.get_application(viewer, tenant, application)
    form = KeyForm(
        request.POST or None,
        granted=tenants.granted_models(viewer, tenant),
        ceiling=tenant.traffic_class,
        initial={"once": new_ticket()},
    )
    if request.method == "POST" and form.is_valid():
        claim = use_ticket(request)
        try:
            key, secret = actions.create_key(viewer, slug, application, wish=form.wish())
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            return show_secret(
                request,
                claim,
                title=f"The key {key.name}",
                secret=secret,
                note=f"{application} of {slug} sends it as its bearer token. Gateways know it"
                " within 5 seconds.",
                back=reverse("tenant_applications", args=[slug]),
            )
    context = {"form": form, "tenant": tenant, "application": row}
    return render(request, "keys/new.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "POST"])
def rotate(request: ViewerRequest, slug: str, key: str) -> HttpResponse:
    viewer = request.viewer
    tenant = tenants.get_tenant(viewer, slug)
    viewer.require(Permission.MANAGE_KEYS, tenant.pk)
    old = queries.get_key(viewer, tenant, key)
    if request.method == "POST":
        claim = use_ticket(request)
        hours = request.POST.get("overlap", "")
        if not hours.isdecimal() or len(hours) > 4:
            raise Invalid(overlap="A number of hours")
        new_key, secret = actions.rotate_key(
            viewer, slug, key, overlap=timedelta(hours=int(hours)), why=request.POST.get("why", "")
        )
        return show_secret(
            request,
            claim,
            title=f"The new key of {new_key.name}",
            secret=secret,
            note=f"The old key {old} is accepted for {hours} more hours.",
            back=reverse("tenant_applications", args=[slug]),
        )
    context = {"tenant": tenant, "key": old, "once": new_ticket()}
    return render(request, "keys/rotate.html", context)


@require_POST
def revoke(request: ViewerRequest, slug: str, key: str) -> HttpResponse:
    tenant = tenants.get_tenant(request.viewer, slug)
    require_typed(request, queries.get_key(request.viewer, tenant, key).name)
    revoked = actions.revoke_key(request.viewer, slug, key, why=request.POST.get("why", ""))
    told = "gateways refuse it, and end what it has running, within 5 seconds"
    messages.success(request, f"{revoked} is revoked: {told}")
    return redirect("tenant_applications", slug=slug)
