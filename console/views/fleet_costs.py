"""Behind the page of economics: two spans side by side, and one service by tenant."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from billing.queries.economics import Economics, Margin, economics
from billing.queries.service_margins import service_tenants
from console.access import ViewerRequest
from console.downloads import download, wants_file
from console.filters import compose
from console.ranges import read_range
from tenants.errors import Invalid

COMPARE_COLUMNS = (
    "of", "name", "amount", "with_amount", "difference", "change", "currency", "start", "end",
    "with_start", "with_end",
)  # fmt: skip
SERVICE_COLUMNS = ("tenant", "charged", "cost", "gross", "currency")
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Pair:
    of: str
    name: str
    amount: Decimal
    other: Decimal

    @property
    def difference(self) -> Decimal:
        return self.amount - self.other

    @property
    def change(self) -> Decimal | None:
        """Of the second span's; None: there was nothing to compare with."""
        return self.difference / abs(self.other) if self.other else None


@require_GET
def compare(request: ViewerRequest) -> HttpResponse:
    """Whole UTC days that `from` and `to` touch, beside those of `with_from` and `with_to`."""
    now = timezone.now()
    span = read_range(request.GET, now, "now-7d")
    given = {"from": request.GET.get("with_from", "now-14d"), "to": request.GET.get("with_to", "")}
    with_span = read_range(given | {"to": given["to"] or "now-7d"}, now, "now-14d")
    one = economics(request.viewer, span.start, span.end, now=now)
    two = economics(request.viewer, with_span.start, with_span.end, now=now)
    if one.currency and two.currency and one.currency != two.currency:
        raise Invalid(
            with_from=f"The bill is in {one.currency} in one span and in {two.currency} in the"
            " other: they have no difference"
        )
    currency = one.currency or two.currency
    tables = {
        "sums": pairs("sums", sums_of(one), sums_of(two)),
        "services": pairs("services", nets_of(one.models), nets_of(two.models)),
        "tenants": pairs("tenants", nets_of(one.tenants), nets_of(two.tenants)),
    }
    if wants_file(request):
        ends = (one.start, one.end, two.start, two.end)
        rows = (
            (p.of, p.name, p.amount, p.other, p.difference, p.change, currency, *ends)
            for table in tables.values()
            for p in table
        )
        return download(request, "economics-compared", COMPARE_COLUMNS, rows)
    context = {
        "one": one,
        "two": two,
        "tables": tables,
        "currency": currency or "USD",
        "range": span,
        "first": compose(one.start, one.end),
        "second": compose(two.start, two.end),
    }
    return render(request, "economics/compare.html", context)


def sums_of(found: Economics) -> Mapping[str, Decimal]:
    return {
        "The fleet's bill": found.whole,
        "Attributed to tenants": found.attributed,
        "Idle": found.idle,
        "Overhead": found.overhead,
        "Shared platform": found.other.platform,
        "Hosted providers": found.other.hosted,
        "Charged to tenants": found.charged,
        "Margin": found.margin,
    }


def nets_of(rows: Iterable[Margin]) -> Mapping[str, Decimal]:
    """What is left of each after idle and overhead."""
    return {row.name: row.net for row in rows}


def pairs(of: str, one: Mapping[str, Decimal], two: Mapping[str, Decimal]) -> Sequence[Pair]:
    """In the order of the first span, then what only the second one has."""
    names = [*one, *(name for name in two if name not in one)]
    return [Pair(of, name, one.get(name, ZERO), two.get(name, ZERO)) for name in names]


@require_GET
def service(request: ViewerRequest) -> HttpResponse:
    """What `service` was charged and used GPUs for, by tenant, in hours with a known cost."""
    span = read_range(request.GET, timezone.now(), "now-7d")
    name = request.GET.get("service", "")
    found = service_tenants(request.viewer, name, span.start, span.end)
    if wants_file(request):
        rows = (
            (r.tenant, r.charged, r.cost, r.charged - r.cost, found.currency) for r in found.rows
        )
        return download(request, "service", SERVICE_COLUMNS, rows)
    context = {
        "found": found,
        "name": name,
        "currency": found.currency,
        "range": span,
        "rows": [
            (
                r,
                r.charged - r.cost,
                compose(found.start, found.end, model=name),
                compose(found.start, found.end, kind="tenant", tenant=r.tenant, model=name),
            )
            for r in found.rows
        ],
        "charged": sum((r.charged for r in found.rows), ZERO),
        "cost": sum((r.cost for r in found.rows), ZERO),
    }
    return render(request, "economics/service.html", context)
