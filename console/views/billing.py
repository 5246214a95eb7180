"""Billing: a tenant's month, its forecast and budget, and the way down from each figure."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from billing.queries import anomalies
from billing.queries import money as queries
from billing.queries.budgets import month_budgets
from billing.queries.by_release import ReleasePart, release_parts
from billing.queries.charged import ChargeFilter
from billing.queries.completeness import completeness
from billing.queries.money import MonthToDate, Part
from billing.queries.requests import UsageFilter
from billing.queries.tenant_months import TenantMonth, tenant_months
from billing.rules.meters import SALES, Meter
from console.access import ViewerRequest
from console.charts import Chart, Marker, Series, bar_chart, line_chart
from console.downloads import download, wants_file
from console.filters import charges_query, requests_query
from tenants.queries.directory import tenant_refs
from tenants.rules.access import Permission
from tenants.rules.quotas import month_of

CUTS = {
    "model": "By service",
    "application_id": "By application",
    "meter": "By token type",
    "traffic_class": "By class",
}
PART_COLUMNS = ("cut", "key", "name", "quantity", "amount", "share", "before", "currency")
MONTHS = 12
MOST_ODD, ODD_SINCE = 20, timedelta(days=7)
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Cut:
    """One table of parts, with what it is compared with."""

    key: str
    title: str
    parts: Sequence[Part]

    @property
    def amount(self) -> Decimal:
        return sum((p.amount for p in self.parts), ZERO)

    @property
    def rows(self) -> list[tuple[Part, str, Decimal | None]]:
        return [(p, charges_query(p.wanted), change(p.amount, p.before)) for p in self.parts]


def change(amount: Decimal, before: Decimal) -> Decimal | None:
    return (amount - before) / before if before else None


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    """All tenants of the viewer, this UTC month against the same span of the month before."""
    now = timezone.now()
    rows = tenant_months(request.viewer, now=now)
    text = request.GET.get("q", "").strip().lower()
    shown = [r for r in rows if text in r.slug or text in r.name.lower()]
    if wants_file(request):
        names = tuple(f.name for f in fields(TenantMonth))
        return download(request, "billing", names, (astuple(r) for r in shown))
    month = month_of(now, "UTC")
    fleet = request.viewer.may(Permission.VIEW_MONEY)
    days = queries.days_by_currency(request.viewer, month_filter(now)) if fleet else {}
    context = {
        "page": Paginator(shown, 50).get_page(request.GET.get("page")),
        "text": text,
        "count": len(rows),
        "month": month,
        "sums": sums_of(shown),
        "charts": [days_chart(days[currency], currency, now) for currency in sorted(days)],
        "state": completeness(request.viewer, month.starts_at, now) if fleet else None,
        "odd": odd_days(request, now),
    }
    return render(request, "billing/index.html", context)


def odd_days(request: ViewerRequest, now: datetime) -> list[tuple[Any, str, str]]:
    """What was out of the ordinary lately: its tenant's slug, the address of its charges."""
    names = {t.id: t.slug for t in tenant_refs().values()}
    rows = anomalies.list_anomalies(request.viewer).filter(day__gte=now.date() - ODD_SINCE)
    return [
        (row, names[row.tenant_id], charges_query(anomalies.rows_of(row)))
        for row in rows[:MOST_ODD]
    ]


def month_filter(now: datetime) -> ChargeFilter:
    month = month_of(now, "UTC")
    return ChargeFilter(month.starts_at, month.ends_at)


def sums_of(rows: list[TenantMonth]) -> list[tuple[str, Decimal, Decimal]]:
    """Each currency apart: this month, and the same span before."""
    return [
        (
            currency,
            sum((r.amount for r in rows if r.currency == currency), ZERO),
            sum((r.before for r in rows if r.currency == currency), ZERO),
        )
        for currency in sorted({r.currency for r in rows})
    ]


def days_chart(days: dict[date, Decimal], currency: str, now: datetime) -> Chart:
    at = [datetime(d.year, d.month, d.day, tzinfo=UTC) for d in sorted(days)]
    values = [days[d] for d in sorted(days)]
    return bar_chart(
        f"days-{currency.lower()}", "Charges by day", at, [Series("charged", values)],
        unit=currency, until=now, digits=2,
    )  # fmt: skip


@require_GET
def show(request: ViewerRequest, slug: str) -> HttpResponse:
    """A tenant's month. `month=2026-10` shows another one."""
    now = timezone.now()
    found = queries.tenant_month(request.viewer, slug, now=now, name=request.GET.get("month", ""))
    before = same_span_before(found)
    cuts = [
        Cut(key, title, queries.parts(request.viewer, found.wanted, key, compared=before))
        for key, title in CUTS.items()
    ]
    releases = release_parts(request.viewer, found.wanted, before)
    if wants_file(request):
        rows = [*part_rows(found, cuts), *release_rows(found, releases)]
        return download(request, f"billing-{slug}", PART_COLUMNS, rows)
    is_open = found.until == now
    budgets = month_budgets(found.tenant, found.budgets, now, found.waiting_rows) if is_open else []
    context: dict[str, Any] = {
        "found": found,
        "tenant": found.tenant,
        "currency": found.tenant.currency,
        "change": change(found.total, found.month_before_same_span),
        "cuts": cuts,
        "meters": meter_rows(cuts[2].parts),
        "releases": [(p, answered_by(p, found.wanted, slug)) for p in releases],
        "chart": month_chart(request, found, now),
        "all": charges_query(found.wanted),
        "compare": urlencode(days_of(found)),
        "months": months(request, found, now),
        "runs_out": runs_out(found),
        "left": found.budget - found.total if found.budget is not None else None,
        "is_open": is_open,
        "hours": hours_of(found),
        "budgets": budgets,
        "is_spent": any((b.use.used or 0) >= 1 for b in budgets),
    }
    return render(request, "billing/show.html", context)


def days_of(found: MonthToDate) -> dict[str, date]:
    """The days of this page and of the same span before, as the page of comparisons reads them."""
    before = same_span_before(found)
    zone, least = ZoneInfo(found.tenant.time_zone), timedelta(microseconds=1)
    ends = {
        "first": found.month.starts_at,
        "last": found.until - least,
        "with_first": before.start,
        "with_last": before.end - least,
    }
    return {name: at.astimezone(zone).date() for name, at in ends.items()}


def part_rows(found: MonthToDate, cuts: Sequence[Cut]) -> list[tuple[Any, ...]]:
    currency = found.tenant.currency
    return [
        (cut.key, p.key, p.name, p.quantity, p.amount, p.share, p.before, currency)
        for cut in cuts
        for p in cut.parts
    ]


def release_rows(found: MonthToDate, parts: Sequence[ReleasePart]) -> list[tuple[Any, ...]]:
    currency = found.tenant.currency
    return [
        ("release", p.release, p.model, None, p.amount, p.share, p.before, currency) for p in parts
    ]


def answered_by(part: ReleasePart, wanted: ChargeFilter, slug: str) -> str:
    """The address of the requests that a release answered; empty: what none answered has none."""
    if not part.release:
        return ""
    of = UsageFilter(wanted.start, wanted.end, model=part.model, release=part.release)
    return requests_query(of, slug)


def same_span_before(found: MonthToDate) -> ChargeFilter:
    start = found.month.starts_at
    last = month_of(start - timedelta(hours=1), found.tenant.time_zone)
    end = min(last.ends_at, last.starts_at + (found.until - start))
    return replace(found.wanted, start=last.starts_at, end=end)


def meter_rows(parts: Sequence[Part]) -> list[tuple[Part, str, Decimal | None, str]]:
    """Meters with their mean price in the unit that people speak of."""
    rows = []
    for part in parts:
        sale = SALES[Meter(part.key)]
        mean = part.amount / part.quantity * sale.per if part.quantity else None
        rows.append((part, charges_query(part.wanted), mean, sale.per_label))
    return rows


def hours_of(found: MonthToDate) -> tuple[int, int]:
    """Whole hours that passed and that the month has: how complete it is."""
    hour = timedelta(hours=1)
    start = found.month.starts_at
    return int((found.until - start) / hour), int((found.month.ends_at - start) / hour)


def runs_out(found: MonthToDate) -> date | None:
    """The day on which the forecast passes the budget, if this month's does."""
    if found.budget is None or found.forecast is None or found.total >= found.budget:
        return None
    spent = found.total
    for place, (day, amount) in enumerate(found.forecast.by_day):
        spent = max(spent, found.total) + (amount if place else ZERO)
        if spent > found.budget:
            return day
    return None


def months(request: ViewerRequest, found: MonthToDate, now: datetime) -> list[tuple[str, str]]:
    """The last months that have usage, newest first: address and name."""
    first = queries.first_hour(request.viewer, found.tenant.id) or now
    month = month_of(now, found.tenant.time_zone)
    names: list[tuple[str, str]] = []
    while len(names) < MONTHS and month.ends_at > first:
        middle = month.starts_at + timedelta(days=15)
        names.append((f"{middle:%Y-%m}", f"{middle:%B %Y}"))
        month = month_of(month.starts_at - timedelta(hours=1), found.tenant.time_zone)
    return names


def month_chart(request: ViewerRequest, found: MonthToDate, now: datetime) -> Chart:
    """Charges of the month, summed up day by day, against the month before and the forecast."""
    zone = found.tenant.time_zone
    days = queries.charged_days(request.viewer, found.wanted, time_zone=zone)
    last = month_of(found.month.starts_at - timedelta(hours=1), zone)
    old_filter = replace(found.wanted, start=last.starts_at, end=last.ends_at)
    old = queries.charged_days(request.viewer, old_filter, time_zone=zone)
    middle = found.month.starts_at + timedelta(days=15)
    first = middle.date().replace(day=1)
    count = round((found.month.ends_at - found.month.starts_at) / timedelta(days=1))
    dates = [first + timedelta(days=n) for n in range(count)]
    today = found.until.date()
    old_first = (last.starts_at + timedelta(days=15)).date().replace(day=1)
    old_dates = [old_first + timedelta(days=n) for n in range(count)]
    series = [
        Series(f"{middle:%B}", running(days, dates, until=today), colour="c1"),
        Series(f"{old_first:%B}", running(old, old_dates), colour="c7", dash="dash"),
    ]
    if found.forecast:
        series.insert(1, Series("forecast", expected(found, dates), colour="c1", dash="dot"))
    at = [datetime(d.year, d.month, d.day, tzinfo=UTC) for d in dates]
    # Far away from the charges, the line of the budget would press them flat.
    near = found.budget and max(found.total, found.month_before) * 4 > found.budget
    limit = ("budget", float(found.budget)) if found.budget and near else None
    markers = [Marker(at[dates.index(day)], "budget ends")] if (day := runs_out(found)) else []
    return line_chart(
        "month", "Charges, cumulative", at, series,
        unit=found.tenant.currency, until=found.until, limit=limit, markers=markers,
    )  # fmt: skip


def running(
    days: dict[date, Decimal], dates: Sequence[date], until: date | None = None
) -> list[Decimal | None]:
    """Sums up to each date; None after `until`."""
    sums = accumulate(days.get(d, ZERO) for d in dates)
    return [s if until is None or d <= until else None for d, s in zip(dates, sums, strict=True)]


def expected(found: MonthToDate, dates: Sequence[date]) -> list[Decimal | None]:
    """The forecast's own line: from what is charged now to its amount."""
    assert found.forecast is not None
    by_day = dict(found.forecast.by_day)
    left = sum(by_day.values(), ZERO)
    line, spent = [], found.forecast.amount - left
    for day in dates:
        spent += by_day.get(day, ZERO)
        line.append(spent if day in by_day else None)
    return line
