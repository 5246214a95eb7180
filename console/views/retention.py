"""Parts of requests: since when each may go or why not, and what was dropped, with its digest."""

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from billing.queries import retention as queries
from billing.queries.retention import PartState
from console.access import ViewerRequest
from console.downloads import download, wants_file

PART_COLUMNS = (
    "part", "starts_at", "ends_at", "requests", "bytes", "may_go_from", "kept_by", "file",
    "file_sha256",
)  # fmt: skip
DROPPED_COLUMNS = (
    "part", "starts_at", "ends_at", "requests", "prompt_tokens", "cached_tokens",
    "completion_tokens", "gpu_ms", "bytes", "sha256", "rule", "dropped_at", "file", "file_sha256",
)  # fmt: skip
MOST_SHOWN = 400


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    """`list` is empty for the parts that are there, or `dropped`."""
    now = timezone.now()
    dropped = queries.list_dropped(request.viewer)
    gone = request.GET.get("list") == "dropped"
    if wants_file(request) and gone:
        rows = dropped.values_list(*DROPPED_COLUMNS)
        return download(request, "dropped-requests", DROPPED_COLUMNS, rows.iterator())
    parts = queries.list_parts(request.viewer, now)
    if wants_file(request):
        return download(request, "parts-of-requests", PART_COLUMNS, map(as_row, parts))
    context = {
        "gone": gone,
        "parts": [(part, part.is_due(now), part.ends_at <= now) for part in parts],
        "dropped": dropped[:MOST_SHOWN] if gone else (),
        "dropped_count": dropped.count(),
        "most": MOST_SHOWN,
        "default": queries.default_days(),
        "months": settings.QM_USAGE_MONTHS,
        "archive": settings.QM_USAGE_ARCHIVE,
        "next": next((part for part in parts if part.goes_at), None),
        "bytes": sum(part.bytes for part in parts),
        "ready": sum(part.may_go(now) for part in parts),
    }
    return render(request, "economics/retention.html", context)


def as_row(part: PartState) -> tuple[object, ...]:
    return (
        part.name, part.starts_at, part.ends_at, part.requests, part.bytes, part.goes_at,
        "; ".join(part.why), part.file, part.file_sha256,
    )  # fmt: skip
