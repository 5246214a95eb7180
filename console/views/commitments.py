"""Minima of contracts, month by month: used, unused, charged, and when they end."""

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from billing.queries import commitments as queries
from billing.queries.money import find_tenant
from console.access import ViewerRequest
from console.downloads import download, wants_file

COLUMNS = (
    "tenant", "contract", "version", "month", "starts_at", "ends_at", "minimum", "used", "unused",
    "charged", "currency", "contract_ends_at",
)  # fmt: skip


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    """Newest month first. `tenant` narrows it to one."""
    wanted = request.GET.get("tenant", "").strip()
    tenant_id = find_tenant(request.viewer, wanted).id if wanted else None
    now = timezone.now()
    rows = queries.list_commitments(request.viewer, now=now, tenant_id=tenant_id)
    if wants_file(request):
        return download(request, "commitments", COLUMNS, (line(u) for u in rows))
    context = {
        "page": Paginator(rows, 50).get_page(request.GET.get("page")),
        "wanted": wanted,
        "ending": [u for u in rows if u.warning],
    }
    return render(request, "prices/commitments.html", context)


def line(use: queries.MinimumUse) -> tuple[object, ...]:
    m = use.minimum
    return (
        m.tenant.slug, m.book, m.number, m.month, m.starts_at, m.ends_at, m.amount, use.used,
        use.unused, use.charged, m.currency, m.contract_ends_at,
    )  # fmt: skip
