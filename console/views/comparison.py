"""Two spans of a tenant's charges, each of any days, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from billing.queries.by_release import release_parts
from billing.queries.charged import ChargeFilter
from billing.queries.compared import Pair, Span, compare_parts, span_of
from billing.queries.money import find_tenant
from console.access import ViewerRequest
from console.billing_page import CUTS, answered_by, change
from console.downloads import download, wants_file
from console.filters import charges_query
from tenants.errors import Invalid
from tenants.queries.directory import TenantRef

COLUMNS = (
    "cut", "key", "name", "amount", "with_amount", "difference", "change", "quantity",
    "with_quantity", "currency", "first", "last", "with_first", "with_last",
)  # fmt: skip
SPANS = (("first", "last"), ("with_first", "with_last"))
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Cut:
    """One table of pairs; both columns add up to the sums of the spans."""

    key: str
    title: str
    pairs: Sequence[Pair]

    @property
    def amount(self) -> Decimal:
        return sum((p.amount for p in self.pairs), ZERO)

    @property
    def other(self) -> Decimal:
        return sum((p.other for p in self.pairs), ZERO)

    @property
    def difference(self) -> Decimal:
        return self.amount - self.other

    @property
    def change(self) -> Decimal | None:
        return change(self.amount, self.other)

    @property
    def rows(self) -> list[tuple[Pair, str, str]]:
        return [(p, charges_query(p.wanted), charges_query(p.other_wanted)) for p in self.pairs]


@require_GET
def compare(request: ViewerRequest, slug: str) -> HttpResponse:
    """`first`, `last`, `with_first` and `with_last` are days of the tenant's zone, each of
    them included. Without them: this month to date with the same days of the month before.
    """
    tenant = find_tenant(request.viewer, slug)
    now = timezone.now()
    one, two = read_spans(request, tenant, now)
    wanted = ChargeFilter(one.start, one.end, tenant_id=tenant.id)
    other = ChargeFilter(two.start, two.end, tenant_id=tenant.id)
    cuts = [
        Cut(key, title, compare_parts(request.viewer, wanted, other, key))
        for key, title in CUTS.items()
    ]
    releases = release_parts(request.viewer, wanted, other)
    if wants_file(request):
        ends = (one.first, one.last, two.first, two.last)
        rows = [
            (cut.key, p.key, p.name, p.amount, p.other, p.difference, p.change, p.quantity,
             p.other_quantity, tenant.currency, *ends)
            for cut in cuts
            for p in cut.pairs
        ] + [
            ("release", p.release, p.model, p.amount, p.before, p.difference, p.change, None, None,
             tenant.currency, *ends)
            for p in releases
        ]  # fmt: skip
        return download(request, f"compared-{slug}", COLUMNS, rows)
    context = {
        "tenant": tenant,
        "currency": tenant.currency,
        "one": one,
        "two": two,
        "not_over": [span for span in (one, two) if span.start <= now < span.end],
        "cuts": cuts,
        "whole": cuts[0],
        "releases": [
            (p, answered_by(p, wanted, slug), answered_by(p, other, slug)) for p in releases
        ],
        "all": charges_query(wanted),
        "all_other": charges_query(other),
    }
    return render(request, "billing/compare.html", context)


def read_spans(request: ViewerRequest, tenant: TenantRef, now: datetime) -> tuple[Span, Span]:
    today = now.astimezone(ZoneInfo(tenant.time_zone)).date()
    begin = today.replace(day=1)
    before = begin - timedelta(days=1)
    usual = (
        (begin, today),
        (before.replace(day=1), before.replace(day=min(today.day, before.day))),
    )
    one, two = (
        span_of(
            read_day(request, names[0], first), read_day(request, names[1], last),
            tenant.time_zone, names,
        )
        for names, (first, last) in zip(SPANS, usual, strict=True)
    )  # fmt: skip
    return one, two


def read_day(request: ViewerRequest, name: str, usual: date) -> date:
    text = request.GET.get(name, "")
    if not text:
        return usual
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Invalid(**{name: f"'{text[:20]}' is no day: write 2026-11-23"}) from None
