"""A tenant's month: forecast, budgets, cuts, the way down to a request, and its exports."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from billing.queries import money as queries
from billing.queries.alerts import list_alerts, settings_of
from billing.queries.budgets import NamedBudget, month_budgets
from billing.queries.by_release import release_parts
from billing.queries.cuts import cut_up
from billing.queries.exports import list_exports
from billing.queries.invoices import list_invoices
from billing.queries.money import MonthToDate
from billing.queries.trail import Trail, trail_of
from console import billing_page as shown
from console.access import ViewerRequest
from console.billing_page import CUTS, PART_COLUMNS, Cut, answered_by, change
from console.downloads import download, wants_file
from console.filters import charges_query
from console.views.exports import sums_of
from tenants.errors import Invalid
from tenants.rules.quotas import BudgetKind

MOST_EXPORTS = 5
RELEASES = "release"


@require_GET
def show(request: ViewerRequest, slug: str) -> HttpResponse:
    """A tenant's month. `month=2026-10` shows another one; `of` names the cut of a file."""
    now = timezone.now()
    found = queries.tenant_month(request.viewer, slug, now=now, name=request.GET.get("month", ""))
    before = shown.same_span_before(found)
    cut = cut_up(request.viewer, found.wanted, before)
    cuts = {key: Cut(key, title, cut.parts[key]) for key, title in CUTS.items()}
    if wants_file(request):
        return file_of(request, found, cuts, slug)
    releases = release_parts(request.viewer, found.wanted, before)
    invoices = list_invoices(request.viewer, tenant_id=found.tenant.id)[:13]
    own = next((i for i in invoices if i.period.name == found.month.name), None)
    trail = trail_of(request.viewer, found.wanted, cut.lines, own)
    exports = list_exports(request.viewer, tenant_id=found.tenant.id)[:MOST_EXPORTS]
    context: dict[str, Any] = {
        "found": found,
        "tenant": found.tenant,
        "currency": found.tenant.currency,
        "change": change(found.total, found.month_before_same_span),
        "cuts": [c for key, c in cuts.items() if key != "meter"],
        "meters": shown.meter_rows(cuts["meter"].parts),
        "releases": [(p, answered_by(p, found.wanted, slug)) for p in releases],
        "all": charges_query(found.wanted),
        "compare": urlencode(shown.days_of(found)),
        "months": shown.months(found, now),
        "is_open": found.until == now,
        "hours": shown.hours_of(found),
        "trail": trail,
        "trail_addresses": addresses_of(trail, slug),
        "invoice": own or next(iter(invoices), None),
        "exports": [(job, sums_of(job)) for job in exports],
        "export": export_days(found),
    } | budget_context(request, found)
    return render(request, "billing/show.html", context)


def budget_context(request: ViewerRequest, found: MonthToDate) -> dict[str, Any]:
    """Budgets are of the month that runs: of another one there are none."""
    budgets: list[NamedBudget] = []
    if found.until < found.month.ends_at:
        budgets = month_budgets(
            found.tenant, found.budgets, found.until, found.waiting_rows, money=found.forecast
        )
    own = shown.own_budget(budgets)
    runs_out = own.ahead.runs_out if own and own.ahead else None
    return {
        "budgets": budgets,
        "is_spent": any((b.use.used or 0) >= 1 for b in budgets),
        "left": found.budget - found.total if found.budget is not None else None,
        "runs_out": runs_out,
        "thresholds": thresholds_of(request, found, own) if own else [],
        "chart": shown.month_chart(found, runs_out),
    }


def thresholds_of(request: ViewerRequest, found: MonthToDate, own: NamedBudget) -> list[Any]:
    chosen = settings_of([found.tenant.id])[found.tenant.id]
    alerts = list_alerts(request.viewer, tenant_id=found.tenant.id).filter(
        period=found.month.name, kind=BudgetKind.MONEY.value, budget=own.use.limit
    )
    told = {(a.series, a.threshold): a.at for a in alerts}
    return shown.thresholds(found, own, chosen.thresholds, told, len(chosen.mails))


def file_of(
    request: ViewerRequest, found: MonthToDate, cuts: Mapping[str, Cut], slug: str
) -> HttpResponse:
    """One table as it is shown; without `of`, all cuts under one another."""
    of = request.GET.get("of", "")
    if of in cuts:
        rows = shown.cut_rows(cuts[of], found.tenant.currency)
        return download(request, f"billing-{slug}-{of}", shown.CUT_COLUMNS, rows)
    if of == "thresholds":
        lines = budget_context(request, found)["thresholds"]
        rows = shown.threshold_rows(lines, found.tenant.currency)
        return download(request, f"thresholds-{slug}", shown.THRESHOLD_COLUMNS, rows)
    if of == "budgets":
        budgets = budget_context(request, found)["budgets"]
        rows = shown.budget_rows(budgets, found.tenant.currency)
        return download(request, f"budgets-{slug}", shown.BUDGET_COLUMNS, rows)
    if of not in ("", RELEASES):
        names = ", ".join((*cuts, RELEASES, "budgets", "thresholds"))
        raise Invalid(of=f"There is no table {of[:20]!r} here: {names}")
    releases = release_parts(request.viewer, found.wanted, shown.same_span_before(found))
    rows = [] if of else shown.part_rows(found, cuts.values())
    rows += shown.release_rows(found, releases)
    return download(request, f"billing-{slug}{of and '-' + of}", PART_COLUMNS, rows)


def addresses_of(trail: Trail | None, slug: str) -> dict[str, str]:
    """Where each step of the trail leads: the rows behind it."""
    if trail is None:
        return {}
    charge = trail.charge.wanted
    line = reverse("billing_charges", args=[slug]) + "?" + charges_query(trail.line.wanted)
    if trail.line.invoice:
        line = reverse("invoice_line", args=[trail.line.invoice, trail.line.position])
    found = {
        "line": line,
        "charge": reverse("billing_charges", args=[slug]) + "?" + charges_query(charge),
        "hour": reverse("billing_hours", args=[slug])
        + "?"
        + charges_query(replace(charge, meter="")),
    }
    if trail.request:
        found["request"] = reverse("request", args=[trail.request.request_id])
    return found


def export_days(found: MonthToDate) -> tuple[str, str]:
    """First and last day of the month that is shown, in the tenant's zone."""
    zone, least = ZoneInfo(found.tenant.time_zone), timedelta(microseconds=1)
    ends = (found.month.starts_at, found.until - least)
    first, last = (f"{at.astimezone(zone):%Y-%m-%d}" for at in ends)
    return first, last
