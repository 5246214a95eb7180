"""Charges as lines of a file: one line an hour, key and price, differences summed up.

`read_lines` takes the charges of usage in a range, as pages do. `read_billed` takes those that are
billed in it: a correction of an earlier month stands in the month that it is billed in.
"""

from collections.abc import Generator
from datetime import datetime

from django.db import connection

from billing.queries.charged import ChargeFilter
from billing.queries.extras import Documents
from billing.queries.hours import unrated_hours
from billing.queries.line_names import Names
from billing.rules.focus import Line

LINES = """
SELECT hour, tenant_id, application_id, model, traffic_class, meter, sum(quantity), unit_price,
    sum(amount), currency, book_version_id, max(run_id), NULL, NULL, false, NULL, NULL, max(id)
FROM charge WHERE hour >= %(start)s AND hour < %(end)s {where}
GROUP BY hour, tenant_id, application_id, model, traffic_class, meter, unit_price, currency,
    book_version_id
HAVING sum(quantity) <> 0
ORDER BY hour, tenant_id, application_id, model, traffic_class, meter, unit_price, book_version_id
"""
# What came after the first invoice of a period that was opened again corrects it as well.
BILLED_LINES = """
WITH periods AS MATERIALIZED (
    SELECT id, tenant_id, starts_at, ends_at,
        (SELECT min(i.upto_charge) FROM invoice i
            WHERE i.period_id = p.id AND i.id <= %(invoices)s) AS billed_upto
    FROM billing_period p WHERE ends_at > %(start)s AND starts_at < %(end)s
), billed AS (
    SELECT * FROM charge WHERE (correction_period_id IS NULL
            AND hour >= %(start)s AND hour < %(end)s
        OR correction_period_id IN (SELECT id FROM periods WHERE starts_at >= %(start)s)) {where}
)
SELECT c.hour, c.tenant_id, c.application_id, c.model, c.traffic_class, c.meter, sum(c.quantity),
    c.unit_price, sum(c.amount), c.currency, c.book_version_id, max(c.run_id), p.id, i.id,
    c.correction_period_id IS NOT NULL OR coalesce(c.id > p.billed_upto, false) AS corrects,
    i.currency, i.rate, max(c.id)
FROM billed c
LEFT JOIN periods p ON p.tenant_id = c.tenant_id AND (p.id = c.correction_period_id
    OR c.correction_period_id IS NULL AND c.hour >= p.starts_at AND c.hour < p.ends_at)
LEFT JOIN invoice i ON i.period_id = p.id AND i.priced_in = c.currency
    AND c.id > i.after_charge AND c.id <= i.upto_charge AND i.id <= %(invoices)s
GROUP BY c.hour, c.tenant_id, c.application_id, c.model, c.traffic_class, c.meter, c.unit_price,
    c.currency, c.book_version_id, p.id, i.id, corrects
HAVING sum(c.quantity) <> 0
ORDER BY c.hour, c.tenant_id, c.application_id, c.model, c.traffic_class, c.meter, c.unit_price,
    c.book_version_id, p.id, i.id, corrects
"""
CHUNK = 2_000


def read_lines(wanted: ChargeFilter) -> Generator[tuple[Line, int]]:
    """Each line with the id of its newest charge. One statement, so one snapshot."""
    return _read(LINES, wanted)


def read_billed(wanted: ChargeFilter, *, known: Documents) -> Generator[tuple[Line, int]]:
    """The same of what is billed in the range, with the invoice that it is on."""
    return _read(BILLED_LINES, wanted, invoices=known.invoices)


def _read(sql: str, wanted: ChargeFilter, **more: int) -> Generator[tuple[Line, int]]:
    where, given = wanted.conditions()
    given |= {"start": wanted.start, "end": wanted.end, **more}
    names = Names()
    with connection.chunked_cursor() as cursor:
        cursor.execute(sql.format(where=where), given)
        while rows := cursor.fetchmany(CHUNK):
            for row in rows:
                yield names.line(row), row[-1]


def complete_until(wanted: ChargeFilter, now: datetime) -> datetime:
    """Usage that ended before this is charged. Read it before the lines, never after."""
    tenants = [wanted.tenant_id] if wanted.tenant_id else None
    waiting = unrated_hours(wanted.start, wanted.end, tenants)
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    return min([wanted.end, max(this_hour, wanted.start), *(hour for hour, _ in waiting)])
