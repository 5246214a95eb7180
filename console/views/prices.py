"""Prices: books, their versions, drafts and publication, and usage that no price covers."""

from datetime import timedelta
from decimal import Decimal

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from billing.actions import prices as actions
from billing.queries import economics as cost_queries
from billing.queries import money
from billing.queries import prices as queries
from billing.queries.charged import ChargeFilter
from billing.queries.prices import BookOut, VersionOut
from console.access import ViewerRequest
from console.forms import explain
from console.forms.money import DraftForm, PublishForm
from tenants.errors import ConsoleError, NotFound
from tenants.queries.directory import tenant_refs
from tenants.rules.access import Permission

LOOK_BACK = timedelta(days=62)
Priced = tuple[str, str, str]


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    now = timezone.now()
    viewer = request.viewer
    books = [queries.get_book(viewer, b.slug, now=now) for b in queries.list_books(viewer)]
    fleet = viewer.may(Permission.VIEW_MONEY)
    unpriced = []
    if fleet:
        names = {t.id: t.slug for t in tenant_refs().values()}
        rows = money.list_unpriced(viewer, ChargeFilter(now - LOOK_BACK, now))[:50]
        unpriced = [(names.get(r.tenant_id, ""), r) for r in rows]
    context = {
        "books": books,
        "unpriced": unpriced,
        "sheets": list(cost_queries.list_gpu_prices(viewer)[:5]) if fleet else [],
        "may_manage": viewer.may(Permission.MANAGE_MONEY),
    }
    return render(request, "prices/index.html", context)


@require_GET
def version(request: ViewerRequest, slug: str, number: int) -> HttpResponse:
    """One version beside the one that holds now: what it would change."""
    book, shown = find(request, slug, number)
    compared = book.current if book.current and book.current.number != number else None
    form = PublishForm(initial={"version": book.version, "starts_at": next_hour()})
    context = {
        "book": book,
        "shown": shown,
        "compared": compared,
        "rows": differences(compared, shown),
        "form": form,
        "may_publish": shown.state == "draft" and request.viewer.may(Permission.MANAGE_MONEY),
    }
    return render(request, "prices/version.html", context)


def find(request: ViewerRequest, slug: str, number: int) -> tuple[BookOut, VersionOut]:
    book = queries.get_book(request.viewer, slug, now=timezone.now())
    shown = next((v for v in book.versions if v.number == number), None)
    if shown is None:
        raise NotFound(f"The book {slug} has no version {number}")
    return book, shown


def next_hour() -> str:
    hour = timezone.now().replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    return f"{hour:%Y-%m-%dT%H:%M}"


def differences(
    old: VersionOut | None, new: VersionOut
) -> list[tuple[Priced, str, Decimal | None, Decimal | None]]:
    """Each price with what it was and will be; None where one of them has no such price."""
    before = {(p.model, p.label, p.traffic_class): p for p in old.prices} if old else {}
    after = {(p.model, p.label, p.traffic_class): p for p in new.prices}
    rows = []
    for key in [*after, *(k for k in before if k not in after)]:
        was, will = before.get(key), after.get(key)
        either = will or was
        assert either is not None
        rows.append((key, either.per, was.price if was else None, will.price if will else None))
    return rows


@require_http_methods(["GET", "POST"])
def draft(request: ViewerRequest, slug: str) -> HttpResponse:
    """Write a new version, beginning with the prices that hold now."""
    request.viewer.require(Permission.MANAGE_MONEY)
    book = queries.get_book(request.viewer, slug, now=timezone.now())
    start = book.current or (book.versions[0] if book.versions else None)
    initial = {"version": book.version, "lines": as_lines(start)}
    form = DraftForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            made = actions.draft_version(
                request.viewer, slug, prices=given["lines"], why=given["why"],
                expected=given["version"],
            )  # fmt: skip
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, f"Draft v{made.number} is kept. It holds once published.")
            return redirect("price_version", slug=slug, number=made.number)
    status = 422 if form.errors else 200
    return render(request, "prices/draft.html", {"form": form, "book": book}, status=status)


def as_lines(version: VersionOut | None) -> str:
    if version is None:
        return "chat-large, prompt, 0.50\nchat-large, cached, 0.10\nchat-large, completion, 1.50"
    rows = ([p.model, p.meter, f"{p.price:f}", p.traffic_class] for p in version.prices)
    return "\n".join(", ".join(cell for cell in row if cell) for row in rows)


@require_http_methods(["POST"])
def publish(request: ViewerRequest, slug: str, number: int) -> HttpResponse:
    request.viewer.require(Permission.MANAGE_MONEY)
    book, shown = find(request, slug, number)
    form = PublishForm(request.POST)
    if form.is_valid():
        given = form.cleaned_data
        try:
            actions.publish_version(
                request.viewer, slug, number, starts_at=given["starts_at"], now=timezone.now(),
                why=given["why"], expected=given["version"],
            )  # fmt: skip
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, f"v{number} holds from {given['starts_at']:%d %b %H:%M} UTC")
            return redirect("prices")
    context = {
        "book": book, "shown": shown, "compared": book.current, "form": form,
        "rows": differences(book.current, shown), "may_publish": shown.state == "draft",
    }  # fmt: skip
    return render(request, "prices/version.html", context, status=422)
