"""What an hour of a GPU costs us: sheets, their lines and parts, drafts, proposals, previews."""

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from billing.actions import node_prices as actions
from billing.actions import sheet_publication
from billing.queries import node_prices as queries
from billing.queries.node_prices import LineChange, Sheet
from billing.queries.sheet_preview import preview_sheet
from billing.rules.node_prices import NODE_METHOD
from console.access import ViewerRequest
from console.downloads import download, wants_file
from console.forms import explain
from console.forms.money import ProposeForm
from console.forms.node_prices import SheetForm
from console.views.prices import next_hour
from tenants.errors import ConsoleError, NotFound
from tenants.rules.access import Permission

EXAMPLE = """NVIDIA-H100-80GB-HBM3, on_demand, hourly=3.90
NVIDIA-H100-80GB-HBM3, spot, hourly=1.60, capacity=spot"""
SHEETS = ("number", "state", "starts_at", "ends_at", "currency", "created_by", "why")
LINES = (
    *("product", "kind", "cluster", "node_pool", "capacity", "terms", "hourly", "parts"),
    *("hourly_before", "change"),
)
PREVIEW = (
    *("cluster", "node_pool", "capacity", "product", "gpu_hours", "old", "new", "difference"),
    "unpriced_ms",
)


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    """Newest first, and the nodes that they are for."""
    now, viewer = timezone.now(), request.viewer
    rows = queries.list_sheets(viewer)
    if wants_file(request):
        found = (queries.shown(row, now) for row in rows)
        return download(
            request, "node-prices", SHEETS, ([getattr(s, n) for n in SHEETS] for s in found)
        )
    page = Paginator(rows, 50).get_page(request.GET.get("page"))
    context = {
        "page": page,
        "sheets": [queries.shown(row, now) for row in page],
        "current": queries.current_sheet(viewer, now=now),
        "seen": queries.seen_nodes(viewer, now=now),
        "may_manage": viewer.may(Permission.MANAGE_MONEY),
    }
    return render(request, "economics/node_prices.html", context)


@require_GET
def show(request: ViewerRequest, number: int) -> HttpResponse:
    """One sheet beside another, by default the one that holds now."""
    sheet = get_sheet(request, number)
    if wants_file(request):
        rows = queries.line_changes(compared_to(request, sheet), sheet)
        return download(request, f"node-prices-{number}", LINES, map(line_row, rows))
    form = ProposeForm(initial={"version": sheet.version, "starts_at": next_hour()}, contract=False)
    return shown_sheet(request, sheet, form)


def shown_sheet(
    request: ViewerRequest, sheet: Sheet, form: ProposeForm, status: int = 200
) -> HttpResponse:
    viewer = request.viewer
    compared = compared_to(request, sheet)
    proposal = queries.proposal_of(viewer, sheet)
    numbers = queries.list_sheets(viewer).exclude(number=sheet.number)[:8]
    context: dict[str, Any] = {
        "sheet": sheet,
        "compared": compared,
        "others": [row.number for row in numbers],
        "rows": queries.line_changes(compared, sheet),
        "form": form,
        "proposal": proposal,
        "is_mine": proposal is not None and proposal.requester_id == viewer.user_id,
        "may_decide": viewer.may(Permission.VIEW_FLEET),
        "may_edit": sheet.state == "draft" and viewer.may(Permission.MANAGE_MONEY),
        "method": NODE_METHOD,
    }
    return render(request, "economics/node_sheet.html", context, status=status)


def line_row(change: LineChange) -> list[Any]:
    line, will, was = change.line, change.will, change.was
    either = will or was
    rate = either.rate if either else None
    return [
        line.product, line.kind.value, line.cluster, line.node_pool, line.capacity, line.text,
        will.rate.hourly if will else None,
        " ".join(f"{name}={part:f}" for name, part in rate.parts) if rate else "",
        was.rate.hourly if was else None, change.change,
    ]  # fmt: skip


def compared_to(request: ViewerRequest, sheet: Sheet) -> Sheet | None:
    wanted = request.GET.get("with", "")
    if wanted:
        if not wanted.isascii() or not wanted.isdigit() or len(wanted) > 9:
            raise NotFound(f"There is no sheet {wanted[:20]} of GPU prices")
        return get_sheet(request, int(wanted))
    current = queries.current_sheet(request.viewer, now=timezone.now())
    return current if current and current.number != sheet.number else None


def get_sheet(request: ViewerRequest, number: int) -> Sheet:
    return queries.get_sheet(request.viewer, number, now=timezone.now())


@require_GET
def previewed(request: ViewerRequest, number: int) -> HttpResponse:
    """What a sheet would have made of last month's GPU time."""
    sheet = get_sheet(request, number)
    found = preview_sheet(request.viewer, sheet, now=timezone.now())
    if wants_file(request):
        rows = ([getattr(line, n) for n in (*PREVIEW[:-1], "unpriced")] for line in found.lines)
        return download(request, f"node-prices-{number}-{found.month}", PREVIEW, rows)
    return render(request, "economics/node_preview.html", {"sheet": sheet, "found": found})


@require_http_methods(["GET", "POST"])
def draft(request: ViewerRequest) -> HttpResponse:
    """Write a new sheet, beginning with the one that holds now."""
    request.viewer.require(Permission.MANAGE_MONEY)
    start = queries.current_sheet(request.viewer, now=timezone.now())
    initial = {
        "version": 0,
        "currency": start.currency if start else "USD",
        "lines": as_lines(start) if start else EXAMPLE,
    }
    return written(request, initial, None)


@require_http_methods(["GET", "POST"])
def edit(request: ViewerRequest, number: int) -> HttpResponse:
    """Write a draft anew."""
    request.viewer.require(Permission.MANAGE_MONEY)
    sheet = get_sheet(request, number)
    initial = {
        "version": sheet.version,
        "currency": sheet.currency,
        "lines": as_lines(sheet),
        "why": sheet.why,
    }
    return written(request, initial, number)


def as_lines(sheet: Sheet) -> str:
    return "\n".join(one.line.text for one in sheet.lines)


def written(request: ViewerRequest, initial: dict[str, Any], number: int | None) -> HttpResponse:
    form = SheetForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        given = dict(form.cleaned_data)
        expected = given.pop("version")
        try:
            if number is None:
                made = actions.draft_sheet(request.viewer, **given)
            else:
                made = actions.edit_sheet(request.viewer, number, expected=expected, **given)
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, f"Draft {made.number} is kept. It holds once published.")
            return redirect("node_prices", number=made.number)
    status = 422 if form.errors else 200
    return render(
        request, "economics/node_draft.html", {"form": form, "number": number}, status=status
    )


@require_POST
def propose(request: ViewerRequest, number: int) -> HttpResponse:
    """Ask an approver to let a draft hold."""
    request.viewer.require(Permission.MANAGE_MONEY)
    sheet = get_sheet(request, number)
    form = ProposeForm(request.POST, contract=False)
    if form.is_valid():
        given = form.cleaned_data
        try:
            sheet_publication.propose_sheet(
                request.viewer, number, starts_at=given["starts_at"], now=timezone.now(),
                why=given["why"], expected=given["version"],
            )  # fmt: skip
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, f"Sheet {number} waits for somebody else to approve it")
            return redirect("node_prices", number=number)
    return shown_sheet(request, sheet, form, status=422)
