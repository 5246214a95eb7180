"""Rate: bring charges to what usage and prices say, by adding differences.

1. Take the lock of rating, or leave.
2. Published prices that nobody applied yet: mark the hours they touch.
3. Lock the heads of due hours, oldest first; where prices depend on the month, of all its hours.
4. Read usage, prices, and what was charged.
5. Write the differences, the unpriced list, the day sums, and which version was rated.

All in one transaction: a worker that dies in the middle has written nothing. A difference in an
hour of a closed period is a correction: it is billed in the next period that is still open.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection

from billing.actions.calendars import open_periods
from billing.actions.contracts import open_hour, open_months
from billing.actions.publication import tell_gateways
from billing.actions.rollup import LOCK as ROLL_UP_LOCK
from billing.models import PriceBookVersion, RatingRun
from billing.queries.books import read_tariffs
from billing.queries.hours import PAIRS, columns, read_charged, read_usage
from billing.queries.months import Due, whole_months
from billing.rules.rating import (
    RULES_VERSION,
    ChargeRow,
    Key,
    Rated,
    differences,
    rate,
    with_fees,
)
from billing.rules.tariffs import Tariff
from tenants.base.scope import fleet_scope
from tenants.queries.directory import tenant_refs
from tenants.rules.access import Permission, Viewer, system_viewer

LOCK = ROLL_UP_LOCK + 1
MOST_HOURS = 2_000
GRACE = timedelta(minutes=2)  # spools deliver within seconds
# An hour that still runs is rated early, but every early rating may add a row per key: the more
# tenants there are, the rarer it happens.
EARLY_EACH = timedelta(seconds=15)
LONGEST_MONTH = 31  # days
EARLY_LEAST = timedelta(minutes=1)

# Hours after the end of a contract too: it took the place of one that held for them.
APPLY = """
UPDATE usage_hour_head SET rated_version = 0
FROM price_book_version v WHERE v.id = %s AND hour >= lower(v.effective) - make_interval(days => %s)
    AND rated_version <> 0 AND (%s::bigint IS NULL OR tenant_id = %s)
"""
DUE = """
SELECT hour, tenant_id, version FROM usage_hour_head
WHERE version <> rated_version
    AND (hour <= %s OR rated_at IS NULL OR rated_version = 0 OR rated_at <= %s)
ORDER BY hour, tenant_id LIMIT %s FOR NO KEY UPDATE
"""
OPEN = "SELECT count(*) FROM usage_hour_head WHERE version <> rated_version AND hour > %s"
# In the order of the rules, a reversal before what takes its place: numbers of charges follow it.
WRITE = """
INSERT INTO charge (run_id, hour, tenant_id, application_id, model, traffic_class, meter,
    quantity, unit_price, amount, currency, book_version_id, correction_period_id)
SELECT %s, m.hour, m.tenant_id, application_id, model, traffic_class, meter,
    quantity, unit_price, amount, currency, book_version_id, o.id
FROM unnest(%s::timestamptz[], %s::bigint[], %s::bigint[], %s::text[],
    %s::text[], %s::text[], %s::numeric[], %s::numeric[], %s::numeric[], %s::text[], %s::bigint[])
    WITH ORDINALITY AS m (hour, tenant_id, application_id, model, traffic_class, meter,
    quantity, unit_price, amount, currency, book_version_id, place)
LEFT JOIN billing_period p ON p.tenant_id = m.tenant_id AND p.state = 'closed'
    AND m.hour >= p.starts_at AND m.hour < p.ends_at
LEFT JOIN LATERAL (SELECT id FROM billing_period q WHERE q.tenant_id = p.tenant_id
    AND q.starts_at >= p.ends_at AND q.state <> 'closed' ORDER BY starts_at LIMIT 1) o ON true
ORDER BY m.place
"""
FORGET_UNPRICED = f"""
DELETE FROM unpriced_usage u USING {PAIRS}
WHERE u.hour = m.hour AND u.tenant_id = m.tenant_id
"""
LIST_UNPRICED = """
INSERT INTO unpriced_usage (hour, tenant_id, application_id, model, traffic_class, meter, quantity)
SELECT * FROM unnest(%s::timestamptz[], %s::bigint[], %s::bigint[], %s::text[], %s::text[],
    %s::text[], %s::numeric[])
"""
RATED = """
UPDATE usage_hour_head h SET rated_version = h.version, rated_at = %s, amount = m.amount,
    currency = m.currency
FROM unnest(%s::timestamptz[], %s::bigint[], %s::numeric[], %s::text[])
    AS m (hour, tenant_id, amount, currency)
WHERE h.hour = m.hour AND h.tenant_id = m.tenant_id
"""
DAYS = "unnest(%s::date[], %s::bigint[]) AS m (day, tenant_id)"
FORGET_DAYS = f"""
DELETE FROM charge_day d USING {DAYS} WHERE d.day = m.day AND d.tenant_id = m.tenant_id
"""
SUM_DAYS = f"""
INSERT INTO charge_day (day, tenant_id, application_id, model, traffic_class, meter, currency,
    quantity, amount)
SELECT m.day, m.tenant_id, application_id, model, traffic_class, meter, currency,
    sum(quantity), sum(amount)
FROM {DAYS} JOIN charge c ON c.tenant_id = m.tenant_id
    AND c.hour >= m.day::timestamp AT TIME ZONE 'UTC'
    AND c.hour < (m.day + 1)::timestamp AT TIME ZONE 'UTC'
GROUP BY 1, 2, 3, 4, 5, 6, 7 HAVING sum(quantity) <> 0
"""
FORGET_TOTALS = f"""
DELETE FROM charge_total d USING {DAYS} WHERE d.day = m.day AND d.tenant_id = m.tenant_id
"""
SUM_TOTALS = f"""
INSERT INTO charge_total (day, tenant_id, model, currency, amount)
SELECT m.day, m.tenant_id, model, currency, sum(amount)
FROM {DAYS} JOIN charge_day d ON d.tenant_id = m.tenant_id AND d.day = m.day
GROUP BY 1, 2, 3, 4
"""
FORGET_SUMS = f"""
DELETE FROM charge_sum d USING {DAYS} WHERE d.day = m.day AND d.tenant_id = m.tenant_id
"""
SUM_SUMS = f"""
INSERT INTO charge_sum (day, tenant_id, currency, amount)
SELECT m.day, m.tenant_id, currency, sum(amount)
FROM {DAYS} JOIN charge_total d ON d.tenant_id = m.tenant_id AND d.day = m.day
GROUP BY 1, 2, 3
"""
SUMS = (FORGET_DAYS, SUM_DAYS, FORGET_TOTALS, SUM_TOTALS, FORGET_SUMS, SUM_SUMS)

Pair = tuple[datetime, int]


@dataclass(frozen=True, slots=True)
class Passed:
    """What one pass of rating did."""

    hours: int = 0
    charges: int = 0
    run_id: int | None = None


def rate_due(now: datetime, *, early: bool = False) -> Passed:
    """Rate up to `MOST_HOURS` hours of tenants. `early`: running hours too, however recent."""
    with fleet_scope(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            return Passed()
        open_months(now)
        _apply_prices(now)
        due = _due(cursor, now, early=early)
        if not due:
            return Passed()
        return _rate(cursor, due, now)


def rate_now(viewer: Viewer, *, now: datetime) -> Passed:
    """Rate everything that is waiting, on somebody's wish, the running hour included."""
    viewer.require(Permission.MANAGE_MONEY)
    return rate_due(now, early=True)


def _apply_prices(now: datetime) -> None:
    """A version is applied when it begins to hold; then its hours are due again."""
    waiting = PriceBookVersion.objects.filter(applied_at=None, effective__startswith__lte=now)
    versions = list(waiting.select_related("book").order_by("id"))
    for version in versions:
        tenant_id = version.book.tenant_id
        with connection.cursor() as cursor:
            # A contract also shortens the fee of the one before, owed since the month began.
            before = LONGEST_MONTH if tenant_id else 0
            cursor.execute(APPLY, [version.pk, before, tenant_id, tenant_id])
    if versions:
        PriceBookVersion.objects.filter(pk__in=[v.pk for v in versions]).update(applied_at=now)
        tell_gateways(system_viewer("rating", [Permission.MANAGE_MONEY]), now)


def _due(cursor: Any, now: datetime, *, early: bool) -> list[Due]:
    closed = now - timedelta(hours=1) - GRACE
    cursor.execute(OPEN, [closed])
    pause = max(EARLY_LEAST, EARLY_EACH * int(cursor.fetchone()[0]))
    cursor.execute(DUE, [closed, now if early else now - pause, MOST_HOURS])
    found: list[Due] = cursor.fetchall()
    return found


def _rate(cursor: Any, wanted: Sequence[Due], now: datetime) -> Passed:
    refs = tenant_refs({t for _, t, _ in wanted})
    tariffs = read_tariffs(refs.values())
    if by_month := [refs[t] for t, tariff in tariffs.items() if tariff.monthly]:
        open_periods(by_month, now)  # a month that is rated stays as it is when the zone changes
        tariffs |= read_tariffs(by_month)
    together = whole_months(wanted, tariffs, now, lock=True)
    usage = read_usage(together.pairs)
    rated = with_fees(rate(usage, tariffs), together.periods, tariffs)
    due = _with_fee_hours(together.due, rated, now)
    pairs = [hour for hour, _, _ in due], [tenant for _, tenant, _ in due]
    rows = differences(rated.owed, read_charged(pairs))
    cursor.execute(FORGET_UNPRICED, list(pairs))
    _list_unpriced(cursor, rated.unpriced)
    run_id = None
    if rows:
        run_id = _record(due, tariffs, len(rows), now)
        _write(cursor, run_id, rows)
        _sum_days(cursor, rows)
    _finish(cursor, due, rated, {t.id: t.currency for t in refs.values()}, now)
    return Passed(len(due), len(rows), run_id)


def _with_fee_hours(due: Sequence[Due], rated: Rated, now: datetime) -> list[Due]:
    """What is charged in an hour is found again by the hour's head.

    A contract that was cut short owes its minimum in an hour that nobody opened.
    """
    known = {(hour, tenant_id) for hour, tenant_id, _ in due}
    fresh = {(key.hour, key.tenant_id) for key, _ in rated.owed} - known
    for hour, tenant_id in sorted(fresh):
        open_hour(hour, tenant_id, now)
    return sorted([*due, *((hour, tenant_id, 1) for hour, tenant_id in fresh)])


def _record(due: Sequence[Due], tariffs: Mapping[int, Tariff], charges: int, now: datetime) -> int:
    inputs = hashlib.sha256(RULES_VERSION.encode())
    for hour, tenant_id, version in due:
        inputs.update(f"{hour.isoformat()} {tenant_id} {version}\n".encode())
    for tenant_id in sorted(tariffs):
        for book in (*tariffs[tenant_id].book, *tariffs[tenant_id].contract):
            inputs.update(f"{tenant_id} {book.id} {book.starts_at} {book.ends_at}\n".encode())
    return RatingRun.objects.create(
        started_at=now,
        finished_at=now,
        hours=len(due),
        charges=charges,
        input_sha=inputs.hexdigest(),
        rules_version=RULES_VERSION,
    ).pk


def _write(cursor: Any, run_id: int, rows: Sequence[ChargeRow]) -> None:
    values = [
        (
            r.key.hour,
            r.key.tenant_id,
            r.key.application_id,
            r.key.model,
            r.key.traffic_class,
            r.key.meter,
            r.quantity,
            r.tag.unit_price,
            r.amount,
            r.tag.currency,
            r.tag.book_version_id,
        )
        for r in rows
    ]
    cursor.execute(WRITE, [run_id, *columns(values)])


def _list_unpriced(cursor: Any, unpriced: Mapping[Key, Decimal]) -> None:
    if unpriced:
        values = [
            (k.hour, k.tenant_id, k.application_id, k.model, k.traffic_class, k.meter, unpriced[k])
            for k in sorted(unpriced)
        ]
        cursor.execute(LIST_UNPRICED, columns(values))


def _sum_days(cursor: Any, rows: Sequence[ChargeRow]) -> None:
    days = sorted({(r.key.hour.date(), r.key.tenant_id) for r in rows})
    parameters = [[day for day, _ in days], [tenant for _, tenant in days]]
    for statement in SUMS:
        cursor.execute(statement, parameters)


def _finish(
    cursor: Any,
    due: Sequence[Due],
    rated: Rated,
    currencies: Mapping[int, str],
    now: datetime,
) -> None:
    amounts: dict[Pair, Decimal] = defaultdict(Decimal)
    for (key, tag), quantity in rated.owed.items():
        amounts[key.hour, key.tenant_id] += quantity * tag.unit_price
    values = [
        (hour, tenant, amounts[hour, tenant], currencies.get(tenant, "")) for hour, tenant, _ in due
    ]
    cursor.execute(RATED, [now, *columns(values)])
