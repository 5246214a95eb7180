"""Runs of rating: what each was made from."""

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from billing.queries import runs as queries
from console.access import ViewerRequest
from console.downloads import download, wants_file

COLUMNS = (
    "id", "finished_at", "hours", "charges", "first_hour", "last_hour", "cut_off",
    "rules_version", "input_sha",
)  # fmt: skip
VERSION_COLUMNS = ("book", "version", "currency", "contract", "from", "until")


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    """Newest first."""
    rows = queries.list_runs(request.viewer)
    if wants_file(request):
        return download(request, "rating-runs", COLUMNS, rows.values_list(*COLUMNS).iterator())
    page = Paginator(rows, 50).get_page(request.GET.get("page"))
    return render(request, "runs/index.html", {"page": page})


@require_GET
def show(request: ViewerRequest, run_id: int) -> HttpResponse:
    run = queries.get_run(request.viewer, run_id)
    versions = queries.versions_of(request.viewer, run)
    if wants_file(request):
        cells = (
            (v.book, v.number, v.currency, v.tenant_id, v.starts_at, v.ends_at)
            for v in versions or ()
        )
        return download(request, f"rating-run-{run_id}", VERSION_COLUMNS, cells)
    return render(request, "runs/show.html", {"run": run, "versions": versions})
