"""The double-entry journal: legs behind each balance, and the transaction of each leg."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from billing.queries import journal as queries
from billing.queries.journal import LEG_COLUMNS, JournalFilter, leg_cells
from billing.queries.money import find_tenant
from billing.rules.journal import ACCOUNTS, KINDS
from billing.rules.ledger import TITLES
from console.access import ViewerRequest
from console.downloads import download, wants_file
from console.views.exports import tenant_ids
from tenants.errors import Invalid

BALANCE_COLUMNS = ("currency", "account", "debit", "credit", "balance")
FILTERS = ("tenant", "account", "kind", "document", "first", "last")


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    """Newest first. `tenant`, `account`, `kind`, `document`, `first` and `last` narrow it."""
    given = {name: request.GET.get(name, "").strip() for name in FILTERS}
    wanted = read_filter(request, given)
    names = tenant_ids(request)
    legs = queries.list_legs(request.viewer, wanted)
    trial = queries.trial_balance(request.viewer, wanted)
    if wants_file(request) and request.GET.get("part") == "balance":
        cells = ((x.currency, x.account, x.debit, x.credit, x.balance) for x in trial.lines)
        return download(request, "trial-balance", BALANCE_COLUMNS, cells)
    if wants_file(request):
        return download(request, "journal", LEG_COLUMNS, leg_cells(legs.iterator(), names))
    page = Paginator(legs, 50).get_page(request.GET.get("page"))
    context: dict[str, Any] = {
        "page": page,
        "legs": [(leg, names.get(leg.tenant_id, "")) for leg in page.object_list],
        "trial": trial,
        "totals": list(trial.totals.values()),
        "given": given,
        "is_narrow": any(given.values()),
        "accounts": [(name, TITLES[name]) for name in ACCOUNTS],
        "kinds": list(KINDS.items()),
    }
    return render(request, "journal/index.html", context)


def read_filter(request: ViewerRequest, given: dict[str, str]) -> JournalFilter:
    """What is none of its names finds nothing that it should: it is refused."""
    for name, known in (("account", ACCOUNTS), ("kind", tuple(KINDS))):
        if given[name] and given[name] not in known:
            raise Invalid(**{name: f"There is no {name} {given[name][:40]!r}"})
    tenant = find_tenant(request.viewer, given["tenant"]) if given["tenant"] else None
    last = day_of("last", given["last"])
    return JournalFilter(
        tenant_id=tenant.id if tenant else None,
        account=given["account"],
        kind=given["kind"],
        document=given["document"],
        start=day_of("first", given["first"]),
        end=last + timedelta(days=1) if last else None,
    )


def day_of(name: str, text: str) -> datetime | None:
    if not text:
        return None
    try:
        found = datetime.combine(date.fromisoformat(text), time(), UTC)
    except ValueError as error:
        raise Invalid(**{name: f"{text[:40]!r} is no day, as in 2026-11-30"}) from error
    if not 1970 <= found.year < 9999:
        raise Invalid(**{name: "Such a day is in no books"})
    return found


@require_GET
def show(request: ViewerRequest, txn_id: int) -> HttpResponse:
    """One transaction: its legs add up to zero, its document says why."""
    txn = queries.get_txn(request.viewer, txn_id)
    context = {
        "txn": txn,
        "kind": KINDS.get(txn.kind, txn.kind),
        "legs": [(leg, TITLES[leg.account]) for leg in txn.legs.order_by("id")],
        "tenant": tenant_ids(request).get(txn.tenant_id, ""),
        "invoice": queries.invoice_of(txn),
        "credit_note": queries.credit_note_of(txn),
    }
    return render(request, "journal/show.html", context)
