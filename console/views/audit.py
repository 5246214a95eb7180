"""Evidence: who did what, when, why, with the state before and after."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.dateparse import parse_date
from django.views.decorators.http import require_GET

from console.access import ViewerRequest
from console.downloads import download, wants_file
from tenants.queries import audit as queries
from tenants.queries.tenants import tenants_by_id

TEXTS = ("actor", "verb", "target_kind", "target_id", "tenant", "search")
COLUMNS = (
    "id", "at", "actor", "via", "address", "credential", "verb", "target_kind", "target_id",
    "target_name", "tenant_id", "why", "before", "after", "request_id",
)  # fmt: skip
GROUPS = {
    "": "All", "tenant": "Tenants", "key": "Keys", "quota": "Quotas", "role": "Roles",
    "change": "Approvals", "rollout": "Rollouts", "price": "Prices",
}  # fmt: skip


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    """Filters: actor, verb, target_kind, target_id, tenant, search, since, until (days, UTC)."""
    viewer = request.viewer
    wanted = {name: request.GET.get(name, "").strip() for name in TEXTS}
    since, until = day(request, "since"), day(request, "until")
    found = queries.AuditFilter(
        **wanted, since=since, until=until + timedelta(days=1) if until else None
    )
    rows = queries.list_events(viewer, found)
    if wants_file(request):
        return download(request, "audit", COLUMNS, rows.values_list(*COLUMNS).iterator())
    page = Paginator(rows, 50).get_page(request.GET.get("page"))
    context = {
        "page": page,
        "names": names(request, page.object_list),
        "wanted": wanted,
        "days": {name: request.GET.get(name, "") for name in ("since", "until")},
        "narrowed": any(wanted.values()) or since or until,
        "groups": GROUPS.items(),
    }
    return render(request, "audit/index.html", context)


def day(request: ViewerRequest, name: str) -> Any:
    try:
        found = parse_date(request.GET.get(name, ""))
    except ValueError:
        return None
    if found is None:
        return None
    return datetime(found.year, found.month, found.day, tzinfo=UTC)


def names(request: ViewerRequest, events: Any) -> dict[int, str]:
    ids = [e.tenant_id for e in events if e.tenant_id]
    return {pk: t.slug for pk, t in tenants_by_id(request.viewer, ids).items()}


@require_GET
def show(request: ViewerRequest, event_id: int) -> HttpResponse:
    event = queries.get_event(request.viewer, event_id)
    context = {"event": event, "changes": changes(event.before, event.after)}
    context["tenant"] = names(request, [event]).get(event.tenant_id or 0, "")
    return render(request, "audit/show.html", context)


def changes(before: Any, after: Any) -> list[dict[str, Any]]:
    """Fields side by side, those that differ first."""
    old, new = before or {}, after or {}
    fields = [*new, *(name for name in old if name not in new)]
    rows = [
        {
            "field": name,
            "before": old.get(name),
            "after": new.get(name),
            "had": name in old,
            "has": name in new,
            "differs": old.get(name) != new.get(name),
        }
        for name in fields
    ]
    return sorted(rows, key=lambda row: not row["differs"])
