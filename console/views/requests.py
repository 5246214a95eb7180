"""Requests: find them, and follow one from admission to its charge. Never a prompt's text."""

from dataclasses import astuple, dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from billing.queries import requests as queries
from billing.queries.requests import RequestDetail, RequestRow, UsageFilter
from billing.queries.retention import Gone, what_was_dropped
from billing.rules.request_ids import likely_span
from console.access import ViewerRequest
from console.charts import OUTCOMES, outcome_name
from console.downloads import MOST, download, wants_file
from console.filters import by_slug, charges_query, number, requests_query
from console.ranges import TimeRange, read_range
from gateway.contract.outcomes import TrafficClass
from gateway.contract.usage import waking_ms
from tenants.queries.directory import tenant_refs
from tenants.rules.access import Permission

TEXTS = ("model", "release", "traffic_class", "outcome", "reason", "request_id")
VIEWS = {"": "All", "trouble": "Not served"} | {o: outcome_name(o) for o in OUTCOMES}
COLUMNS = tuple(f.name for f in fields(RequestRow))
EVER = timedelta(days=400)


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a request's time, as a share of the whole for the bar."""

    name: str
    fill: str
    ms: float
    says: str


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    """Filters: tenant, application (id), model, release, class, outcome, reason, request id."""
    now = timezone.now()
    span = read_range(request.GET, now)
    wanted = read_filter(request, span, now)
    if wants_file(request):
        page = queries.request_page(request.viewer, wanted, limit=MOST)
        return download(request, "requests", COLUMNS, (astuple(row) for row in page.rows))
    page = queries.request_page(request.viewer, wanted, cursor=request.GET.get("before", ""))
    given = {name: request.GET.get(name, "") for name in (*TEXTS, "tenant", "application")}
    context = {
        "page": page,
        "dropped": dropped_of(request, wanted),
        "given": given,
        "range": span,
        "narrowed": any(given.values()),
        "views": VIEWS.items(),
        "classes": [c.value for c in TrafficClass],
        "tenants": sorted(t.slug for t in tenant_refs().values()),
        "wider": urlencode({k: v for k, v in given.items() if v} | {"from": "now-7d"}),
    }
    return render(request, "requests/index.html", context)


def read_filter(request: ViewerRequest, span: TimeRange, now: datetime) -> UsageFilter:
    """A request id is looked for in all time: who pastes one does not know when it was."""
    given = {name: request.GET.get(name, "").strip() for name in TEXTS}
    tenant = by_slug(tenant_refs().values(), request.GET.get("tenant", ""))
    wanted = UsageFilter(
        span.start,
        span.end,
        tenant_id=tenant.id if tenant else None,
        application_id=number(request.GET, "application"),
        service_id=number(request.GET, "service"),
        **given,
    )
    return replace(wanted, start=now - EVER, end=now + EVER) if given["request_id"] else wanted


def dropped_of(request: ViewerRequest, wanted: UsageFilter) -> list[Gone]:
    """What the list cannot have any more. Of an id: of the time that it says."""
    span: tuple[datetime, datetime] | None = wanted.start, wanted.end
    if wanted.request_id:
        span = likely_span(queries.parse_id(wanted.request_id))
    return what_was_dropped(request.viewer, *span, wanted.tenant_id) if span else []


@require_GET
def show(request: ViewerRequest, request_id: UUID) -> HttpResponse:
    found = queries.get_request(request.viewer, str(request_id))
    context: dict[str, Any] = {
        "detail": found,
        "row": found.row,
        "event": found.event,
        "parts": parts_of(found.row, waking_ms(found.event["modifiers"]) or 0.0),
        "charges": charges_query(found.charges),
        "siblings": requests_query(found.siblings, found.row.tenant),
        "may_money": request.viewer.may(Permission.VIEW_MONEY, found.row.tenant_id),
        "versions": versions_of(found),
    }
    return render(request, "requests/show.html", context)


def parts_of(row: RequestRow, waking: float) -> list[Part]:
    """Where the time went. They add up to the whole request."""
    queue = row.queue_ms or 0.0
    first = max((row.ttft_ms or 0.0) - queue - waking, 0.0)
    rest = max(row.total_ms - queue - first - waking, 0.0)
    slept = Part("Waited while the service woke", "idle", waking, "it slept at 0 replicas")
    return [
        *([slept] if waking else []),
        Part("Waited in the gateway", "idle", queue, "for a seat in the pool"),
        Part("To the first token", "load", first, "prefill in the engine and the way there"),
        Part("The rest of the answer", "used", rest, "tokens after the first"),
    ]


def versions_of(found: RequestDetail) -> list[tuple[str, object]]:
    event = found.event
    return [
        ("Policy", f"v{event['policy_version']}"),
        ("Routing", f"v{event['routing_version']}"),
        ("Price", f"v{event['price_version']}" if event["price_version"] else "none held"),
        ("Quotas", ", ".join(f"v{v}" for v in event["limit_versions"]) or "none applied"),
        ("Release", event["release"] or "none answered"),
        ("Gateway worker", event["worker"]),
    ]
