"""Exchange rates: those that were recorded, and the one that an invoice takes."""

from collections.abc import Iterable
from datetime import date, datetime

from django.db.models import QuerySet

from billing.models import BillingPeriod, ExchangeRate
from billing.queries.accounts import Account
from billing.queries.visibility import require_money
from billing.rules.exchange import MOST_AGE, Exchange, Wanted, day_of
from billing.rules.periods import PeriodState
from tenants.rules.access import Viewer


def list_rates(
    viewer: Viewer, *, base: str = "", quote: str = "", source: str = ""
) -> QuerySet[ExchangeRate]:
    """The newest day first; of one day and source the one that holds first."""
    require_money(viewer)
    wanted = {"base": base, "quote": quote, "source": source}
    rows = ExchangeRate.objects.filter(**{k: v for k, v in wanted.items() if v})
    return rows.order_by("-on", "base", "quote", "source", "-id")


def find_rate(
    base: str, quote: str, source: str, *, on: date, known_at: datetime
) -> Exchange | None:
    """Of the nearest day on or before `on`, the newest that was recorded until `known_at`."""
    rows = ExchangeRate.objects.filter(
        base=base,
        quote=quote,
        source=source,
        on__lte=on,
        on__gte=on - MOST_AGE,
        recorded_at__lte=known_at,
    )
    row = rows.order_by("-on", "-id").first()
    return Exchange(base, quote, row.rate, row.on, row.source) if row else None


def wanted_rates(
    period: BillingPeriod, account: Account, currencies: Iterable[str], now: datetime
) -> list[Wanted]:
    """What an invoice of the period needs: what was known at its close, if anything was. Terms that
    changed since may need what nobody had asked for by then."""
    is_closed = period.state == PeriodState.CLOSED and period.closed_at
    known_at = period.closed_at if is_closed and period.closed_at else now
    quote, source = account.currency, account.rate_source
    on = day_of(period.cut_off or now, period.time_zone)
    found = []
    for base in sorted(set(currencies) - {quote}):
        rate = find_rate(base, quote, source, on=on, known_at=known_at)
        rate = rate or find_rate(base, quote, source, on=on, known_at=now)
        found.append(Wanted(base, quote, source, on, rate))
    return found
