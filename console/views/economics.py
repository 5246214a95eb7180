"""Economics: what the fleet's GPUs cost, who caused it, and what tenants pay for it."""

from typing import Any

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from billing.queries import economics as queries
from billing.queries import requests as usage_queries
from billing.queries.economics import Economics
from console.access import ViewerRequest
from console.charts import Chart, Series, rank_chart
from console.downloads import download, wants_file
from console.filters import charges_query
from console.ranges import read_range
from tenants.queries.directory import tenant_refs
from tenants.rules.access import Permission

COLUMNS = (
    "tenant", "charged", "cost", "idle_share", "overhead_share", "gross", "net", "currency",
)  # fmt: skip
KINDS = {"": "All", "tenant": "Tenants", "idle": "Idle", "overhead": "Overhead"}


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    """Whole UTC days that the range touches."""
    now = timezone.now()
    span = read_range(request.GET, now, "now-7d")
    found = queries.economics(request.viewer, span.start, span.end, now=now)
    if wants_file(request):
        rows = (
            (m.name, m.charged, m.cost, m.idle_share, m.overhead_share, m.gross, m.net,
             found.currency)
            for m in found.tenants
        )  # fmt: skip
        return download(request, "economics", COLUMNS, rows)
    context: dict[str, Any] = {
        "found": found,
        "range": span,
        "currency": found.currency or "USD",
        "tenants": [(m, charges_query(m.wanted)) for m in found.tenants],
        "chart": bill_chart(found) if found.hours_attributed else None,
        "sums": sums(found),
    }
    return render(request, "economics/index.html", context)


def sums(found: Economics) -> list[tuple[str, str, Any, str]]:
    """The fleet's bill as a sum that adds up: name, fill, amount, kind of its rows."""
    return [
        ("Caused by tenants", "used", found.attributed, "tenant"),
        ("Idle: held or free, no work", "idle", found.idle, "idle"),
        ("Overhead: starting, draining, out", "load", found.overhead, "overhead"),
    ]


def bill_chart(found: Economics) -> Chart:
    names = [m.name for m in found.tenants]
    series = [
        Series("charged", [m.charged for m in found.tenants], colour="c1"),
        Series("caused", [-m.cost for m in found.tenants], colour="c2"),
    ]
    return rank_chart("margin", "Charged and caused", names, series, unit=found.currency)


@require_GET
def shares(request: ViewerRequest) -> HttpResponse:
    """The rows behind the bill: each share of each pool of GPU time of each hour."""
    now = timezone.now()
    span = read_range(request.GET, now, "now-24h")
    kind = request.GET.get("kind", "")
    rows = queries.list_allocations(request.viewer, span.start, span.end, kind=kind)
    columns = (
        "hour", "kind", "tenant_id", "model", "pool__cluster", "pool__product", "pool__state",
        "weight", "amount",
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
    }
    return render(request, "economics/shares.html", context)


@require_GET
def quarantine(request: ViewerRequest) -> HttpResponse:
    """Usage events that could not be taken, each with its reason."""
    request.viewer.require(Permission.VIEW_MONEY)
    rows = usage_queries.list_quarantine(request.viewer)
    columns = ("id", "received_at", "source_id", "event_id", "reason", "detail", "payload")
    if wants_file(request):
        return download(request, "quarantine", columns, rows.values_list(*columns).iterator())
    page = Paginator(rows, 50).get_page(request.GET.get("page"))
    return render(request, "economics/quarantine.html", {"page": page})
