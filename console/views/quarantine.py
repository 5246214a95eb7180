"""Quarantine: what waits and why, asking to take, correct or drop it, and what was decided."""

import json
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from billing.actions import quarantine as actions
from billing.queries import quarantine as queries
from billing.queries.quarantine import QuarantineFilter
from billing.rules.quarantine import Kind, is_whole
from console.access import ViewerRequest
from console.downloads import download, wants_file
from console.filters import by_slug, number
from tenants.errors import Conflict, ConsoleError, Invalid
from tenants.queries.directory import source_names, tenant_refs
from tenants.rules.access import Permission

COLUMNS = (
    "id", "received_at", "tenant", "source", "event_id", "reason", "detail", "ended_at", "worker",
    "decision", "payload",
)  # fmt: skip
ITEM_COLUMNS = (
    "event_id", "tenant", "source", "reason", "detail", "outcome", "said", "sent_sha256",
    "corrected_sha256", "payload", "corrected",
)  # fmt: skip
DECISIONS = {"take": Kind.TAKE, "drop": Kind.DROP}

STATES = {
    "waiting": ("warn", "hourglass", "Waits for another person"),
    "done": ("ok", "circle-check", "Done"),
    "refused": ("mute", "ban", "Not done"),
}


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    """Newest first. `reason`, `tenant` and `source` narrow it."""
    request.viewer.require(Permission.VIEW_MONEY)
    refs, sources = tenant_refs(), source_names()
    wanted = read_filter(request.GET, sources)
    rows = queries.list_quarantine(request.viewer, wanted)
    slugs = {t.id: t.slug for t in refs.values()}
    if wants_file(request):
        found = (as_row(row, slugs, sources) for row in rows.iterator())
        return download(request, "quarantine", COLUMNS, found)
    page = Paginator(rows, 50).get_page(request.GET.get("page"))
    may_decide = request.viewer.may(Permission.MANAGE_MONEY)
    upto = rows.values_list("pk", flat=True).first() or 0
    open_ids = queries.undecided_ids(request.viewer, wanted, upto=upto, most=actions.MOST + 1)
    context = {
        "page": page,
        "rows": [(q, slugs.get(q.tenant_id or 0, ""), sources.get(q.source_id, "")) for q in page],
        "may_decide": may_decide,
        "hidden": {d: {"decision": d} for d in DECISIONS},
        "reasons": queries.REASONS,
        "tenants": sorted(slugs.values()),
        "sources": sorted(sources.values()),
        "reason": wanted.reason,
        "tenant": request.GET.get("tenant", ""),
        "source": request.GET.get("source", ""),
        "bulk": bulk_of(request, open_ids, upto) if may_decide else None,
        "decisions": queries.list_decisions(request.viewer)[:20],
    }
    return render(request, "quarantine/index.html", context)


def bulk_of(request: ViewerRequest, open_ids: list[int], upto: int) -> dict[str, Any] | None:
    """What one decision on all that the filter shows would name; None: too few or too many."""
    if not 1 < len(open_ids) <= actions.MOST:
        return None
    shown = {k: request.GET.get(k, "") for k in ("reason", "tenant", "source")}
    shown |= {"upto": str(upto), "events": str(len(open_ids))}
    return {"events": len(open_ids), **{d: {"decision": d, **shown} for d in DECISIONS}}


def read_filter(query: Any, sources: dict[int, str]) -> QuarantineFilter:
    tenant = by_slug(tenant_refs().values(), query.get("tenant", ""))
    reason, source = query.get("reason", ""), query.get("source", "")
    if reason and reason not in queries.REASONS:
        raise Invalid(reason=f"There is no reason {reason[:40]!r}")
    source_id = next((pk for pk, name in sources.items() if name == source), None)
    if source and source_id is None:
        raise Invalid(source=f"There is no usage source {source[:63]!r}")
    return QuarantineFilter(reason, tenant.id if tenant else None, source_id)


def as_row(row: Any, slugs: dict[int, str], sources: dict[int, str]) -> tuple[object, ...]:
    return (
        row.pk, row.received_at, slugs.get(row.tenant_id or 0, ""), sources.get(row.source_id, ""),
        row.event_id, row.reason, row.detail, row.ended_at, row.worker, row.decision_id,
        row.payload,
    )  # fmt: skip


@require_POST
def decide(request: ViewerRequest, row_id: int) -> HttpResponse:
    """Ask to take or drop one event: `decision`, and `why`."""
    return asked(request, [row_id])


@require_POST
def decide_shown(request: ViewerRequest) -> HttpResponse:
    """Ask for all that the filter showed: as many as `events` said, none that came later."""
    wanted = read_filter(request.POST, source_names())
    upto, count = number(request.POST, "upto") or 0, number(request.POST, "events")
    found = queries.undecided_ids(request.viewer, wanted, upto=upto, most=actions.MOST + 1)
    if len(found) != count:
        raise Conflict("What the filter shows has changed since you looked: look again")
    return asked(request, found)


def asked(request: ViewerRequest, row_ids: list[int]) -> HttpResponse:
    kind = DECISIONS.get(request.POST.get("decision", ""))
    if kind is None:
        raise Invalid(decision="Take it or drop it; nothing else is possible")
    why = request.POST.get("why", "")
    made = actions.ask(request.viewer, row_ids, kind=kind, why=why, now=timezone.now())
    messages.success(request, "Asked: another person decides under Approvals")
    return redirect("quarantine_decision", decision_id=made.pk)


@require_http_methods(["GET", "POST"])
def correct(request: ViewerRequest, row_id: int) -> HttpResponse:
    """Edit a copy of one event: `event` and `why`. The original stays as it came."""
    request.viewer.require(Permission.MANAGE_MONEY)
    row = queries.get_quarantined(request.viewer, row_id)
    whole = is_whole(row.payload, bytes(row.payload_sha))
    text = request.POST.get("event", indented(row.payload))
    faults: list[str] = []
    if request.method == "POST":
        try:
            made = actions.ask_to_correct(
                request.viewer, row_id, corrected=text, why=request.POST.get("why", ""),
                now=timezone.now(),
            )  # fmt: skip
        except ConsoleError as refusal:
            faults = [refusal.message]
        else:
            messages.success(request, "Asked: another person decides under Approvals")
            return redirect("quarantine_decision", decision_id=made.pk)
    context = {
        "row": row, "text": text, "faults": faults, "is_whole": whole,
        "why": request.POST.get("why", ""), "sha": bytes(row.payload_sha).hex(),
    }  # fmt: skip
    return render(request, "quarantine/correct.html", context, status=422 if faults else 200)


def indented(payload: str) -> str:
    """Easier to edit; what cannot be read stays as it is."""
    try:
        return json.dumps(json.loads(payload), indent=2, ensure_ascii=False)
    except ValueError:
        return payload


@require_GET
def decision(request: ViewerRequest, decision_id: int) -> HttpResponse:
    """What was asked, by whom, and what became of each event."""
    found = queries.get_decision(request.viewer, decision_id)
    items = queries.items_of(request.viewer, decision_id)
    slugs, sources = {t.id: t.slug for t in tenant_refs().values()}, source_names()
    if wants_file(request):
        rows = (as_item(item, slugs, sources) for item in items.iterator())
        return download(request, f"quarantine-{decision_id}", ITEM_COLUMNS, rows)
    page = Paginator(items, 50).get_page(request.GET.get("page"))
    context = {
        "found": found, "page": page, "state": STATES[found.state],
        "rows": [(i, *as_item(i, slugs, sources)[1:3], *digests(i)) for i in page],
    }  # fmt: skip
    return render(request, "quarantine/decision.html", context)


def digests(item: Any) -> tuple[str, str]:
    corrected = bytes(item.corrected_sha).hex() if item.corrected_sha else ""
    return bytes(item.payload_sha).hex(), corrected


def as_item(item: Any, slugs: dict[int, str], sources: dict[int, str]) -> tuple[object, ...]:
    return (
        item.event_id, slugs.get(item.tenant_id or 0, ""), sources.get(item.source_id, ""),
        item.reason, item.detail, item.outcome, item.said, *digests(item), item.payload,
        item.corrected,
    )  # fmt: skip
