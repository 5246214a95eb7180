"""Billing: what all tenants of the viewer are charged this month."""

from dataclasses import astuple, fields
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from billing.queries import anomalies
from billing.queries import money as queries
from billing.queries.charged import ChargeFilter
from billing.queries.completeness import completeness
from billing.queries.tenant_months import TenantMonth, tenant_months
from console.access import ViewerRequest
from console.charts import Chart, Series, bar_chart
from console.downloads import download, wants_file
from console.filters import charges_query
from tenants.queries.directory import tenant_refs
from tenants.rules.access import Permission
from tenants.rules.quotas import month_of

MOST_ODD, ODD_SINCE = 20, timedelta(days=7)
ZERO = Decimal(0)


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
