"""Charges by the release that answered: whole UTC days from their sums, the edges from hours.

An hour's charge of a key (application, model, class, meter) is shared by what each release had of
the meter, at 12 decimals; the release with the most takes what is left of rounding, so the parts
add up to the charge. Fees, and usage whose release is not known, have none.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection

from billing.queries.charged import ChargeFilter, edges
from billing.queries.visibility import narrowed
from billing.rules.meters import BILLED
from tenants.rules.access import Viewer

ZERO = Decimal(0)
KEY = "hour, tenant_id, application_id, model, traffic_class"
SAME = " AND ".join(f"u.{name} = p.{name}" for name in KEY.split(", "))
OUTCOMES = ", ".join(f"'{outcome}'" for outcome in sorted(BILLED))
# `charges` and `usage` are rows of the same hours, each with the day it is summed up for.
CUT = f"""
WITH paid AS MATERIALIZED (
    SELECT day, {KEY}, meter, runs_on, currency, sum(amount) AS amount FROM ({{charges}}) AS c
    GROUP BY day, {KEY}, meter, runs_on, currency
), used AS MATERIALIZED (
    SELECT {KEY}, release, hosted, gpu_product, sum(prompt_tokens - cached_tokens) AS prompt,
        sum(cached_tokens) AS cached, sum(completion_tokens) AS completion,
        sum(requests) AS request, sum(gpu_ms) AS gpu_second
    FROM ({{usage}}) AS u WHERE outcome IN ({OUTCOMES})
    GROUP BY {KEY}, release, hosted, gpu_product
), shares AS (
    SELECT p.*, u.release, u.gpu_product, CASE meter WHEN 'prompt' THEN u.prompt
        WHEN 'cached' THEN u.cached WHEN 'completion' THEN u.completion
        WHEN 'request' THEN u.request WHEN 'gpu_second' THEN u.gpu_second ELSE 0 END AS part
    FROM paid p LEFT JOIN used u ON {SAME} AND CASE meter
        WHEN 'gpu_second' THEN u.hosted = '' AND u.gpu_product = p.runs_on
        ELSE u.hosted = p.runs_on END
), cut AS (
    SELECT *, amount * part / sum(part) OVER w AS exact,
        row_number() OVER (w ORDER BY part DESC, release, gpu_product) AS place
    FROM shares WHERE part > 0 WINDOW w AS (PARTITION BY day, {KEY}, meter, runs_on, currency)
), rounded AS (
    SELECT day, {KEY}, release, meter, currency, CASE place WHEN 1
        THEN amount - coalesce(sum(round(exact, 12)) FILTER (WHERE place > 1)
            OVER (PARTITION BY day, {KEY}, meter, runs_on, currency), 0)
        ELSE round(exact, 12) END AS amount
    FROM cut
)
SELECT day, tenant_id, model, release, currency, sum(amount) AS amount FROM (
    SELECT day, tenant_id, model, release, currency, amount FROM rounded
    UNION ALL
    SELECT day, tenant_id, model, '', currency, amount FROM paid
    UNION ALL
    SELECT day, tenant_id, model, '', currency, -amount FROM rounded
) AS lines GROUP BY day, tenant_id, model, release, currency HAVING sum(amount) <> 0
"""
IN_EDGES = """(hour >= %(start)s AND hour < %(first_at)s OR hour >= %(last_at)s AND hour < %(end)s)
    {where}"""
DAY = "(hour AT TIME ZONE 'UTC')::date AS day"
OF_EDGES = CUT.format(
    charges=f"SELECT {DAY}, charge.* FROM charge WHERE {IN_EDGES}",
    usage=f"SELECT * FROM usage_hour WHERE {IN_EDGES}",
)
SUMS = f"""
SELECT model, release, sum(amount) FROM (
    SELECT model, release, amount FROM charge_release
        WHERE day >= %(first)s AND day < %(last)s {{where}}
    UNION ALL
    SELECT model, release, amount FROM ({OF_EDGES}) AS hours
) AS parts GROUP BY model, release HAVING sum(amount) <> 0
"""
# Of a day with one attributed hour or more: all of it, less its other hours.
OF_HOURS = CUT.format(
    charges=f"SELECT {DAY}, charge.* FROM charge WHERE hour = ANY(%(others)s)"
    " AND currency = %(currency)s",
    usage="SELECT * FROM usage_hour WHERE hour = ANY(%(others)s)",
)
REVENUE = f"""
SELECT model, release, sum(amount) FROM (
    SELECT model, release, amount FROM charge_release
        WHERE day = ANY(%(days)s) AND currency = %(currency)s
    UNION ALL
    SELECT model, release, -amount FROM ({OF_HOURS}) AS hours
) AS parts GROUP BY model, release HAVING sum(amount) <> 0
"""

Of = tuple[str, str]  # a service's name and a release; both may be empty


@dataclass(frozen=True, slots=True)
class ReleasePart:
    """What a tenant was charged for answers of one release, and in the span beside it."""

    model: str
    release: str
    amount: Decimal
    share: Decimal  # of the whole, 0 to 1
    before: Decimal

    @property
    def difference(self) -> Decimal:
        return self.amount - self.before

    @property
    def change(self) -> Decimal | None:
        return self.difference / self.before if self.before else None


def release_parts(
    viewer: Viewer, wanted: ChargeFilter, compared: ChargeFilter
) -> list[ReleasePart]:
    """Of a tenant's whole charges, the largest first; what only `compared` has is listed too."""
    mine, theirs = _both(narrowed(viewer, wanted), narrowed(viewer, compared))
    whole = sum(mine.values(), ZERO)
    found = [
        ReleasePart(
            *key,
            amount=mine.get(key, ZERO),
            share=mine.get(key, ZERO) / whole if whole else ZERO,
            before=theirs.get(key, ZERO),
        )
        for key in mine.keys() | theirs.keys()
    ]
    return sorted(found, key=lambda p: (-p.amount, p.model, p.release))


def sum_releases(wanted: ChargeFilter) -> dict[Of, Decimal]:
    """Of all charges of the tenants in the filter; it narrows by nothing else."""
    sql, given = _statement(wanted)
    with connection.cursor() as cursor:
        cursor.execute(sql, given)
        return {(model, release): amount for model, release, amount in cursor.fetchall()}


def _both(one: ChargeFilter, two: ChargeFilter) -> tuple[dict[Of, Decimal], dict[Of, Decimal]]:
    """Both spans in one statement: pages ask for them side by side."""
    (sql, given), (sql_two, given_two) = _statement(one), _statement(two)
    given |= {f"two_{name}": value for name, value in given_two.items()}
    sql_two = sql_two.replace("%(", "%(two_")
    sides: tuple[dict[Of, Decimal], dict[Of, Decimal]] = ({}, {})
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT 0, a.* FROM ({sql}) AS a UNION ALL SELECT 1, b.* FROM ({sql_two}) AS b", given
        )
        for side, model, release, amount in cursor.fetchall():
            sides[side][model, release] = amount
    return sides


def _statement(wanted: ChargeFilter) -> tuple[str, dict[str, Any]]:
    kept = replace(wanted, application_id=None, model="", traffic_class="", meter="")
    where, given = kept.conditions()
    return SUMS.format(where=where), given | edges(wanted.start, wanted.end)


def revenue_of_releases(
    days: Sequence[Any], others: Sequence[datetime], currency: str
) -> dict[Of, Decimal]:
    """Of the given days without the hours `others`, of the fleet."""
    given: dict[str, Any] = {"days": list(days), "others": list(others), "currency": currency}
    with connection.cursor() as cursor:
        cursor.execute(REVENUE, given)
        return {(model, release): amount for model, release, amount in cursor.fetchall()}
