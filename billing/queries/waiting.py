"""Money of usage that is not charged yet: what the next pass of rating will add."""

from collections.abc import Sequence
from datetime import datetime

from billing.queries.books import read_books
from billing.queries.hours import read_charged, read_usage, unrated_hours
from billing.rules.rating import ChargeRow, differences, rate_by_currency
from tenants.queries.directory import tenant_refs


def waiting_rows(
    start: datetime, end: datetime, tenant_ids: Sequence[int] | None = None
) -> list[ChargeRow]:
    """The charges that rating would write now for hours in [start, end). Nothing is written."""
    hours = unrated_hours(start, end, tenant_ids)
    if not hours:
        return []
    pairs = ([hour for hour, _ in hours], [tenant for _, tenant in hours])
    currencies = {t.id: t.currency for t in tenant_refs({t for _, t in hours}).values()}
    rated = rate_by_currency(read_usage(pairs), currencies, read_books())
    return differences(rated.owed, read_charged(pairs))
