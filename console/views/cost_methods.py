"""How cost is shared: what releases cost, the methods and from when each counts, the weights."""

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from billing.actions.cost_methods import choose_method
from billing.queries.cost_methods import list_choices, list_weights, read_choices
from billing.queries.release_margins import ReleaseMargin, ReleaseMargins, release_margins
from billing.rules.allocation import METHOD, METHODS
from billing.rules.token_work import LEAST_FIT, LEAST_SAMPLES, method_at
from console.access import ViewerRequest
from console.downloads import download, wants_file
from console.filters import compose
from console.forms import explain
from console.forms.cost_methods import MethodForm
from console.ranges import read_range
from tenants.errors import ConsoleError
from tenants.rules.access import Permission

RELEASE_COLUMNS = (
    "model", "release", "charged", "gpu_hours", "cost", "other", "margin", "ratio", "saved",
    "currency",
)  # fmt: skip
CHOICE_COLUMNS = ("method", "starts_at", "why", "chosen_at", "chosen_by")
WEIGHT_COLUMNS = (
    "release", "number", "starts_at", "prefill_ns", "decode_ns", "fit", "samples", "first_at",
    "last_at", "samples_sha", "usable", "why",
)  # fmt: skip


@require_GET
def releases(request: ViewerRequest) -> HttpResponse:
    """Charged and caused by release, of the whole UTC days that the range touches."""
    span = read_range(request.GET, timezone.now(), "now-7d")
    found = release_margins(request.viewer, span.start, span.end)
    if wants_file(request):
        rows = (
            (*(getattr(row, name) for name in RELEASE_COLUMNS[:-1]), found.known.currency)
            for row in found.rows
        )
        return download(request, "releases", RELEASE_COLUMNS, rows)
    page = Paginator(found.rows, 50).get_page(request.GET.get("page"))
    context = {
        "found": found,
        "known": found.known,
        "currency": found.known.currency or "USD",
        "range": span,
        "page": page,
        "rows": [(row, behind(row, found)) for row in page],
    }
    return render(request, "economics/releases.html", context)


def behind(row: ReleaseMargin, found: ReleaseMargins) -> str:
    """What to put behind `?` for the shares that make the cost; empty: its release is not known."""
    if not row.release:
        return ""
    return compose(found.known.start, found.known.end, kind="tenant", release=row.release)


@require_http_methods(["GET", "POST"])
def methods(request: ViewerRequest) -> HttpResponse:
    now = timezone.now()
    request.viewer.require(Permission.VIEW_MONEY)
    form = MethodForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            made = choose_method(request.viewer, **form.cleaned_data, now=now)
        except ConsoleError as refusal:
            explain(form, refusal)
        else:
            messages.success(request, f"{made.method} counts from {made.starts_at:%d %b %H:%M} UTC")
            return redirect("economics_methods")
    choices, weights = list_choices(request.viewer), list_weights(request.viewer)
    if wants_file(request):
        if request.GET.get("of") == "choices":
            return download(
                request, "methods", CHOICE_COLUMNS, choices.values_list(*CHOICE_COLUMNS)
            )
        return download(request, "weights", WEIGHT_COLUMNS, weights.values_list(*WEIGHT_COLUMNS))
    context: dict[str, Any] = {
        "form": form,
        "may_manage": request.viewer.may(Permission.MANAGE_MONEY),
        "choices": choices[:50],
        "page": Paginator(weights, 50).get_page(request.GET.get("page")),
        "method": method_at(read_choices(), now, METHOD),
        "usual": METHOD,
        "methods": METHODS.items(),
        "least_samples": LEAST_SAMPLES,
        "least_fit": LEAST_FIT,
    }
    status = 422 if form.errors else 200
    return render(request, "economics/methods.html", context, status=status)
