"""GPUs that are kept for tenants: the list, a new one, ending one."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from billing.actions import reservations as actions
from billing.queries import reservations as queries
from billing.rules.reservations import RESERVATION_METHOD
from console.access import ViewerRequest
from console.downloads import download, wants_file
from console.forms import explain
from console.forms.reservations import EndForm, ReservationForm
from console.views.prices import next_hour
from tenants.errors import ConsoleError
from tenants.queries.directory import tenant_refs
from tenants.rules.access import Permission

COLUMNS = (
    *("id", "tenant", "product", "cluster", "node_pool", "gpus", "starts_at", "ends_at", "state"),
    *("why", "created_by"),
)


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    """Newest first; a tenant's people see their own."""
    viewer, now = request.viewer, timezone.now()
    rows = queries.list_reservations(viewer)
    names = {t.id: t.slug for t in tenant_refs().values()}
    if wants_file(request):
        found = (
            (
                r.pk, names.get(r.tenant_id, ""), r.product, r.cluster, r.node_pool, r.gpus,
                r.starts_at, r.ends_at, queries.state_of(r, now), r.why, r.created_by,
            )
            for r in rows
        )  # fmt: skip
        return download(request, "gpu-reservations", COLUMNS, found)
    page = Paginator(rows, 50).get_page(request.GET.get("page"))
    context = {
        "page": page,
        "rows": [(r, names.get(r.tenant_id, ""), queries.state_of(r, now)) for r in page],
        "costs": [(names.get(c.tenant_id, ""), c) for c in queries.idle_costs(viewer, now=now)],
        "method": RESERVATION_METHOD,
        "may_manage": viewer.may(Permission.MANAGE_MONEY),
    }
    return render(request, "economics/reservations.html", context)


@require_http_methods(["GET", "POST"])
def new(request: ViewerRequest) -> HttpResponse:
    request.viewer.require(Permission.MANAGE_MONEY)
    tenants = {t.slug: t for t in sorted(tenant_refs().values(), key=lambda t: t.slug)}
    form = ReservationForm(
        request.POST or None,
        initial={"starts_at": next_hour()},
        tenants=[(slug, slug) for slug in tenants],
    )
    if request.method == "POST" and form.is_valid():
        given = dict(form.cleaned_data)
        tenant = tenants[given.pop("tenant")]
        try:
            actions.reserve_gpus(request.viewer, tenant_id=tenant.id, now=timezone.now(), **given)
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, f"Idle time of these GPUs is {tenant.slug}'s from then on")
            return redirect("reservations")
    status = 422 if form.errors else 200
    return render(request, "economics/reservation_new.html", {"form": form}, status=status)


@require_http_methods(["GET", "POST"])
def end(request: ViewerRequest, reservation_id: int) -> HttpResponse:
    request.viewer.require(Permission.MANAGE_MONEY)
    row = queries.find_reservation(request.viewer, reservation_id)
    initial = {"ends_at": next_hour(), "version": row.version}
    form = EndForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        given = dict(form.cleaned_data)
        expected = given.pop("version")
        try:
            actions.end_reservation(
                request.viewer, row.pk, now=timezone.now(), expected=expected, **given
            )
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, "The reservation ends then")
            return redirect("reservations")
    context = {"form": form, "row": row, "tenant": tenant_refs([row.tenant_id])[row.tenant_id].slug}
    status = 422 if form.errors else 200
    return render(request, "economics/reservation_end.html", context, status=status)
