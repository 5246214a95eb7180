"""The rows behind a tenant's figures: charges, and the hours that they were rated from."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

from django.core.paginator import Paginator
from django.db.models import Sum
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from billing.queries import money as queries
from billing.queries import requests as usage_queries
from billing.queries.charged import ChargeFilter
from billing.queries.prefixes import list_reports
from billing.queries.requests import UsageFilter
from billing.rules.meters import Meter
from console.access import ViewerRequest
from console.downloads import download, wants_file
from console.filters import charges_query, number, requests_query
from console.ranges import read_range

CHARGE_COLUMNS = (
    "id", "hour", "application_id", "model", "traffic_class", "meter", "quantity", "unit_price",
    "amount", "currency", "book_version_id", "run_id", "runs_on",
)  # fmt: skip
PREFIX_COLUMNS = (
    "report_id", "started_at", "ended_at", "application_id", "model", "gib_hours", "source_id",
    "stored_at",
)  # fmt: skip
F = TypeVar("F", ChargeFilter, UsageFilter)


@require_GET
def charges(request: ViewerRequest, slug: str) -> HttpResponse:
    """The ledger's rows behind a figure. Their sum is the figure."""
    tenant = queries.find_tenant(request.viewer, slug)
    wanted = charge_filter(request, tenant.id)
    rows = queries.list_charges(request.viewer, wanted)
    if wants_file(request):
        values = rows.values_list(*CHARGE_COLUMNS).iterator()
        return download(request, f"charges-{slug}", CHARGE_COLUMNS, values)
    page = Paginator(rows, 100).get_page(request.GET.get("page"))
    names, meters = queries.names_of("application_id", ()), queries.names_of("meter", ())
    lines = [
        (c, names[c.application_id], meters[c.meter], usage_of(slug, within(wanted, c), c.meter))
        for c in page.object_list
    ]
    context = {
        "tenant": tenant, "wanted": wanted, "page": page, "lines": lines,
        "total": queries.total(wanted), "usage": usage_of(slug, wanted, wanted.meter),
        "application": names.get(wanted.application_id), "meter": meters.get(wanted.meter),
    }  # fmt: skip
    return render(request, "billing/charges.html", context)


def usage_of(slug: str, wanted: ChargeFilter, meter: str) -> str:
    """Where what was charged leads: to hours of requests, or to what was reported of prefixes."""
    page = "billing_prefixes" if meter == Meter.KEPT_PREFIX else "billing_hours"
    return f"{reverse(page, args=[slug])}?{charges_query(replace(wanted, meter=''))}"


def within(wanted: F, row: Any, **changes: Any) -> F:
    """The same filter, narrowed to one row of an hour: what the row was made from."""
    return replace(
        wanted,
        start=row.hour,
        end=row.hour + timedelta(hours=1),
        application_id=row.application_id,
        model=row.model,
        traffic_class=row.traffic_class,
        **changes,
    )


def charge_filter(request: ViewerRequest, tenant_id: int) -> ChargeFilter:
    span = read_range(request.GET, timezone.now(), "now-30d")
    return ChargeFilter(
        span.start,
        span.end,
        tenant_id=tenant_id,
        application_id=number(request.GET, "application"),
        model=request.GET.get("model", ""),
        traffic_class=request.GET.get("traffic_class", ""),
        meter=request.GET.get("meter", ""),
    )


@require_GET
def hours(request: ViewerRequest, slug: str) -> HttpResponse:
    """Usage by the hour: what charges were rated from, and what the requests add up to."""
    tenant = queries.find_tenant(request.viewer, slug)
    span = read_range(request.GET, timezone.now(), "now-24h")
    wanted = UsageFilter(
        span.start,
        span.end,
        tenant_id=tenant.id,
        application_id=number(request.GET, "application"),
        model=request.GET.get("model", ""),
        traffic_class=request.GET.get("traffic_class", ""),
        outcome=request.GET.get("outcome", ""),
    )
    rows = usage_queries.list_hours(request.viewer, wanted)
    columns = (
        "hour", "application_id", "model", "release", "traffic_class", "outcome", "requests",
        "prompt_tokens", "cached_tokens", "completion_tokens", "gpu_ms", "hosted", "gpu_product",
    )  # fmt: skip
    if wants_file(request):
        return download(request, f"hours-{slug}", columns, rows.values_list(*columns).iterator())
    page = Paginator(rows, 100).get_page(request.GET.get("page"))
    names = queries.names_of("application_id", ())
    lines = [
        (
            h,
            names.get(h.application_id, ""),
            requests_query(within(wanted, h, outcome=h.outcome, release=h.release), slug),
        )
        for h in page.object_list
    ]
    context = {
        "tenant": tenant, "page": page, "lines": lines, "range": span, "wanted": wanted,
        "application": names.get(wanted.application_id or 0),
    }  # fmt: skip
    return render(request, "billing/hours.html", context)


@require_GET
def prefixes(request: ViewerRequest, slug: str) -> HttpResponse:
    """What stores of prefixes reported: charges of the meter are sums of it, hour by hour."""
    tenant = queries.find_tenant(request.viewer, slug)
    wanted = charge_filter(request, tenant.id)
    rows = list_reports(request.viewer, wanted)
    if wants_file(request):
        values = rows.values_list(*PREFIX_COLUMNS).iterator()
        return download(request, f"prefixes-{slug}", PREFIX_COLUMNS, values)
    page = Paginator(rows, 100).get_page(request.GET.get("page"))
    names = queries.names_of("application_id", ())
    context = {
        "tenant": tenant, "wanted": wanted, "page": page,
        "lines": [(r, names.get(r.application_id, "")) for r in page.object_list],
        "total": rows.aggregate(s=Sum("gib_hours"))["s"] or 0,
        "charges": charges_query(replace(wanted, meter=Meter.KEPT_PREFIX.value)),
        "application": names.get(wanted.application_id or 0) if wanted.application_id else "",
    }  # fmt: skip
    return render(request, "billing/prefixes.html", context)
