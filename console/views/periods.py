"""Billing periods: the list, and the close of one as a list of checks."""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from billing.actions import invoices as invoice_actions
from billing.actions import periods as actions
from billing.queries import billed, invoices
from billing.queries import periods as queries
from billing.queries.charged import ChargeFilter
from billing.rules.periods import CheckKey
from console.access import ViewerRequest
from console.confirm import require_typed
from console.downloads import download, wants_file
from console.filters import by_slug, charges_query, compose
from tenants.queries.directory import tenant_refs
from tenants.rules.access import Permission

STATES = {"": "All", "open": "Open", "closing": "Closing", "closed": "Closed"}
COLUMNS = (
    "id", "tenant_id", "name", "state", "time_zone", "starts_at", "ends_at", "cut_off",
    "closed_at", "closed_by",
)  # fmt: skip
# Where a person goes to clear what stands in the way.
WAYS = {
    CheckKey.ROLLED: "billing",
    CheckKey.RATED: "billing",
    CheckKey.QUARANTINE: "quarantine",
    CheckKey.UNPRICED: "prices",
    CheckKey.CONFIDENCE: "billing_confidence",
    CheckKey.EXCHANGE: "exchange_rates",
}


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    """Newest first. `tenant` and `state` narrow it."""
    state = request.GET.get("state", "")
    tenant = by_slug(tenant_refs().values(), request.GET.get("tenant", ""))
    rows = queries.list_periods(
        request.viewer, tenant_id=tenant.id if tenant else None, state=state
    )
    if wants_file(request):
        return download(request, "periods", COLUMNS, rows.values_list(*COLUMNS).iterator())
    page = Paginator(rows, 50).get_page(request.GET.get("page"))
    names = {t.id: t.slug for t in tenant_refs().values()}
    context = {
        "page": page,
        "rows": [(p, names.get(p.tenant_id, "")) for p in page.object_list],
        "state": state,
        "states": STATES.items(),
        "tenant": tenant,
        "may_check": request.viewer.may(Permission.VIEW_MONEY),
    }
    return render(request, "periods/index.html", context)


@require_GET
def show(request: ViewerRequest, period_id: int) -> HttpResponse:
    """What is billed in it, the checks before it closes, and its invoices."""
    now = timezone.now()
    period = queries.get_period(request.viewer, period_id)
    tenant = tenant_refs([period.tenant_id])[period.tenant_id]
    fleet = request.viewer.may(Permission.VIEW_MONEY)
    checks = []
    if fleet and period.state != "closed":
        checks = queries.period_checks(
            request.viewer, period, now=now, grace=settings.QM_CLOSE_GRACE
        )
    totals = billed.billed_totals(period)
    context: dict[str, Any] = {
        "period": period,
        "tenant": tenant,
        "totals": totals,
        "charges": charges_query(ChargeFilter(period.starts_at, period.ends_at)),
        "checks": [
            (c, way_to(c.key, period.starts_at, period.ends_at, tenant.slug)) for c in checks
        ],
        "green": sum(c.is_green for c in checks),
        "is_over": now >= period.ends_at,
        "earlier": queries.earlier_open(period),
        "invoices": invoices.list_invoices(request.viewer, period_id=period.pk),
        "left": period.state == "closed" and billed.has_unbilled(period),
        "may_manage": request.viewer.may(Permission.MANAGE_MONEY),
    }
    return render(request, "periods/show.html", context)


def way_to(key: CheckKey, start: datetime, end: datetime, tenant: str) -> str:
    """The address, empty when there is no page for it."""
    address = reverse(WAYS[key]) if key in WAYS else ""
    if key != CheckKey.CONFIDENCE:
        return address
    return f"{address}?{compose(start, end, tenant=tenant, off=1)}"


@require_POST
def start(request: ViewerRequest, period_id: int) -> HttpResponse:
    period = actions.start_closing(request.viewer, period_id, now=timezone.now())
    messages.success(request, f"{period.name} is closing: work off what is not green")
    return redirect("period", period_id=period_id)


@require_POST
def stop(request: ViewerRequest, period_id: int) -> HttpResponse:
    why = request.POST.get("why", "")
    period = actions.stop_closing(request.viewer, period_id, why=why, now=timezone.now())
    messages.success(request, f"{period.name} is open again; nothing was closed")
    return redirect("period", period_id=period_id)


@require_POST
def sign(request: ViewerRequest, period_id: int) -> HttpResponse:
    """Sign off the check that `check` names, with `why`."""
    row = actions.sign_off(
        request.viewer, period_id, key=request.POST.get("check", ""),
        why=request.POST.get("why", ""), now=timezone.now(), grace=settings.QM_CLOSE_GRACE,
    )  # fmt: skip
    messages.success(request, f"Signed off: {row.number} in {row.key}")
    return redirect("period", period_id=period_id)


@require_POST
def close(request: ViewerRequest, period_id: int) -> HttpResponse:
    require_typed(request, queries.get_period(request.viewer, period_id).name)
    now, grace = timezone.now(), settings.QM_CLOSE_GRACE
    period = actions.close(request.viewer, period_id, now=now, grace=grace)
    messages.success(request, f"{period.name} is closed: what comes now is a correction")
    return redirect("period", period_id=period_id)


@require_POST
def reopen(request: ViewerRequest, period_id: int) -> HttpResponse:
    actions.ask_to_reopen(request.viewer, period_id, why=request.POST.get("why", ""))
    messages.success(request, "Asked: another person decides under Approvals")
    return redirect("period", period_id=period_id)


@require_POST
def bill(request: ViewerRequest, period_id: int) -> HttpResponse:
    """Issue what is left to bill, and go to the invoice."""
    require_typed(request, queries.get_period(request.viewer, period_id).name)
    found = invoice_actions.issue_invoices(request.viewer, period_id, now=timezone.now())
    messages.success(request, f"Issued {', '.join(i.number for i in found)}")
    return redirect("invoice", number=found[0].number)
