"""The hours in which contracts owe their fees and minima, month by month."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from billing.models import BillingPeriod, HourHead
from billing.queries.books import read_contract
from billing.queries.calendars import read_calendars
from billing.queries.months import period_of
from billing.rules.calendars import Calendar
from billing.rules.prices.terms import Kind
from billing.rules.rating import Period, fee_hour
from billing.rules.tariffs import BookVersion
from tenants.queries.directory import TenantRef


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


def unseen_fees(period: BillingPeriod, tenant: TenantRef, now: datetime) -> int:
    """Fees and minima of a period that no rating has seen, and no hour waits for."""
    contract = [version for version in read_contract(tenant) if version.by_month]
    if not contract:
        return 0
    calendar = read_calendars([tenant])[tenant.id]
    owed = [
        fee
        for version in contract
        for fee in fee_hours(version, calendar, max(version.starts_at, period.starts_at), now)
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
