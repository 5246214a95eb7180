"""Money of usage that is not charged yet: what the next pass of rating will add."""

from collections.abc import Sequence
from datetime import datetime

from billing.queries.books import read_tariffs
from billing.queries.hours import read_charged, read_usage, unrated_hours
from billing.queries.months import whole_months
from billing.rules.rating import ChargeRow, differences, rate, with_fees
from tenants.queries.directory import tenant_refs


def waiting_rows(
    start: datetime, end: datetime, now: datetime, tenant_ids: Sequence[int] | None = None
) -> list[ChargeRow]:
    """The charges that rating would write now for hours in [start, end). Nothing is written."""
    hours = unrated_hours(start, end, tenant_ids)
    if not hours:
        return []
    tariffs = read_tariffs(tenant_refs({t for _, t in hours}).values())
    together = whole_months([(h, t, 0) for h, t in hours], tariffs, now)
    rated = with_fees(rate(read_usage(together.pairs), tariffs), together.periods, tariffs)
    rows = differences(rated.owed, read_charged(together.pairs))
    return [row for row in rows if start <= row.key.hour < end]
