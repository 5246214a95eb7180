"""Statements over whole sets of hours: what rating would otherwise walk row by row.

Working tables belong to one transaction. The rules in Python remain what decides: their prices
come in as rows (`rules/rate_card.py`), and months that need running totals go through them.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from billing.queries.hours import columns
from billing.queries.months import Due
from billing.rules.lanes import Lane
from billing.rules.meters import BILLED, BY_USE, Meter
from billing.rules.rate_card import NO_TARIFF, Card, Name, Wanted, alike, card_of
from billing.rules.rating import Key, Owed
from billing.rules.tariffs import Tariff

WORKING = {
    "rate_due": "hour timestamptz, tenant_id bigint, version int, rolled_at timestamptz",
    "rate_used": """hour timestamptz, tenant_id bigint, application_id bigint, model text,
        traffic_class text, runs_on text, tariff bigint, request bigint, prompt bigint,
        cached bigint, completion bigint, gpu_ms bigint, kept numeric""",
    "rate_span": "tariff bigint, hour timestamptz, span int",
    "rate_price": """span int, model text, traffic_class text, runs_on text, meter text,
        unit_price numeric, currency text, book_version_id bigint, by_month boolean""",
    "rate_owed": """hour timestamptz, tenant_id bigint, application_id bigint, model text,
        traffic_class text, meter text, runs_on text, quantity numeric, unit_price numeric,
        amount numeric, currency text, book_version_id bigint""",
    "rate_change": """hour timestamptz, tenant_id bigint, application_id bigint, model text,
        traffic_class text, meter text, runs_on text, quantity numeric, unit_price numeric,
        amount numeric, currency text, book_version_id bigint""",
}
# Hour by hour, so that no more heads are read than a pass takes.
TAKE = """
INSERT INTO rate_due SELECT h.hour, h.tenant_id, h.version, h.rolled_at
FROM (SELECT DISTINCT hour FROM rating_mark ORDER BY hour) AS m CROSS JOIN LATERAL (
    SELECT hour, tenant_id, version, rolled_at FROM usage_hour_head WHERE hour = m.hour
        AND version <> rated_version AND tenant_id %% %s = %s
        AND (hour <= %s OR rated_at IS NULL OR rated_version = 0 OR rated_at <= %s)
    ORDER BY tenant_id
) AS h LIMIT %s
"""
# In the order in which the roll-up writes them, or two would wait for each other. What it wrote
# since they were taken is rated as it is now.
LOCK_DUE = """
WITH locked AS MATERIALIZED (
    SELECT h.hour, h.tenant_id, h.version, h.rolled_at
    FROM rate_due d JOIN usage_hour_head h ON h.hour = d.hour AND h.tenant_id = d.tenant_id
    ORDER BY h.hour, h.tenant_id FOR NO KEY UPDATE OF h
)
UPDATE rate_due d SET version = l.version, rolled_at = l.rolled_at
FROM locked l WHERE l.hour = d.hour AND l.tenant_id = d.tenant_id
"""
GIVE_UP = """
DELETE FROM rate_due WHERE tenant_id = ANY(%s) RETURNING hour, tenant_id, version
"""
ADD_DUE = """
INSERT INTO rate_due SELECT m.hour, m.tenant_id, m.version, h.rolled_at
FROM unnest(%s::timestamptz[], %s::bigint[], %s::int[]) AS m (hour, tenant_id, version)
LEFT JOIN usage_hour_head h ON h.hour = m.hour AND h.tenant_id = m.tenant_id
"""
# Materialized, because small sides are known here: joined later, they would be walked row by row.
USE = """
WITH d AS MATERIALIZED (
    SELECT d.hour, d.tenant_id, coalesce(t.tariff, %s) AS tariff FROM rate_due d
    LEFT JOIN unnest(%s::bigint[], %s::bigint[]) AS t (tenant_id, tariff) USING (tenant_id)
)
INSERT INTO rate_used
SELECT u.hour, u.tenant_id, application_id, model, {of}, d.tariff, {sums}
FROM d JOIN {table} u ON u.hour = d.hour AND u.tenant_id = d.tenant_id {where}
GROUP BY 1, 2, 3, 4, 5, 6, 7
"""
# What is counted by whose engines answered, what by their GPUs, and what is of no request.
OF_REQUESTS = USE.format(
    of="traffic_class, hosted",
    sums="sum(requests), sum(prompt_tokens), sum(cached_tokens), sum(completion_tokens), 0, 0",
    table="usage_hour",
    where="WHERE outcome = ANY(%s)",
)
OF_GPUS = USE.format(
    of="traffic_class, gpu_product",
    sums="0, 0, 0, 0, sum(gpu_ms), 0",
    table="usage_hour",
    where="WHERE outcome = ANY(%s) AND hosted = '' AND gpu_ms <> 0",
)
OF_PREFIXES = USE.format(
    of="''::text, ''::text", sums="0, 0, 0, 0, 0, sum(gib_hours)", table="prefix_hour", where=""
)
# As `rules.meters.quantities` has them; a meter without its own fails here, not in somebody's bill.
QUANTITIES = {
    Meter.PROMPT: "prompt - cached",
    Meter.CACHED: "cached",
    Meter.COMPLETION: "completion",
    Meter.REQUEST: "request",
    Meter.GPU_SECOND: "gpu_ms * 0.001",
    Meter.KEPT_PREFIX: "kept",
}
CASES = " ".join(f"WHEN '{meter}' THEN {QUANTITIES[meter]}" for meter in BY_USE)
PRICED = f"""
FROM rate_used u
JOIN rate_span s ON s.tariff = u.tariff AND s.hour = u.hour
JOIN rate_price c ON c.span = s.span AND c.model = u.model AND c.traffic_class = u.traffic_class
    AND c.runs_on = u.runs_on
CROSS JOIN LATERAL (SELECT CASE c.meter {CASES} END AS quantity) q
WHERE q.quantity <> 0
"""
PRICE = f"""
INSERT INTO rate_owed
SELECT u.hour, u.tenant_id, u.application_id, u.model, u.traffic_class, c.meter, u.runs_on,
    q.quantity, c.unit_price, q.quantity * c.unit_price, c.currency, c.book_version_id
{PRICED} AND NOT c.by_month
"""
BY_MONTH = f"""
SELECT u.hour, u.tenant_id, u.application_id, u.model, u.traffic_class, c.meter, u.runs_on,
    q.quantity
{PRICED} AND c.by_month
"""
ADD_OWED = """
INSERT INTO rate_owed
SELECT hour, tenant_id, application_id, model, traffic_class, meter, runs_on, quantity, unit_price,
    quantity * unit_price, currency, book_version_id
FROM unnest(%s::timestamptz[], %s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[],
    %s::text[], %s::numeric[], %s::numeric[], %s::text[], %s::bigint[]) AS o (hour, tenant_id,
    application_id, model, traffic_class, meter, runs_on, quantity, unit_price, currency,
    book_version_id)
"""
SPENT = """
SELECT coalesce(sum(amount), 0) FROM rate_owed
WHERE tenant_id = %s AND hour >= %s AND hour < %s
"""
FRESH = """
SELECT hour, tenant_id FROM unnest(%s::timestamptz[], %s::bigint[]) AS m (hour, tenant_id)
EXCEPT SELECT hour, tenant_id FROM rate_due ORDER BY hour, tenant_id
"""
# The bytes: the rules, a line for each hour, a line for each version of a book. Each hour is
# spelled once, for all of its tenants.
DIGEST = """
SELECT count(*), encode(sha256(convert_to(%s || coalesce(string_agg(
    spelled || tenant_id || ' ' || version || chr(10), '' ORDER BY hour, tenant_id), '') || %s,
    'UTF8')), 'hex')
FROM rate_due JOIN (
    SELECT hour, to_char(hour AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS') || '+00:00 ' AS spelled
    FROM rate_due GROUP BY hour
) AS hours USING (hour)
"""


def take_due(cursor: Any, lane: Lane, closed: datetime, seen: datetime, most: int) -> list[int]:
    """Find hours to rate, oldest first. Answers whose they are."""
    cursor.execute(TAKE, [lane.of, lane.number, closed, seen, most])
    cursor.execute("ANALYZE rate_due")
    cursor.execute("SELECT DISTINCT tenant_id FROM rate_due ORDER BY 1")
    return [row[0] for row in cursor.fetchall()]


def give_up(cursor: Any, tenant_ids: Sequence[int]) -> list[Due]:
    cursor.execute(GIVE_UP, [list(tenant_ids)])
    return sorted(cursor.fetchall())


def add_due(cursor: Any, due: Sequence[Due]) -> None:
    if due:
        cursor.execute(ADD_DUE, columns(due))
        cursor.execute("ANALYZE rate_due")


def lock_due(cursor: Any) -> None:
    cursor.execute(LOCK_DUE)
    cursor.execute("ANALYZE rate_due")


def gather(cursor: Any, tariffs: Mapping[int, int], *, by_gpu: bool) -> dict[int, Wanted]:
    """Read the usage of what is due; answer which prices of which tariff it needs.

    `by_gpu`: somebody pays for GPU time.
    """
    billed = sorted(outcome.value for outcome in BILLED)
    who = [NO_TARIFF, list(tariffs), list(tariffs.values())]
    for statement in (OF_REQUESTS, OF_GPUS) if by_gpu else (OF_REQUESTS,):
        cursor.execute(statement, [*who, billed])
    cursor.execute(OF_PREFIXES, who)
    hours: dict[int, set[datetime]] = defaultdict(set)
    names: dict[int, set[Name]] = defaultdict(set)
    cursor.execute("SELECT DISTINCT tariff, hour FROM rate_used")
    for tariff, hour in cursor.fetchall():
        hours[tariff].add(hour)
    cursor.execute("SELECT DISTINCT tariff, model, traffic_class, runs_on FROM rate_used")
    for tariff, model, traffic_class, runs_on in cursor.fetchall():
        names[tariff].add((model, traffic_class, runs_on))
    return {tariff: Wanted(hours[tariff], names[tariff]) for tariff in hours}


def card_for(cursor: Any, tariffs: Mapping[int, Tariff]) -> Card:
    """The prices that the usage of what is due needs, by tenant."""
    by_gpu = any(tariff.sells(Meter.GPU_SECOND) for tariff in tariffs.values())
    return card_of(tariffs, gather(cursor, alike(tariffs), by_gpu=by_gpu))


def price(cursor: Any, card: Card) -> dict[Key, Decimal]:
    """Price what depends on its hour alone; answer what depends on the month."""
    _copy(cursor, "rate_span", card.spans)
    _copy(cursor, "rate_price", card.prices)
    cursor.execute(PRICE)
    if not any(row[-1] for row in card.prices):
        return {}
    cursor.execute(BY_MONTH)
    return {Key(*row[:7]): Decimal(row[7]) for row in cursor.fetchall()}


def add_owed(cursor: Any, owed: Owed) -> None:
    rows = [
        (
            key.hour,
            key.tenant_id,
            key.application_id,
            key.model,
            key.traffic_class,
            key.meter,
            key.runs_on,
            quantity,
            tag.unit_price,
            tag.currency,
            tag.book_version_id,
        )
        for (key, tag), quantity in owed.items()
    ]
    if rows:
        cursor.execute(ADD_OWED, columns(rows))


def spent(cursor: Any, tenant_id: int, start: datetime, end: datetime) -> Decimal:
    cursor.execute(SPENT, [tenant_id, start, end])
    found: Decimal = cursor.fetchone()[0]
    return found


def not_due(cursor: Any, hours: Sequence[tuple[datetime, int]]) -> list[tuple[datetime, int]]:
    if not hours:
        return []
    cursor.execute(FRESH, columns(hours))
    found: list[tuple[datetime, int]] = cursor.fetchall()
    return found


def digest(cursor: Any, rules: str, books: str) -> tuple[int, str]:
    """How many hours are due, and the digest of all that decides their charges."""
    cursor.execute(DIGEST, [rules, books])
    hours, sha = cursor.fetchone()
    return hours, sha


def _copy(cursor: Any, table: str, rows: Sequence[Sequence[object]]) -> None:
    with cursor.copy(f"COPY {table} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
    cursor.execute(f"ANALYZE {table}")
