"""Usage and charges of given hours of tenants, as the rating compares them."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from django.db import connection

from billing.rules.meters import Usage
from billing.rules.rating import Key, PriceTag

PAIRS = "unnest(%s::timestamptz[], %s::bigint[]) AS m (hour, tenant_id)"
# As `rules.meters.Usage` has them, in no order; {from_} narrows both to some hours of tenants.
OF_USE = """
SELECT hour, tenant_id, application_id, model, traffic_class, outcome, sum(requests)::bigint,
    sum(prompt_tokens)::bigint, sum(cached_tokens)::bigint, sum(completion_tokens)::bigint,
    sum(gpu_ms)::bigint, hosted, gpu_product, 0
{from_hours} GROUP BY 1, 2, 3, 4, 5, 6, 12, 13
UNION ALL
SELECT hour, tenant_id, application_id, model, '', 'served', 0, 0, 0, 0, 0, '', '', gib_hours
{from_prefixes}
"""
USAGE = (
    OF_USE.format(
        from_hours=f"FROM {PAIRS} JOIN usage_hour u USING (hour, tenant_id)",
        from_prefixes=f"FROM {PAIRS} JOIN prefix_hour p USING (hour, tenant_id)",
    )
    + "ORDER BY 1, 2, 3, 4, 5, 6, 12, 13"
)
CHARGED = f"""
SELECT c.hour, c.tenant_id, application_id, model, traffic_class, meter, runs_on,
    unit_price, currency, book_version_id, sum(quantity)
FROM {PAIRS} JOIN charge c USING (hour, tenant_id)
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 HAVING sum(quantity) <> 0
"""
UNRATED = """
SELECT hour, tenant_id FROM usage_hour_head
WHERE version <> rated_version AND hour IN (SELECT hour FROM rating_mark)
    AND hour >= %s AND hour < %s
    AND (%s::bigint[] IS NULL OR tenant_id = ANY(%s))
ORDER BY hour, tenant_id LIMIT %s
"""
MOST_UNRATED = 2_000  # a longer queue is told by its length, not priced on the way

Pairs = tuple[list[datetime], list[int]]  # hours and tenants, side by side


def read_usage(pairs: Pairs) -> list[Usage]:
    with connection.cursor() as cursor:
        cursor.execute(USAGE, [*pairs, *pairs])
        return [Usage(*row) for row in cursor.fetchall()]


def read_charged(pairs: Pairs) -> dict[tuple[Key, PriceTag], Decimal]:
    with connection.cursor() as cursor:
        cursor.execute(CHARGED, list(pairs))
        return {(Key(*row[:7]), PriceTag(*row[7:10])): row[10] for row in cursor.fetchall()}


def unrated_hours(
    start: datetime, end: datetime, tenant_ids: Sequence[int] | None = None
) -> list[tuple[datetime, int]]:
    """Hours that changed since they were rated, the oldest `MOST_UNRATED`."""
    ids = None if tenant_ids is None else list(tenant_ids)
    with connection.cursor() as cursor:
        cursor.execute(UNRATED, [start, end, ids, ids, MOST_UNRATED])
        return [(hour, tenant_id) for hour, tenant_id in cursor.fetchall()]


def columns(rows: Sequence[Sequence[object]]) -> list[list[object]]:
    """Rows as parallel arrays for `unnest`."""
    return [list(column) for column in zip(*rows, strict=True)]
