"""Economics: what the fleet's GPUs cost, who caused it, and what tenants pay for it."""

from collections.abc import Sequence
from typing import Any

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from billing.queries import economics as queries
from billing.queries.economics import Economics, Margin
from billing.queries.unit_costs import SERVICE, TENANT, unit_costs
from billing.rules.allocation import METHODS
from billing.rules.other_costs import OTHER_METHOD
from console.access import ViewerRequest
from console.charts import Chart, Series, rank_chart
from console.downloads import download, wants_file
from console.filters import by_slug, charges_query, compose
from console.ranges import read_range
from console.waterfall import BILL, IDLE, OTHER, OVERHEAD, TENANTS, Step, bill_steps, waterfall
from console.waterfall import TENANT as OF_TENANT
from tenants.queries.directory import tenant_refs

COLUMNS = (
    "tenant", "charged", "cost", "idle_share", "overhead_share", "other", "gross", "net",
    "saved", "currency",
)  # fmt: skip
UNIT_COLUMNS = (
    "name", "requests", "tokens", "cost", "full", "charged", "per_request", "full_per_request",
    "per_million", "full_per_million", "charged_per_million", "currency",
)  # fmt: skip
BILL_COLUMNS = ("kind", "part", "amount", "left", "currency")
KINDS = {"": "All", "tenant": "Tenants", "idle": "Idle", "overhead": "Overhead"}


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    """Whole UTC days that the range touches."""
    now = timezone.now()
    span = read_range(request.GET, now, "now-7d")
    found = queries.economics(request.viewer, span.start, span.end, now=now)
    steps = bill_steps(found)
    if wants_file(request) and request.GET.get("of") == "bill":
        parts = ((s.kind, s.name, s.amount, s.left, found.currency) for s in steps)
        return download(request, "bill", BILL_COLUMNS, parts)
    if wants_file(request):
        rows = (
            (m.name, m.charged, m.cost, m.idle_share, m.overhead_share, m.other, m.gross,
             m.net, m.saved, found.currency)
            for m in found.tenants
        )  # fmt: skip
        return download(request, "economics", COLUMNS, rows)
    page = Paginator(found.tenants, 50).get_page(request.GET.get("page"))
    context: dict[str, Any] = {
        "found": found,
        "method": METHODS.get(found.method, ""),
        "other_method": OTHER_METHOD,
        "range": span,
        "currency": found.currency or "USD",
        "page": page,
        "tenants": [(m, charges_query(m.wanted)) for m in page],
        "chart": bill_chart(list(page), found.currency) if found.hours_attributed else None,
        "sums": sums(found),
        "rows": compose(found.start, found.end),
        "fall": waterfall("bill", "Where the fleet's bill goes", steps, found.currency),
        "steps": [(step, behind(step, found)) for step in steps],
    }
    return render(request, "economics/index.html", context)


def sums(found: Economics) -> list[tuple[str, str, Any, str]]:
    """The fleet's bill as a sum that adds up: name, fill, amount, kind of its rows."""
    return [
        ("Caused by tenants", "used", found.attributed, "tenant"),
        ("Idle: held or free, no work", "idle", found.idle, "idle"),
        ("Overhead: starting, draining, out", "load", found.overhead, "overhead"),
    ]


def behind(step: Step, found: Economics) -> str:
    """The address of a step's rows; empty: nothing is left over, or it has none."""
    if step.kind == OTHER:
        return reverse("other_costs")
    of = {OF_TENANT: {"tenant": step.name}, TENANTS: {"kind": "tenant"}}
    of |= {kind: {"kind": kind} for kind in (IDLE, OVERHEAD)} | {BILL: {}}
    if step.kind not in of:
        return ""
    return f"{reverse('economics_shares')}?{compose(found.start, found.end, **of[step.kind])}"


def bill_chart(tenants: Sequence[Margin], currency: str) -> Chart:
    names = [m.name for m in tenants]
    series = [
        Series("charged", [m.charged for m in tenants], colour="c1"),
        Series("caused", [-m.cost for m in tenants], colour="c2"),
    ]
    return rank_chart("margin", "Charged and caused", names, series, unit=currency)


@require_GET
def units(request: ViewerRequest) -> HttpResponse:
    """What a request and a million tokens cost, by tenant or by service."""
    span = read_range(request.GET, timezone.now(), "now-7d")
    by = SERVICE if request.GET.get("by") == SERVICE else TENANT
    found = unit_costs(request.viewer, span.start, span.end, by=by)
    if wants_file(request):
        rows = (
            (*(getattr(row, name) for name in UNIT_COLUMNS[:-1]), found.currency)
            for row in found.rows
        )
        return download(request, "unit-costs", UNIT_COLUMNS, rows)
    context = {
        "found": found,
        "method": METHODS.get(found.method, ""),
        "range": span,
        "by": by,
        "kinds": {TENANT: "Tenants", SERVICE: "Services"}.items(),
        "currency": found.currency or "USD",
        "page": Paginator(found.rows, 50).get_page(request.GET.get("page")),
    }
    return render(request, "economics/units.html", context)


@require_GET
def shares(request: ViewerRequest) -> HttpResponse:
    """The rows behind the bill: each share of each pool of GPU time of each hour."""
    now = timezone.now()
    span = read_range(request.GET, now, "now-24h")
    kind = request.GET.get("kind", "")
    named = by_slug(tenant_refs().values(), request.GET.get("tenant", ""))
    of = named.id if named else None
    release = request.GET.get("release", "")
    rows = queries.list_allocations(
        request.viewer, span.start, span.end, tenant_id=of, kind=kind, release=release
    )
    columns = (
        "hour", "kind", "tenant_id", "model", "release", "pool__cluster", "pool__product",
        "pool__state", "weight", "amount", "saved",
    )  # fmt: skip
    if wants_file(request):
        return download(request, "allocations", columns, rows.values_list(*columns).iterator())
    page = Paginator(rows, 100).get_page(request.GET.get("page"))
    names = {t.id: t.slug for t in tenant_refs().values()}
    context = {
        "page": page,
        "rows": [(row, names.get(row.tenant_id or 0, "")) for row in page.object_list],
        "range": span,
        "kind": kind,
        "kinds": KINDS.items(),
        "tenant": named,
        "release": release,
    }
    return render(request, "economics/shares.html", context)
