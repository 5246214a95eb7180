"""Rate: bring charges to what usage and prices say, by adding differences.

1. Take the lock of rating, or leave.
2. Published prices that nobody applied yet: mark the hours they touch.
3. Find due hours, oldest first; where prices depend on the month, all of its hours. Lock them.
4. Price their usage, and compare with what was charged.
5. Write the differences, the unpriced list, the day sums, and which version was rated.

All in one transaction: a worker that dies in the middle has written nothing. Workers beside each
other rate other tenants, each in its lane, so that numbers of a tenant's charges never go back. A
difference in an hour of a closed period is a correction: it is billed in the next period that is
still open. Statements work on whole sets of hours (`rated_sets`), rules say by which prices.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection, transaction

from billing.actions import rated_sets as sets
from billing.actions.bulk import in_bulk, make_working_tables
from billing.actions.calendars import open_periods
from billing.actions.contracts import open_hour, open_months
from billing.actions.day_sums import WORKING as DAY_SUMS
from billing.actions.day_sums import add_to_days
from billing.actions.publication import tell_gateways
from billing.actions.run_inputs import inputs_of
from billing.models import PriceBookVersion, RatingRun
from billing.queries.books import read_tariffs
from billing.queries.months import whole_months
from billing.rules.lanes import RATING_LOCK, WHOLE, Lane
from billing.rules.rating import RULES_VERSION, Period, fees, spread
from billing.rules.tariffs import Tariff
from tenants.base.scope import fleet_scope
from tenants.queries.directory import TenantRef, tenant_refs
from tenants.rules.access import Permission, Viewer, system_viewer

LOCK = RATING_LOCK
MOST_HOURS = 20_000
GRACE = timedelta(minutes=2)  # spools deliver within seconds
# An hour that still runs is rated early, but every early rating may add a row per key: the more
# tenants there are, the rarer it happens.
EARLY_EACH = timedelta(seconds=15)
LONGEST_MONTH = 31  # days
EARLY_LEAST = timedelta(minutes=1)

# Hours after the end of a contract too: it took the place of one that held for them. Locked in the
# order in which the roll-up writes them, or two would wait for each other.
APPLY = """
WITH locked AS MATERIALIZED (
    SELECT h.hour, h.tenant_id FROM price_book_version v
    JOIN usage_hour_head h ON h.hour >= lower(v.effective) - make_interval(days => %s)
    WHERE v.id = %s AND rated_version <> 0 AND (%s::bigint IS NULL OR h.tenant_id = %s)
    ORDER BY h.hour, h.tenant_id FOR NO KEY UPDATE OF h
)
UPDATE usage_hour_head h SET rated_version = 0
FROM locked l WHERE h.hour = l.hour AND h.tenant_id = l.tenant_id
"""
# By marks: the planner would rather read all heads there are than those of the newest hours.
OPEN = """
SELECT count(*) FROM (SELECT DISTINCT hour FROM rating_mark WHERE hour > %s) AS m
CROSS JOIN LATERAL (
    SELECT FROM usage_hour_head h WHERE h.hour = m.hour AND version <> rated_version OFFSET 0
) AS waiting
"""
OWED = "SELECT * FROM rate_owed WHERE unit_price IS NOT NULL"
CHARGED = "FROM rate_due d JOIN charge c ON c.hour = d.hour AND c.tenant_id = d.tenant_id"
DIFFERENCES = f"""
INSERT INTO rate_change
SELECT hour, tenant_id, application_id, model, traffic_class, meter, runs_on,
    sum(quantity) AS quantity, unit_price, sum(quantity) * unit_price, currency, book_version_id
FROM (
    SELECT hour, tenant_id, application_id, model, traffic_class, meter, runs_on, quantity,
        unit_price, currency, book_version_id
    FROM rate_owed WHERE unit_price IS NOT NULL
    UNION ALL
    SELECT c.hour, c.tenant_id, application_id, model, traffic_class, meter, runs_on, -quantity,
        unit_price, currency, book_version_id {CHARGED}) AS both_sides
GROUP BY hour, tenant_id, application_id, model, traffic_class, meter, runs_on, unit_price,
    currency, book_version_id
HAVING sum(quantity) <> 0
"""
CHANGED = "SELECT * FROM rate_change"
# In the order of the rules, a reversal before what takes its place: numbers of charges follow it.
WRITE = """
INSERT INTO charge (run_id, hour, tenant_id, application_id, model, traffic_class, meter,
    runs_on, quantity, unit_price, amount, currency, book_version_id, correction_period_id)
SELECT %s, m.hour, m.tenant_id, application_id, model, traffic_class, meter, runs_on,
    quantity, unit_price, amount, currency, book_version_id, late.period_id
FROM ({changes}) AS m LEFT JOIN (
    SELECT d.hour, d.tenant_id, o.id AS period_id
    FROM rate_due d JOIN billing_period p ON p.tenant_id = d.tenant_id AND p.state = 'closed'
        AND d.hour >= p.starts_at AND d.hour < p.ends_at
    LEFT JOIN LATERAL (SELECT id FROM billing_period q WHERE q.tenant_id = p.tenant_id
        AND q.starts_at >= p.ends_at AND q.state <> 'closed' ORDER BY starts_at LIMIT 1) o ON true
) AS late ON late.hour = m.hour AND late.tenant_id = m.tenant_id
ORDER BY m.hour, m.tenant_id, application_id, model COLLATE "C", traffic_class COLLATE "C",
    meter COLLATE "C", runs_on COLLATE "C", quantity, unit_price, book_version_id
"""
FORGET_UNPRICED = """
DELETE FROM unpriced_usage u USING rate_due d WHERE u.hour = d.hour AND u.tenant_id = d.tenant_id
"""
LIST_UNPRICED = """
INSERT INTO unpriced_usage (hour, tenant_id, application_id, model, traffic_class, meter, runs_on,
    quantity)
SELECT hour, tenant_id, application_id, model, traffic_class, meter, runs_on, quantity
FROM rate_owed WHERE unit_price IS NULL
ORDER BY hour, tenant_id, application_id, model, traffic_class, meter, runs_on
"""
RATED = """
WITH d AS MATERIALIZED (
    SELECT d.hour, d.tenant_id, d.version, coalesce(m.amount, 0) AS amount,
        coalesce(t.currency, '') AS currency
    FROM rate_due d
    LEFT JOIN (SELECT hour, tenant_id, sum(amount) AS amount FROM rate_owed GROUP BY 1, 2) m
        USING (hour, tenant_id)
    LEFT JOIN unnest(%s::bigint[], %s::text[]) AS t (tenant_id, currency) USING (tenant_id)
)
UPDATE usage_hour_head h SET rated_version = d.version, rated_at = %s, amount = d.amount,
    currency = d.currency
FROM d WHERE h.hour = d.hour AND h.tenant_id = d.tenant_id
"""
# Not joined: of hours that still wait, one head is enough to see it. What another lane is at
# counts as waiting, and the mark stays for the next pass.
FORGET_MARKS = """
DELETE FROM rating_mark m WHERE (
    SELECT h.hour FROM usage_hour_head h WHERE h.hour = m.hour AND h.version <> h.rated_version
    LIMIT 1) IS NULL
"""


@dataclass(frozen=True, slots=True)
class Passed:
    """What one pass of rating did."""

    hours: int = 0
    charges: int = 0
    run_id: int | None = None


def rate_due(now: datetime, *, early: bool = False, lane: Lane = WHOLE) -> Passed:
    """Rate up to `MOST_HOURS` hours of tenants. `early`: running hours too, however recent."""
    with fleet_scope(), connection.cursor() as cursor:
        if not _enter(cursor, lane):
            return Passed()
        if lane == WHOLE:
            _open_due(now)
        make_working_tables(cursor, sets.WORKING | DAY_SUMS)
        closed, seen = _seen(cursor, now, early=early)
        with in_bulk(cursor):
            tenants = sets.take_due(cursor, lane, closed, seen, MOST_HOURS)
            passed = _rate(cursor, tenants, now) if tenants else Passed()
            cursor.execute(FORGET_MARKS)
            return passed


def open_due(now: datetime) -> None:
    """What time alone makes due: prices that begin to hold, months that owe a fee. For lanes,
    which do not look for it; waits until none is at work."""
    with fleet_scope(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        _open_due(now)


def _enter(cursor: Any, lane: Lane) -> bool:
    """Lanes share the lock of rating, which all else that changes charges takes alone."""
    if lane == WHOLE:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
    else:
        cursor.execute(
            "SELECT pg_try_advisory_xact_lock_shared(%s) AND pg_try_advisory_xact_lock(%s, %s)",
            [LOCK, LOCK, lane.number],
        )
    entered: bool = cursor.fetchone()[0]
    return entered


def _open_due(now: datetime) -> None:
    open_months(now)
    _apply_prices(now)


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
            cursor.execute(APPLY, [before, version.pk, tenant_id, tenant_id])
    if versions:
        PriceBookVersion.objects.filter(pk__in=[v.pk for v in versions]).update(applied_at=now)
        tell_gateways(system_viewer("rating", [Permission.MANAGE_MONEY]), now)


def _seen(cursor: Any, now: datetime, *, early: bool) -> tuple[datetime, datetime]:
    """Hours from before the first are over; others are due when last rated before the second."""
    closed = now - timedelta(hours=1) - GRACE
    cursor.execute(OPEN, [closed])
    pause = max(EARLY_LEAST, EARLY_EACH * int(cursor.fetchone()[0]))
    return closed, now if early else now - pause


def _rate(cursor: Any, tenants: Sequence[int], now: datetime) -> Passed:
    refs = tenant_refs(tenants)
    tariffs = read_tariffs(refs.values())
    periods = _widen(cursor, tariffs, refs, now)
    sets.lock_due(cursor)
    card = sets.card_for(cursor, tariffs)
    by_month = sets.price(cursor, card)
    sets.add_owed(cursor, spread(by_month, tariffs))
    _add_fees(cursor, periods, tariffs, now)
    cursor.execute(FORGET_UNPRICED)
    cursor.execute(LIST_UNPRICED)
    changes = _changes(cursor)
    passed = _charge(cursor, tariffs, changes, now)
    if passed.charges:
        add_to_days(cursor, changes)
    _finish(cursor, {t.id: t.currency for t in refs.values()}, now)
    return passed


def _widen(
    cursor: Any, tariffs: dict[int, Tariff], refs: Mapping[int, TenantRef], now: datetime
) -> Mapping[int, Sequence[Period]]:
    """Where prices depend on the month, all hours of a month are due. Answers such months."""
    by_month = [refs[t] for t, tariff in tariffs.items() if tariff.monthly]
    if not by_month:
        return {}
    open_periods(by_month, now)  # a month that is rated stays as it is when the zone changes
    tariffs |= read_tariffs(by_month)
    due = sets.give_up(cursor, [t.id for t in by_month])
    together = whole_months(due, tariffs, now)
    sets.add_due(cursor, together.due)
    return together.periods


def _add_fees(
    cursor: Any,
    periods: Mapping[int, Sequence[Period]],
    tariffs: Mapping[int, Tariff],
    now: datetime,
) -> None:
    """What is charged in an hour is found again by the hour's head.

    A contract that was cut short owes its minimum in an hour that nobody opened. If the roll-up
    did meanwhile, its usage was not read here: that hour stays due.
    """

    def spent(tenant_id: int, start: datetime, end: datetime) -> Decimal:
        return sets.spent(cursor, tenant_id, start, end)

    owed = fees(periods, tariffs, spent)
    sets.add_owed(cursor, owed)
    fresh = sets.not_due(cursor, [(key.hour, key.tenant_id) for key, _ in owed])
    sets.add_due(cursor, [(hour, of, int(open_hour(hour, of, now))) for hour, of in fresh])


def _changes(cursor: Any) -> str:
    """The query of all differences. Where nothing was charged yet, they are all that is owed."""
    cursor.execute(f"SELECT EXISTS (SELECT {CHARGED})")
    if not cursor.fetchone()[0]:
        return OWED
    cursor.execute(DIFFERENCES)
    cursor.execute("ANALYZE rate_change")
    return CHANGED


def _charge(cursor: Any, tariffs: Mapping[int, Tariff], changes: str, now: datetime) -> Passed:
    """Write the differences as a run, or no run where there are none."""
    hours, sha = sets.digest(cursor, RULES_VERSION, _books(tariffs))
    with transaction.atomic():
        run = RatingRun.objects.create(
            started_at=now,
            finished_at=now,
            hours=hours,
            charges=0,
            input_sha=sha,
            rules_version=RULES_VERSION,
            **inputs_of(cursor, tariffs),
        )
        charges = _write(cursor, run.pk, changes)
        if not charges:
            transaction.set_rollback(True)
            return Passed(hours)
        RatingRun.objects.filter(pk=run.pk).update(charges=charges)
    return Passed(hours, charges, run.pk)


def _books(tariffs: Mapping[int, Tariff]) -> str:
    return "".join(
        f"{tenant_id} {book.id} {book.starts_at} {book.ends_at}\n"
        for tenant_id in sorted(tariffs)
        for book in (*tariffs[tenant_id].book, *tariffs[tenant_id].contract)
    )


def _write(cursor: Any, run_id: int, changes: str) -> int:
    cursor.execute(WRITE.format(changes=changes), [run_id])
    charges: int = cursor.rowcount
    return charges


def _finish(cursor: Any, currencies: Mapping[int, str], now: datetime) -> None:
    cursor.execute(RATED, [list(currencies), list(currencies.values()), now])
