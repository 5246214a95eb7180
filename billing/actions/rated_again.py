"""Rate hours again that were rated, write nothing, and compare with what was charged.

The same usage and the same prices must give the same charges, to the last unit. The steps are
those of `rating`: whole hours at once, and months that depend on all of their hours.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.db import connection

from billing.actions import rated_sets as sets
from billing.actions.bulk import make_working_tables
from billing.queries.books import read_tariffs
from billing.queries.hours import columns
from billing.queries.months import Together, whole_months
from billing.queries.sums import Check, Comparison, Paired, compare
from billing.rules.rating import Period, fees, spread
from billing.rules.tariffs import Tariff
from tenants.queries.directory import TenantRef, tenant_refs

# Prices that begin to hold and that no rating applied yet are ahead of what was charged.
DUE = """
INSERT INTO rate_due SELECT hour, tenant_id, version, rolled_at FROM usage_hour_head h
WHERE h.hour >= %s AND version = rated_version AND NOT EXISTS (
    SELECT 1 FROM price_book_version v JOIN price_book b ON b.id = v.book_id
    WHERE v.published_at IS NOT NULL AND v.applied_at IS NULL
        AND (b.tenant_id IS NULL OR b.tenant_id = h.tenant_id)
        AND h.hour >= lower(v.effective) - interval '31 days')
"""
# Newest first: months are many, and what people still look at is compared in any case.
TENANTS = "SELECT DISTINCT tenant_id FROM rate_due ORDER BY 1"
RATED = """
SELECT m.tenant_id, m.starts, max(h.rated_at), bool_and(h.version = h.rated_version)
FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[]) AS m (tenant_id, starts, ends)
JOIN usage_hour_head h ON h.tenant_id = m.tenant_id AND h.hour >= m.starts AND h.hour < m.ends
GROUP BY 1, 2
"""
NAMES = "concat_ws(' ', 'application', application_id, model, traffic_class, meter, runs_on)"
PLACE = f"concat_ws(' ', {NAMES}, 'at', unit_price, currency, 'version', book_version_id)"
KEY = """hour, tenant_id, application_id, model, traffic_class, meter, runs_on, unit_price,
    currency, book_version_id"""
CHARGED = Paired(
    (
        "quantities: rated again = charged, for each price",
        "money: rated again = charged, for each price",
    ),
    f"SELECT hour AS at, tenant_id, {PLACE} AS place, l1, r1, l1 * unit_price AS l2,"
    f" r1 * unit_price AS r2 FROM (SELECT {KEY}, coalesce(sum(quantity) FILTER (WHERE again), 0)"
    " AS l1, coalesce(sum(quantity) FILTER (WHERE NOT again), 0) AS r1 FROM ("
    f"SELECT true AS again, {KEY}, quantity FROM rate_owed WHERE unit_price IS NOT NULL UNION ALL"
    f" SELECT false, {KEY}, quantity FROM charge JOIN rate_due USING (hour, tenant_id)"
    f") AS both_sides GROUP BY {KEY}) AS keys",
)
UNPRICED = Comparison(
    ("quantities without a price: rated again = listed",),
    f"SELECT hour, tenant_id, {NAMES}, quantity FROM rate_owed WHERE unit_price IS NULL",
    f"SELECT hour, tenant_id, {NAMES}, quantity FROM unpriced_usage"
    " JOIN rate_due USING (hour, tenant_id)",
)


def rate_again(since: datetime, now: datetime) -> Iterator[Check]:
    """Of all rated hours from `since` on; of months that count as a whole, the newest."""
    with connection.cursor() as cursor:
        make_working_tables(cursor, sets.WORKING)
        cursor.execute(DUE, [since])
        cursor.execute("ANALYZE rate_due")
        cursor.execute(TENANTS)
        refs = tenant_refs([row[0] for row in cursor.fetchall()])
        tariffs = read_tariffs(refs.values())
        months = _months(cursor, tariffs, refs, now)
        card = sets.card_for(cursor, tariffs)
        sets.add_owed(cursor, spread(sets.price(cursor, card), tariffs))
        _add_fees(cursor, months, tariffs)
        for found in CHARGED, UNPRICED:
            yield from compare(found, {})


def _months(
    cursor: Any, tariffs: Mapping[int, Tariff], refs: Mapping[int, TenantRef], now: datetime
) -> Mapping[int, Sequence[Period]]:
    """Take the hours of monthly tariffs back, but for months all of whose hours are rated."""
    by_month = [refs[t] for t, tariff in tariffs.items() if tariff.monthly]
    if not by_month:
        return {}
    due = sets.give_up(cursor, [t.id for t in by_month])
    together = whole_months(sorted(due, reverse=True), tariffs, now)
    periods = _rated(cursor, together)
    sets.add_due(
        cursor,
        [
            (hour, tenant_id, version)
            for hour, tenant_id, version in together.due
            if any(p.starts_at <= hour < p.ends_at for p in periods.get(tenant_id, ()))
        ],
    )
    return periods


def _rated(cursor: Any, together: Together) -> dict[int, list[Period]]:
    """Each month as its last rating saw it: what was not over then was not owed."""
    if not together.periods:
        return {}
    months = [(t, p.starts_at, p.ends_at) for t, found in together.periods.items() for p in found]
    cursor.execute(RATED, columns(months))
    seen = {(t, starts): at for t, starts, at, is_rated in cursor.fetchall() if is_rated}
    return {
        t: [replace(p, seen_at=seen[t, p.starts_at]) for p in found if (t, p.starts_at) in seen]
        for t, found in together.periods.items()
    }


def _add_fees(
    cursor: Any, periods: Mapping[int, Sequence[Period]], tariffs: Mapping[int, Tariff]
) -> None:
    def spent(tenant_id: int, start: datetime, end: datetime) -> Any:
        return sets.spent(cursor, tenant_id, start, end)

    owed = fees(periods, tariffs, spent)
    sets.add_owed(cursor, owed)
    fresh = sets.not_due(cursor, [(key.hour, key.tenant_id) for key, _ in owed])
    sets.add_due(cursor, [(hour, tenant_id, 1) for hour, tenant_id in fresh])
