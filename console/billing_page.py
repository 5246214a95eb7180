"""What the page of a tenant's month shows beside its sums: cuts, charts, thresholds, files."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from typing import Any
from zoneinfo import ZoneInfo

from billing.queries.budgets import NamedBudget
from billing.queries.by_release import ReleasePart
from billing.queries.charged import ChargeFilter
from billing.queries.money import MonthToDate, Part
from billing.queries.requests import UsageFilter
from billing.rules.budget_ahead import Threshold, thresholds_of
from billing.rules.meters import SALES, Meter
from console.charts import Chart, Marker, Series, line_chart
from console.filters import charges_query, requests_query
from tenants.rules.quotas import BudgetKind, month_of

CUTS = {
    "model": "By service",
    "application_id": "By application",
    "meter": "By token type",
    "traffic_class": "By class",
}
PART_COLUMNS = ("cut", "key", "name", "quantity", "amount", "share", "before", "currency")
CUT_COLUMNS = ("key", "name", "quantity", "amount", "share", "before", "change", "currency")
THRESHOLD_COLUMNS = ("percent", "amount", "passed", "told_at", "expected", "then", "currency")
BUDGET_COLUMNS = (
    "application", "model", "counts", "used", "limit", "share", "expected", "low", "high",
    "runs_out",
)  # fmt: skip
MONTHS = 12
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


def part_rows(found: MonthToDate, cuts: Iterable[Cut]) -> list[tuple[Any, ...]]:
    currency = found.tenant.currency
    return [
        (cut.key, p.key, p.name, p.quantity, p.amount, p.share, p.before, currency)
        for cut in cuts
        for p in cut.parts
    ]


def cut_rows(cut: Cut, currency: str) -> list[tuple[Any, ...]]:
    return [
        (p.key, p.name, p.quantity, p.amount, p.share, p.before, change(p.amount, p.before),
         currency)
        for p in cut.parts
    ]  # fmt: skip


def threshold_rows(
    rows: Iterable[tuple[Threshold, datetime | None, str]], currency: str
) -> list[tuple[Any, ...]]:
    return [(t.percent, t.amount, t.passed, at, t.expected, then, currency) for t, at, then in rows]


def budget_rows(budgets: Iterable[NamedBudget], currency: str) -> list[tuple[Any, ...]]:
    rows = []
    for b in budgets:
        ends = (b.ahead.amount, b.ahead.low, b.ahead.high, b.ahead.runs_out) if b.ahead else ()
        seen = (b.application, b.model, b.words or currency, b.use.spent, b.use.limit, b.use.used)
        rows.append((*seen, *(ends or (None,) * 4)))
    return rows


def release_rows(found: MonthToDate, parts: Iterable[ReleasePart]) -> list[tuple[Any, ...]]:
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


def meter_rows(parts: Iterable[Part]) -> list[tuple[Part, str, Decimal | None, str]]:
    """Meters with their mean price in the unit that people speak of."""
    rows = []
    for part in parts:
        sale = SALES[Meter(part.key)]
        mean = part.amount / part.quantity * sale.per if part.quantity else None
        rows.append((part, charges_query(part.wanted), mean, sale.per_label))
    return rows


def hours_of(found: MonthToDate) -> tuple[int, int]:
    """Whole hours that passed and that the month has: how complete it is."""
    start, until, end = (
        at.astimezone(UTC) for at in (found.month.starts_at, found.until, found.month.ends_at)
    )  # times of one zone are subtracted by its clock, which is set forward and back
    hour = timedelta(hours=1)
    return int((until - start) / hour), int((end - start) / hour)


def own_budget(budgets: Iterable[NamedBudget]) -> NamedBudget | None:
    """The tenant's own, of money, over all applications and models."""
    for b in budgets:
        if b.use.ref.kind is BudgetKind.MONEY and not b.application and not b.model:
            return b
    return None


def thresholds(
    found: MonthToDate,
    budget: NamedBudget | None,
    percents: Sequence[int],
    told: Mapping[tuple[int, int], datetime],
    mails: int,
) -> list[tuple[Threshold, datetime | None, str]]:
    """Each with when it was told, by series and percent, and what happens then."""
    if budget is None or not budget.use.limit:
        return []
    series = budget.use.ref.series
    to = f"mail to {mails}, webhooks" if mails else "webhooks"
    rows = thresholds_of(found.forecast, budget.use.spent, budget.use.limit, percents)
    return [
        (
            t,
            told.get((series, t.percent)),
            ", ".join(
                [to] * (t.percent in percents) + ["requests are refused"] * (t.percent >= 100)
            ),
        )
        for t in rows
    ]  # fmt: skip


def months(found: MonthToDate, now: datetime) -> list[tuple[str, str]]:
    """The last months that have usage, newest first: address and name."""
    first = found.first_hour or now
    month = month_of(now, found.tenant.time_zone)
    names: list[tuple[str, str]] = []
    while len(names) < MONTHS and month.ends_at > first:
        middle = month.starts_at + timedelta(days=15)
        names.append((f"{middle:%Y-%m}", f"{middle:%B %Y}"))
        month = month_of(month.starts_at - timedelta(hours=1), found.tenant.time_zone)
    return names


def month_chart(found: MonthToDate, runs_out: date | None) -> Chart:
    """Charges of the month, summed up day by day, against the month before and the forecast."""
    last = month_of(found.month.starts_at - timedelta(hours=1), found.tenant.time_zone)
    middle = found.month.starts_at + timedelta(days=15)
    first = middle.date().replace(day=1)
    count = round((found.month.ends_at - found.month.starts_at) / timedelta(days=1))
    dates = [first + timedelta(days=n) for n in range(count)]
    today = found.until.astimezone(ZoneInfo(found.tenant.time_zone)).date()
    old_first = (last.starts_at + timedelta(days=15)).date().replace(day=1)
    old_count = round((last.ends_at - last.starts_at) / timedelta(days=1))
    old_dates = [old_first + timedelta(days=n) for n in range(min(count, old_count))]
    gap = [None] * (count - len(old_dates))
    series = [
        Series(f"{middle:%B}", running(found.days, dates, until=today), colour="c1"),
        Series(f"{old_first:%B}", [*running(found.days, old_dates), *gap], "c7", "dash"),
    ]
    if found.forecast:
        series.insert(1, Series("forecast", expected(found, dates), colour="c1", dash="dot"))
    at = [datetime(d.year, d.month, d.day, tzinfo=UTC) for d in dates]
    # Far away from the charges, the line of the budget would press them flat.
    near = found.budget and max(found.total, found.month_before) * 4 > found.budget
    limit = ("budget", float(found.budget)) if found.budget and near else None
    markers = [Marker(at[dates.index(runs_out)], "budget ends")] if runs_out in dates else []
    return line_chart(
        "month", "Charges, cumulative", at, series,
        unit=found.tenant.currency, until=found.until, limit=limit, markers=markers,
    )  # fmt: skip


def running(
    days: Mapping[date, Decimal], dates: Sequence[date], until: date | None = None
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
