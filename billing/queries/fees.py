"""The hours in which contracts owe their fees and minima, month by month."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from billing.models import BillingPeriod, HourHead, Price
from billing.queries.books import read_tariffs
from billing.queries.months import period_of
from billing.rules.calendars import Calendar
from billing.rules.prices.terms import BY_MONTH, Kind
from billing.rules.rating import Period, fee_hour
from billing.rules.tariffs import BookVersion
from tenants.queries.directory import tenant_refs


@dataclass(frozen=True, slots=True)
class FeeHour:
    hour: datetime
    kind: Kind
    month: Period

    def is_seen(self, rated_at: datetime | None) -> bool:
        """By a rating that knew of what is owed: of a minimum, once its month is over."""
        if rated_at is None:
            return False
        return self.kind != Kind.COMMITMENT or rated_at >= self.month.ends_at


def fee_hours(
    version: BookVersion, calendar: Calendar, since: datetime, now: datetime
) -> Iterator[FeeHour]:
    """Of a version, by now: fees once they begin, minima once their month is over."""
    for terms in version.by_month.values():
        at = since
        while at <= now:
            month = period_of(at, calendar, now)
            start, end = version.held_in(month.starts_at, month.ends_at)
            if start < end and (month.is_over or terms.kind != Kind.COMMITMENT):
                yield FeeHour(fee_hour(terms.kind, start, end), terms.kind, month)
            at = month.ends_at


def unseen_fees(period: BillingPeriod, now: datetime) -> int:
    """Fees and minima of a period that no rating has seen, and no hour waits for."""
    contracts = Price.objects.filter(book_version__book__tenant_id=period.tenant_id)
    if not contracts.filter(kind__in=BY_MONTH).exists():  # of most tenants: no need to read prices
        return 0
    tenant = tenant_refs([period.tenant_id])[period.tenant_id]
    tariff = read_tariffs([tenant])[tenant.id]
    owed = [
        fee
        for version in tariff.contract
        for fee in fee_hours(
            version, tariff.calendar, max(version.starts_at, period.starts_at), now
        )
        if period.starts_at <= fee.hour < period.ends_at
    ]
    rows = HourHead.objects.filter(tenant_id=tenant.id, hour__in={fee.hour for fee in owed})
    heads = {head.hour: head for head in rows}
    return sum(
        1
        for fee in owed
        if (head := heads.get(fee.hour)) is None
        or (head.version == head.rated_version and not fee.is_seen(head.rated_at))
    )
