"""Prices: books, contracts, their versions, drafts, preview, proposals; usage without a price."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from billing.actions import contracts, publication
from billing.actions import prices as actions
from billing.actions.previews import request_preview
from billing.queries import money, node_prices, preview
from billing.queries import prices as queries
from billing.queries.charged import ChargeFilter
from billing.queries.prices import BookOut, VersionOut
from billing.rules.prices import ON
from console.access import ViewerRequest
from console.downloads import wants_file
from console.forms import explain
from console.forms.money import ANY, ContractForm, DraftForm, ProposeForm
from console.views.price_files import index_file, version_file
from tenants.errors import ConsoleError, NotFound
from tenants.queries.directory import tenant_refs
from tenants.rules.access import Permission

LOOK_BACK = timedelta(days=62)


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    now = timezone.now()
    viewer = request.viewer
    books = [queries.get_book(viewer, b.slug, now=now) for b in queries.list_books(viewer)]
    books.sort(key=lambda b: (b.tenant_id is not None, b.slug))
    fleet = viewer.may(Permission.VIEW_MONEY)
    unpriced = []
    if fleet:
        names = {t.id: t.slug for t in tenant_refs().values()}
        rows = money.list_unpriced(viewer, ChargeFilter(now - LOOK_BACK, now))[:50]
        unpriced = [(names.get(r.tenant_id, ""), r) for r in rows]
    sheets = list(node_prices.list_published(viewer)[:5]) if fleet else []
    if wants_file(request):
        return index_file(request, books, unpriced, sheets)
    context = {
        "books": books,
        "unpriced": unpriced,
        "sheets": sheets,
        "may_manage": viewer.may(Permission.MANAGE_MONEY),
    }
    return render(request, "prices/index.html", context)


@require_GET
def version(request: ViewerRequest, slug: str, number: int) -> HttpResponse:
    """One version beside another, by default the one that holds now: what it would change."""
    book = get_book(request, slug)
    if wants_file(request):
        shown = book.find(number)
        return version_file(request, book, compared_to(request, book, shown), shown)
    form = ProposeForm(
        initial={"version": book.version, "starts_at": next_hour()},
        contract=book.tenant_id is not None,
    )
    return shown_version(request, book, book.find(number), form)


def shown_version(
    request: ViewerRequest, book: BookOut, shown: VersionOut, form: ProposeForm, status: int = 200
) -> HttpResponse:
    compared = compared_to(request, book, shown)
    manages = request.viewer.may(Permission.MANAGE_MONEY)
    proposal = queries.proposal_of(request.viewer, shown)
    context: dict[str, Any] = {
        "book": book,
        "shown": shown,
        "compared": compared,
        "others": [v for v in book.versions if v.number != shown.number],
        "rows": queries.differences(compared, shown),
        "form": form,
        "proposal": proposal,
        "asked": asked_range(proposal.payload if proposal else {}),
        "is_mine": proposal is not None and proposal.requester_id == request.viewer.user_id,
        "may_decide": request.viewer.may(Permission.VIEW_FLEET),
        "may_edit": shown.state == "draft" and manages,
        "may_preview": request.viewer.may(Permission.VIEW_MONEY),
    }
    return render(request, "prices/version.html", context, status=status)


def asked_range(payload: Mapping[str, Any]) -> tuple[datetime | None, datetime | None]:
    """From when to when a proposal wants its prices to hold."""
    start, end = (payload.get(name) for name in ("starts_at", "ends_at"))
    return (
        datetime.fromisoformat(start) if start else None,
        datetime.fromisoformat(end) if end else None,
    )


def compared_to(request: ViewerRequest, book: BookOut, shown: VersionOut) -> VersionOut | None:
    wanted = request.GET.get("with", "")
    if wanted:
        if not wanted.isascii() or not wanted.isdigit() or len(wanted) > 9:
            raise NotFound(f"The book {book.slug} has no version {wanted[:20]}")
        return book.find(int(wanted))
    return book.current if book.current and book.current.number != shown.number else None


@require_http_methods(["GET", "HEAD", "POST"])
def previewed(request: ViewerRequest, slug: str, number: int) -> HttpResponse:
    """What a version would have made of last month, tenant by tenant."""
    book = get_book(request, slug)
    shown, now = book.find(number), timezone.now()
    if request.method == "POST":
        request_preview(request.viewer, slug, number, now=now)
        return redirect("price_preview", slug, number)
    found = preview.find_preview(request.viewer, slug, number, now=now)
    context = {"book": book, "shown": shown, "found": found}
    return render(request, "prices/preview.html", context)


def get_book(request: ViewerRequest, slug: str) -> BookOut:
    return queries.get_book(request.viewer, slug, now=timezone.now())


def next_hour() -> str:
    hour = timezone.now().replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    return f"{hour:%Y-%m-%dT%H:%M}"


@require_http_methods(["GET", "POST"])
def draft(request: ViewerRequest, slug: str) -> HttpResponse:
    """Write a new version, beginning with the prices that hold now."""
    request.viewer.require(Permission.MANAGE_MONEY)
    book = get_book(request, slug)
    start = book.current or (book.versions[0] if book.versions else None)
    initial = {"version": book.version, "lines": as_lines(book, start)}
    return written(request, book, initial, None)


@require_http_methods(["GET", "POST"])
def edit(request: ViewerRequest, slug: str, number: int) -> HttpResponse:
    """Write a draft anew."""
    request.viewer.require(Permission.MANAGE_MONEY)
    book = get_book(request, slug)
    shown = book.find(number)
    initial = {"version": book.version, "lines": as_lines(book, shown), "why": shown.why}
    return written(request, book, initial, number)


def written(
    request: ViewerRequest, book: BookOut, initial: dict[str, Any], number: int | None
) -> HttpResponse:
    form = DraftForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        lines = {
            "prices": given["lines"], "why": given["why"], "expected": given["version"],
        }  # fmt: skip
        try:
            if number is None:
                made = actions.draft_version(request.viewer, book.slug, **lines)
            else:
                made = actions.edit_draft(request.viewer, book.slug, number, **lines)
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, f"Draft v{made.number} is kept. It holds once published.")
            return redirect("price_version", slug=book.slug, number=made.number)
    status = 422 if form.errors else 200
    context = {"form": form, "book": book, "number": number}
    return render(request, "prices/draft.html", context, status=status)


def as_lines(book: BookOut, version: VersionOut | None) -> str:
    if version is None and book.tenant_id is not None:
        return "*, *, factor 0.9"
    if version is None:
        return "chat-large, prompt, 0.50\nchat-large, cached, 0.10\nchat-large, completion, 1.50"
    rows = (
        [p.model or ANY, p.meter or ANY, p.text, p.traffic_class, p.runs_on and f"{ON}{p.runs_on}"]
        for p in version.prices
    )
    return "\n".join(", ".join(cell for cell in row if cell) for row in rows)


@require_http_methods(["POST"])
def propose(request: ViewerRequest, slug: str, number: int) -> HttpResponse:
    """Ask an approver to let a draft hold."""
    request.viewer.require(Permission.MANAGE_MONEY)
    book = get_book(request, slug)
    shown = book.find(number)
    form = ProposeForm(request.POST, contract=book.tenant_id is not None)
    if form.is_valid():
        given = form.cleaned_data
        try:
            publication.propose_version(
                request.viewer, slug, number, starts_at=given["starts_at"],
                ends_at=given.get("ends_at"), now=timezone.now(), why=given["why"],
                expected=given["version"],
            )  # fmt: skip
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, f"v{number} waits for somebody else to approve it")
            return redirect("price_version", slug=slug, number=number)
    return shown_version(request, book, shown, form, status=422)


@require_http_methods(["GET", "POST"])
def contract(request: ViewerRequest) -> HttpResponse:
    """Open the contract of a tenant."""
    request.viewer.require(Permission.MANAGE_MONEY)
    tenants = {t.slug: t for t in sorted(tenant_refs().values(), key=lambda t: t.slug)}
    form = ContractForm(request.POST or None, tenants=[(slug, slug) for slug in tenants])
    if request.method == "POST" and form.is_valid():
        try:
            book = contracts.create_contract(request.viewer, tenants[form.cleaned_data["tenant"]])
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, f"{book.name} is open: write down what was agreed")
            return redirect("price_draft", slug=book.slug)
    status = 422 if form.errors else 200
    return render(request, "prices/contract.html", {"form": form}, status=status)
