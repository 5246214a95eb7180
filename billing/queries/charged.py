"""Sums of charges over any range of hours: whole UTC days from day sums, the edges from charges."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection

DAY = timedelta(days=1)
FIELDS = ("tenant_id", "application_id", "model", "traffic_class", "meter", "currency")
# The first and the last day of a range may be cut, by a tenant's midnight or by "now".
SUMS = """
SELECT {group} coalesce(sum(quantity), 0), coalesce(sum(amount), 0) FROM (
    SELECT day, {fields}, quantity, amount FROM charge_day WHERE day >= %(first)s AND day < %(last)s
        {where}
    UNION ALL
    SELECT (hour AT TIME ZONE 'UTC')::date, {fields}, quantity, amount FROM charge
        WHERE (hour >= %(start)s AND hour < %(first_at)s
            OR hour >= %(last_at)s AND hour < %(end)s) {where}
) AS lines {by}
"""


@dataclass(frozen=True, slots=True)
class ChargeFilter:
    """Which charges: the same object narrows sums, rows, files. Empty means any."""

    start: datetime
    end: datetime
    tenant_id: int | None = None
    application_id: int | None = None  # 0: what the tenant owes as a whole
    model: str = ""
    traffic_class: str = ""
    meter: str = ""
    tenant_ids: tuple[int, ...] | None = None

    def conditions(self) -> tuple[str, dict[str, Any]]:
        names = ("tenant_id", "application_id", "model", "traffic_class", "meter")
        found = {n: getattr(self, n) for n in names}
        given = {n: value for n, value in found.items() if value not in (None, "")}
        clauses = [f"AND {n} = %({n})s" for n in given]
        if self.tenant_ids is not None:
            clauses.append("AND tenant_id = ANY(%(tenant_ids)s)")
            given["tenant_ids"] = list(self.tenant_ids)
        return " ".join(clauses), given


@dataclass(frozen=True, slots=True)
class Sum:
    key: tuple[Any, ...]  # the values of the fields that were grouped by
    quantity: Decimal
    amount: Decimal


def sum_charges(wanted: ChargeFilter, by: Sequence[str] = ()) -> list[Sum]:
    """Sums of quantity and amount by any of `FIELDS` or "day" (UTC), in the scope that is open."""
    unknown = set(by) - {*FIELDS, "day"}
    if unknown:
        raise ValueError(f"cannot group by {unknown}")
    where, given = wanted.conditions()
    group = "".join(f"{name}, " for name in by)
    sql = SUMS.format(
        group=group,
        fields=", ".join(FIELDS),
        where=where,
        by=f"GROUP BY {', '.join(by)} ORDER BY {', '.join(by)}" if by else "",
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, given | edges(wanted.start, wanted.end))
        return [Sum(tuple(row[:-2]), row[-2], row[-1]) for row in cursor.fetchall()]


def edges(start: datetime, end: datetime) -> dict[str, Any]:
    """Whole days [first, last) inside [start, end), and the instants where they begin and end."""
    start, end = start.astimezone(UTC), max(end, start).astimezone(UTC)
    first = start.date() if start == midnight(start.date()) else start.date() + DAY
    last = end.date()
    if first > last:  # both within one day: no whole day, one edge
        first = last = start.date()
        return {
            "start": start,
            "end": end,
            "first": first,
            "last": last,
            "first_at": end,
            "last_at": end,
        }
    return {
        "start": start,
        "end": end,
        "first": first,
        "last": last,
        "first_at": midnight(first),
        "last_at": midnight(last),
    }


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


COARSE = ("day", "tenant_id", "model", "currency")
# Each part is summed before the parts are joined: half the time of summing the joined rows.
AMOUNTS = """
SELECT {group} sum(amount) FROM (
    SELECT {group} sum(amount) AS amount FROM {totals}
        WHERE day >= %(first)s AND day < %(last)s {where} {by}
    UNION ALL
    SELECT {group} sum(amount) FROM (
        SELECT (hour AT TIME ZONE 'UTC')::date AS day, tenant_id, {model}, currency, amount
            FROM {source} WHERE (hour >= %(start)s AND hour < %(first_at)s
                OR hour >= %(last_at)s AND hour < %(end)s) {where}
    ) AS hours {by}
) AS parts {by} {order}
"""


def sum_amounts(wanted: ChargeFilter, by: Sequence[str] = ()) -> dict[tuple[Any, ...], Decimal]:
    """Amounts alone, by any of `COARSE`: some hundred times fewer rows to read than `sum_charges`.

    The same sums: totals are made of the day's charges, and an hour's head holds the sum of its
    charges, written in one transaction with them.
    """
    if wanted.application_id is not None or wanted.traffic_class or wanted.meter:
        return {line.key: line.amount for line in sum_charges(wanted, by)}
    unknown = set(by) - {*COARSE}
    if unknown:
        raise ValueError(f"cannot group by {unknown}")
    by_model = bool(wanted.model) or "model" in by
    where, given = wanted.conditions()
    sql = AMOUNTS.format(
        group="".join(f"{name}, " for name in by),
        model="model" if by_model else "'' AS model",
        totals="charge_total" if by_model else "charge_sum",
        source="charge" if by_model else "usage_hour_head",
        where=where,
        by=f"GROUP BY {', '.join(by)}" if by else "",
        order=f"ORDER BY {', '.join(by)}" if by else "",
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, given | edges(wanted.start, wanted.end))
        return {tuple(row[:-1]): row[-1] or Decimal(0) for row in cursor.fetchall()}


BY_LOCAL_DAY = """
SELECT (hour AT TIME ZONE %(zone)s)::date, sum(amount) FROM charge
WHERE hour >= %(start)s AND hour < %(end)s {where} GROUP BY 1 ORDER BY 1
"""


BY_LOCAL_DAY_OF_USE = """
SELECT (hour AT TIME ZONE %(zone)s)::date, left(model, 1), sum(amount) FROM charge
WHERE hour >= %(start)s AND hour < %(end)s {where} GROUP BY 1, 2 ORDER BY 1, 2
"""


def sum_days_of_use(
    wanted: ChargeFilter, time_zone: str = "UTC"
) -> tuple[dict[date, Decimal], dict[date, Decimal]]:
    """Amounts by the zone's day: for use of services, and what is owed by the account as a whole
    (fees, minima), which has no service."""
    if time_zone == "UTC":
        rows = [(*key, of) for key, of in sum_amounts(wanted, by=("day", "model")).items()]
    else:
        where, given = wanted.conditions()
        given |= {"zone": time_zone, "start": wanted.start, "end": wanted.end}
        with connection.cursor() as cursor:
            cursor.execute(BY_LOCAL_DAY_OF_USE.format(where=where), given)
            rows = cursor.fetchall()
    use: dict[date, Decimal] = {}
    account: dict[date, Decimal] = {}
    for day, model, amount in rows:
        of = use if model else account
        of[day] = of.get(day, Decimal(0)) + amount
    return use, account


def sum_days(wanted: ChargeFilter, time_zone: str = "UTC") -> dict[date, Decimal]:
    """Amounts by the zone's calendar day; quiet days are absent."""
    if time_zone == "UTC":
        return {key[0]: amount for key, amount in sum_amounts(wanted, by=("day",)).items()}
    where, given = wanted.conditions()
    given |= {"zone": time_zone, "start": wanted.start, "end": wanted.end}
    with connection.cursor() as cursor:
        cursor.execute(BY_LOCAL_DAY.format(where=where), given)
        return dict(cursor.fetchall())
