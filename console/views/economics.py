"""Economics: what the fleet's GPUs cost, who caused it, and what tenants pay for it."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from billing.queries import economics as queries
from billing.queries.bill_parts import BillPart, bill_parts
from billing.queries.economics import NOBODY, Economics, Margin
from billing.queries.gpu_hours import ProductHours, gpu_hours
from billing.queries.release_units import RELEASE, release_unit_costs
from billing.queries.service_margins import ServiceMargin, service_margins, share_of
from billing.queries.unit_costs import SERVICE, TENANT, unit_costs
from billing.rules.allocation import METHODS
from billing.rules.other_costs import OTHER_METHOD
from console import economics_page as shown
from console.access import ViewerRequest
from console.downloads import download, wants_file
from console.filters import by_slug, charges_query, compose
from console.ranges import read_range
from console.unit_chart import unit_chart
from console.waterfall import BILL, IDLE, OTHER, OVERHEAD, TENANTS, Step, bill_steps, waterfall
from console.waterfall import TENANT as OF_TENANT
from tenants.errors import Invalid
from tenants.queries.directory import tenant_refs

COLUMNS = (
    "tenant", "charged", "cost", "idle_share", "overhead_share", "other", "gross", "net",
    "saved", "currency",
)  # fmt: skip
UNIT_COLUMNS = (
    "name", "requests", "tokens", "cost", "other", "full", "charged", "per_request",
    "full_per_request", "per_million", "full_per_million", "charged_per_million", "currency",
)  # fmt: skip
UNIT_KINDS = {TENANT: "Tenants", SERVICE: "Services", RELEASE: "Releases"}
BILL_COLUMNS = ("kind", "part", "amount", "left", "currency")
KINDS = {"": "All", "tenant": "Tenants", "idle": "Idle", "overhead": "Overhead",
         NOBODY: "Idle and overhead"}  # fmt: skip
MOST_TOP = 8


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    """Whole UTC days that the range touches. `of` names the table that a file is made of."""
    now = timezone.now()
    span = read_range(request.GET, now, "now-7d")
    found = queries.economics(request.viewer, span.start, span.end, now=now)
    steps = bill_steps(found)
    if wants_file(request) and request.GET.get("of") in (None, "", "bill"):
        return file_of_sums(request, found, steps)
    services = service_margins(request.viewer, found)
    products = gpu_hours(request.viewer, found)
    parts = bill_parts(request.viewer, found)
    if wants_file(request):
        return file_of_parts(request, found, services, products, parts)
    page = Paginator(found.tenants, 50).get_page(request.GET.get("page"))
    context: dict[str, Any] = {
        "found": found,
        "method": METHODS.get(found.method, ""),
        "other_method": OTHER_METHOD,
        "range": span,
        "currency": found.currency or "USD",
        "page": page,
        "tenants": [(m, charges_query(m.wanted), rows_of_tenant(m, found)) for m in page],
        "top": [
            (m, shown.margin_share(m), charges_query(m.wanted), rows_of_tenant(m, found))
            for m in found.tenants[:MOST_TOP]
        ],
        "sums": sums(found),
        "rows": compose(found.start, found.end),
        "fall": waterfall("bill", "Where the fleet's bill goes", steps, found.currency),
        "steps": [(step, behind(step, found)) for step in steps],
        "all_services": shown.all_services(services),
        "services": [(r, rows_of_service(r, found)) for r in services],
        "products": shown.products_shown(products, found),
        "all_products": shown.all_products(products, found),
        "parts": shown.parts_shown(parts, found),
        "units": unit_chart(services, found.currency),
        "lever": shown.largest_lever(products, found, span.query),
        "below": shown.below_cost(services, found.currency),
        "without_price": shown.without_price(services),
        "compare": shown.compare_query(found),
        "before": shown.span_before(found)[2],
        "last_day": found.end - timedelta(days=1),
        "net_share": share_of(found.margin, found.charged),
        "gross_share": share_of(found.charged - found.attributed, found.charged),
    }
    return render(request, "economics/index.html", context)


def file_of_sums(request: ViewerRequest, found: Economics, steps: Sequence[Step]) -> HttpResponse:
    if request.GET.get("of") == "bill":
        falls = ((s.kind, s.name, s.amount, s.left, found.currency) for s in steps)
        return download(request, "bill", BILL_COLUMNS, falls)
    rows = (
        (m.name, m.charged, m.cost, m.idle_share, m.overhead_share, m.other, m.gross,
         m.net, m.saved, found.currency)
        for m in found.tenants
    )  # fmt: skip
    return download(request, "economics", COLUMNS, rows)


def file_of_parts(
    request: ViewerRequest,
    found: Economics,
    services: Sequence[ServiceMargin],
    products: Sequence[ProductHours],
    parts: Sequence[BillPart],
) -> HttpResponse:
    """Of one table, named by `of`."""
    currency = found.currency
    tables = {
        "services": (shown.SERVICE_COLUMNS, shown.service_rows(services, currency)),
        "products": (shown.PRODUCT_COLUMNS, shown.product_rows(products, currency)),
        "parts": (shown.PART_COLUMNS, shown.part_rows(parts, found)),
    }
    of = request.GET["of"]
    if of not in tables:
        raise Invalid(of=f"There is no table {of[:20]!r} here: {', '.join(tables)}")
    return download(request, f"economics-{of}", *tables[of])


def rows_of_tenant(row: Margin, found: Economics) -> str:
    return compose(found.start, found.end, kind="tenant", tenant=row.name)


def rows_of_service(row: ServiceMargin, found: Economics) -> tuple[str, str]:
    """Addresses: of its charges by tenant, and of its shares of GPU time; empty: it has no name."""
    if not row.name:
        return "", ""
    of = compose(found.start, found.end, service=row.name)
    rows = compose(found.start, found.end, kind="tenant", model=row.name)
    return f"{reverse('economics_service')}?{of}", f"{reverse('economics_shares')}?{rows}"


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


@require_GET
def units(request: ViewerRequest) -> HttpResponse:
    """What a request and a million tokens cost, by tenant, by service or by release."""
    span = read_range(request.GET, timezone.now(), "now-7d")
    by = request.GET.get("by", "")
    by = by if by in UNIT_KINDS else TENANT
    if by == RELEASE:
        found = release_unit_costs(request.viewer, span.start, span.end)
    else:
        found = unit_costs(request.viewer, span.start, span.end, by=by)
    if wants_file(request):
        columns = ("release", *UNIT_COLUMNS) if by == RELEASE else UNIT_COLUMNS
        rows = (
            (*(getattr(row, name) for name in columns[:-1]), found.currency) for row in found.rows
        )
        return download(request, "unit-costs", columns, rows)
    context = {
        "found": found,
        "method": METHODS.get(found.method, ""),
        "range": span,
        "by": by,
        "kinds": UNIT_KINDS.items(),
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
    narrow = {name: request.GET.get(name, "") for name in ("release", "model", "product")}
    rows = queries.list_allocations(
        request.viewer, span.start, span.end, tenant_id=of, kind=kind, **narrow
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
        **narrow,
    }
    return render(request, "economics/shares.html", context)
