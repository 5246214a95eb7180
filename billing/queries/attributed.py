"""The hours whose GPU cost is known: those that costs and revenue are compared for."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from django.db.models import Sum

from billing.models import AllocationRun


@dataclass(frozen=True, slots=True)
class Attributed:
    """Of the whole UTC days that touch a span, in the currency of the newest run."""

    first: date
    last: date  # the day after them
    start: datetime
    end: datetime
    currency: str  # empty: no hour is attributed
    method: str
    run_id: int | None  # the newest
    hours: tuple[datetime, ...]
    known_until: datetime | None  # the newest hour is not over: its cost is known until then
    bill: Decimal


def attributed(start: datetime, end: datetime) -> Attributed:
    """Of the days that touch [start, end)."""
    first = start.date()
    last = (end - timedelta(microseconds=1)).date() + timedelta(days=1)
    begin, stop = _midnight(first, start), _midnight(last, start)
    runs = AllocationRun.objects.filter(is_current=True, hour__gte=begin, hour__lt=stop)
    newest = runs.order_by("-hour").first()
    currency = newest.currency if newest else ""
    found = runs.filter(currency=currency)
    return Attributed(
        first=first,
        last=last,
        start=begin,
        end=stop,
        currency=currency,
        method=newest.method if newest else "",
        run_id=newest.pk if newest else None,
        hours=tuple(sorted(found.values_list("hour", flat=True))),
        known_until=_read_early(newest),
        bill=found.aggregate(s=Sum("cost"))["s"] or Decimal(0),
    )


def _read_early(run: AllocationRun | None) -> datetime | None:
    return run.finished_at if run and run.finished_at < run.hour + timedelta(hours=1) else None


def _midnight(day: date, like: datetime) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=like.tzinfo)
