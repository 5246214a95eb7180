"""Billing confidence: each hour of each service, and the tenants behind an hour."""

from datetime import datetime

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from billing.queries import confidence as queries
from billing.queries.confidence import HOUR
from billing.rules.confidence import TOLERATED, HourCompared
from console.access import ViewerRequest
from console.downloads import download, wants_file
from console.filters import by_slug, compose
from console.ranges import read_range
from fleet.queries.services import service_names
from tenants.errors import Invalid
from tenants.queries.directory import tenant_refs

COLUMNS = (
    "hour", "service", "metered", "counted", "engines", "drift", "state", "of_tenant", "figure",
    "why", "estimated", "sent", "missing", "quarantined", "spool_events", "spool_oldest_seconds",
)  # fmt: skip
SHOWN = {"": "All hours", "1": "Off or unknown"}


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    """`service`, `tenant` and `off` narrow it; `hour` with `service` opens the tenants of one."""
    span = read_range(request.GET, timezone.now(), "now-24h")
    names = service_names(request.viewer)
    service = next((pk for pk, name in names.items() if name == request.GET.get("service")), None)
    refs = tenant_refs().values()
    tenant = by_slug(refs, request.GET.get("tenant", ""))
    found = queries.compare_hours(
        request.viewer, span.start, span.end, service_id=service,
        tenant_id=tenant.id if tenant else None, is_off=bool(request.GET.get("off")),
    )  # fmt: skip
    if wants_file(request):
        rows = (as_row(h, names) for h in found)
        return download(request, "confidence", COLUMNS, rows)
    page = Paginator(found, 100).get_page(request.GET.get("page"))
    context = {
        "page": page, "range": span, "tenant": tenant, "tolerated": TOLERATED,
        "lines": [(h, names.get(h.service_id, ""), f"{h.hour:%Y-%m-%dT%H:00Z}") for h in page],
        "services": sorted(names.values()), "service": names.get(service or 0, ""),
        "tenants": sorted(t.slug for t in refs),
        "off": request.GET.get("off", ""), "shown": SHOWN.items(),
        "of_states": {s: sum(h.state == s for h in found) for s in ("off", "unknown")},
        "worst": min((h.figure for h in found if h.figure is not None), default=None),
        "hour": opened(request, service),
    }  # fmt: skip
    return render(request, "economics/confidence.html", context)


def as_row(found: HourCompared, names: dict[int, str]) -> tuple[object, ...]:
    return (
        found.hour.isoformat(), names.get(found.service_id, ""), found.metered, found.counted,
        found.engines, found.drift, found.state, found.theirs, found.figure, found.why,
        found.estimated, found.sent, found.missing, found.quarantined, found.waiting,
        found.oldest_seconds,
    )  # fmt: skip


def opened(request: ViewerRequest, service_id: int | None) -> dict[str, object] | None:
    text = request.GET.get("hour", "")
    if not text or service_id is None:
        return None
    try:
        hour = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(hour="Write the hour as in 2026-11-20T12:00Z") from None
    if hour.tzinfo is None:
        raise Invalid(hour="Write the hour with its zone, as in 2026-11-20T12:00Z")
    slugs = {t.id: t.slug for t in tenant_refs().values()}
    parts = queries.tenants_of_hour(request.viewer, hour, service_id)
    metered = sum(part.tokens for part in parts)
    rows = [
        (
            part,
            slug := slugs.get(part.tenant_id, ""),
            part.tokens / metered if metered else None,
            compose(hour, hour + HOUR, tenant=slug, model=part.model),
        )
        for part in parts
    ]
    return {"at": hour, "rows": rows, "metered": metered}
