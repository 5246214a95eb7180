"""Charges as batches of a file: one row an hour, key and price, differences summed up.

`read_lines` takes the charges of usage in a range, as pages do. `read_billed` takes those that are
billed in it: a correction of an earlier month stands in the month that it is billed in.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from django.db import connection

from billing.queries.ahead import ahead
from billing.queries.charged import ChargeFilter
from billing.queries.extras import Documents
from billing.queries.hours import unrated_hours
from billing.queries.line_names import Key, Names, key_of
from billing.rules.batches import (
    CODED,
    COUNT,
    MONEY,
    ROWS,
    Batch,
    Codes,
    add_up,
    read_columns,
)
from billing.rules.exchange import convert_all
from billing.rules.focus import Line, Measure, stamp

# One row of the answer is an hour: its charges are text, which costs a tenth of as many rows.
CELLS = """c.hour, count(*), sum(c.amount), string_agg(concat_ws(',',
    '"' || replace(c.model, '"', '""') || '"',
    concat_ws('/', c.tenant_id, c.application_id, c.traffic_class, c.meter, c.unit_price,
        c.currency, c.book_version_id, {documents}, c.runs_on),
    c.quantity, c.run_id, c.id), E'\n')"""
TYPES = {
    "model": CODED, "key": CODED, "quantity": COUNT, "run": pa.int64(), "newest": pa.int64(),
}  # fmt: skip
# To multiply without loss, and what a price is in the database.
WIDE_COUNT, WIDE_PRICE = pa.decimal256(38, 6), pa.decimal256(24, 12)
# A range is read slice by slice: the first hours are on their way while the later ones are read,
# and nothing is ever sorted but the hours of a slice.
SLICE = "interval '6 hours'"
SLICES = f"""
SELECT at, least(at + {SLICE}, %(end)s) AS until
FROM generate_series(%(start)s, %(end)s - interval '1 us', {SLICE}) AS at
"""
LINES = f"""
SELECT of_slice.* FROM ({SLICES} ORDER BY at) AS slice CROSS JOIN LATERAL (
    SELECT {CELLS.format(documents="0, 0, false")}
    FROM charge c WHERE c.hour >= slice.at AND c.hour < slice.until {{where}}
    GROUP BY c.hour ORDER BY c.hour
) AS of_slice
"""
# What came after the first invoice of a period that was opened again corrects it as well.
CORRECTS = "c.correction_period_id IS NOT NULL OR coalesce(c.id > p.billed_upto, false)"
BILLED_LINES = f"""
WITH periods AS MATERIALIZED (
    SELECT id, tenant_id, starts_at, ends_at,
        (SELECT min(i.upto_charge) FROM invoice i
            WHERE i.period_id = p.id AND i.id <= %(invoices)s) AS billed_upto
    FROM billing_period p WHERE ends_at > %(start)s AND starts_at < %(end)s
), slices AS MATERIALIZED (
    {SLICES}
    UNION ALL
    -- What is corrected here lies before the range.
    SELECT at, least(at + {SLICE}, %(start)s) FROM (
        SELECT DISTINCT date_bin({SLICE}, hour, %(start)s) AS at FROM charge
        WHERE correction_period_id IN (SELECT id FROM periods WHERE starts_at >= %(start)s)
            AND hour < %(start)s
    ) AS corrected
)
SELECT of_slice.* FROM (SELECT * FROM slices ORDER BY at) AS slice CROSS JOIN LATERAL (
    SELECT {CELLS.format(documents=f"coalesce(p.id, 0), coalesce(i.id, 0), {CORRECTS}")}
    FROM (
        SELECT * FROM charge WHERE hour >= slice.at AND hour < slice.until
            AND (correction_period_id IS NULL AND hour >= %(start)s
                OR correction_period_id IN (SELECT id FROM periods WHERE starts_at >= %(start)s))
            {{where}}
    ) AS c
    LEFT JOIN periods p ON p.tenant_id = c.tenant_id AND (p.id = c.correction_period_id
        OR c.correction_period_id IS NULL AND c.hour >= p.starts_at AND c.hour < p.ends_at)
    LEFT JOIN invoice i ON i.period_id = p.id AND i.priced_in = c.currency
        AND c.id > i.after_charge AND c.id <= i.upto_charge AND i.id <= %(invoices)s
    GROUP BY c.hour ORDER BY c.hour
) AS of_slice
"""
MOST_LINES = 20_000  # that are remembered
MANY = 2**20  # more than there are of them
HOUR = timedelta(hours=1)


class Damaged(ValueError):
    """Amounts are not what quantities and prices make, although the database sees to it."""


@dataclass(frozen=True, slots=True)
class Hours:
    at: list[datetime]
    hour: pa.Array  # for each charge the place of its hour
    charges: pa.Table
    amount: Decimal  # of them all, as the database has it


def read_lines(wanted: ChargeFilter) -> Generator[Batch]:
    """One statement, so one snapshot."""
    return _read(LINES, wanted)


def read_billed(wanted: ChargeFilter, *, known: Documents) -> Generator[Batch]:
    """The same of what is billed in the range, with the invoices that it is on."""
    return _read(BILLED_LINES, wanted, invoices=known.invoices)


def _read(sql: str, wanted: ChargeFilter, **more: int) -> Generator[Batch]:
    """PostgreSQL reads and writes the next hours while these are worked on."""
    where, given = wanted.conditions()
    given |= {"start": wanted.start, "end": wanted.end, **more}
    with connection.chunked_cursor() as cursor:
        _open(cursor, sql.format(where=where), given)
        # After the charges were chosen: all that they can name is there.
        reader = Reader(Names(wanted, **more))
        with closing(ahead(_hours(cursor))) as read:
            for hours in read:
                yield from reader.batches(hours)


def _open(cursor: Any, sql: str, given: Mapping[str, object]) -> None:
    """To the planner rows behind a policy look few: it would walk all periods for each charge."""
    with connection.cursor() as settings:
        settings.execute("SET LOCAL enable_nestloop = off")
        cursor.execute(sql, given)
        settings.execute("SET LOCAL enable_nestloop TO DEFAULT")


def _hours(cursor: Any) -> Generator[Hours]:
    found: list[tuple[datetime, int, Decimal, str]] = []
    while more := cursor.fetchmany(1):
        found += more
        if sum(rows for _, rows, _, _ in found) >= ROWS:
            yield _read_hours(found)
            found = []
    if found:
        yield _read_hours(found)


def _read_hours(found: Sequence[tuple[datetime, int, Decimal, str]]) -> Hours:
    at, rows, amounts, texts = zip(*found, strict=True)
    charges = read_columns("\n".join(texts).encode(), TYPES)
    # Arrow's sum: Python's would round what has more than 28 digits.
    amount = pc.sum(pa.array(amounts, MONEY)).as_py()
    return Hours(list(at), _repeated(rows), charges, amount)


class Reader:
    """Numbers the lines of a file in the order in which they are met."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._spans: dict[tuple[object, ...], int] = {}
        self._begin()

    def _begin(self) -> None:
        self._models, self._keys = Codes(pa.string()), Codes(pa.string())
        self._numbers = Codes(pa.int64())
        self._order: list[Key] = []
        self._lines: list[Line] = []

    def batches(self, hours: Hours) -> Generator[Batch]:
        """One, or none where everything was taken back."""
        if len(self._lines) > MOST_LINES:
            self._begin()
        numbers = self._number(hours.charges, hours.at, hours.hour)
        table = self._add_up(hours.charges, hours.hour, numbers)
        amount = self._amount(table)
        made = pc.sum(amount).as_py() or Decimal(0)
        if made != hours.amount:
            raise Damaged(
                f"Charges from {hours.at[0]} to {hours.at[-1]} have amounts of {hours.amount}, but "
                f"their quantities and prices make {made}: `manage.py billing check` says more"
            )
        if len(table):
            yield self._batch(table, amount, hours.at)

    def _amount(self, table: pa.Table) -> pa.Array:
        """Quantity x unit price, exact: the database refuses another amount."""
        prices = pa.array([key.unit_price for key in self._order], WIDE_PRICE)
        price = prices.take(table["place"].chunk(0))
        exact = pc.multiply(table["quantity"].chunk(0).cast(WIDE_COUNT), price)
        return exact.cast(MONEY, safe=False)

    def _number(self, table: pa.Table, at: Sequence[datetime], hour: pa.Array) -> pa.Array:
        """For each row the number of its line."""
        model, key = (table[name].chunk(0) for name in ("model", "key"))
        spans = [self._spans.setdefault(self._names.span(h), len(self._spans)) for h in at]
        span = pa.array(spans, pa.int64()).take(hour)
        code = _pair(self._keys.of_coded(key), self._models.of_coded(model))
        numbers = self._numbers.of(_pair(code, span))
        new = pa.array(range(len(self._lines), len(self._numbers.known)), pa.int32())
        for row in pc.index_in(new, value_set=numbers).to_pylist():
            found = key_of(model[row].as_py(), key[row].as_py())
            self._order.append(found)
            self._lines.append(self._names.line(found, at[hour[row].as_py()]))
        return numbers

    def _add_up(self, table: pa.Table, hour: pa.Array, numbers: pa.Array) -> pa.Table:
        """By hour and key, without what was taken back."""
        lines = len(self._lines)
        order = sorted(range(lines), key=self._order.__getitem__)
        ranks = [0] * lines
        for rank, number in enumerate(order):
            ranks[number] = rank
        rank = pa.array(ranks, pa.int64()).take(numbers)
        table = table.drop_columns(["model", "key"])
        table = table.append_column("code", pc.add(pc.multiply(hour, lines), rank))
        table = add_up(table, "code")
        code = table["code"].chunk(0)
        hour = pc.divide(code, lines)
        rank = pc.subtract(code, pc.multiply(hour, lines))
        table = table.append_column("hour", hour)
        table = table.append_column("place", pa.array(order, pa.int32()).take(rank))
        return table.filter(pc.not_equal(table["quantity"], 0)).combine_chunks()

    def _batch(self, table: pa.Table, amount: pa.Array, at: Sequence[datetime]) -> Batch:
        columns = {name: table[name].chunk(0) for name in table.column_names}
        hour, run = columns["hour"].cast(pa.int32()), columns["run"].dictionary_encode()
        return Batch(
            lines=self._lines,
            place=columns["place"],
            measures={
                Measure.START: _coded(hour, [stamp(h) for h in at]),
                Measure.END: _coded(hour, [stamp(h + HOUR) for h in at]),
                Measure.QUANTITY: columns["quantity"],
                Measure.AMOUNT: amount,
                Measure.BILLED: self._billed(amount, columns["place"]),
                Measure.RUN: _coded(run.indices, [f"run-{n}" for n in run.dictionary.to_pylist()]),
            },
            newest=pc.max(columns["newest"]).as_py(),
        )

    def _billed(self, amount: pa.Array, place: pa.Array) -> pa.Array:
        rates = [line.exchange.rate for line in self._lines]
        return amount if set(rates) == {1} else convert_all(amount, rates, place)


def _pair(one: pa.Array, other: pa.Array) -> pa.Array:
    return pc.add(pc.multiply(one.cast(pa.int64()), MANY), other.cast(pa.int64()))


def _repeated(counts: Sequence[int]) -> pa.Array:
    """0 as often as the first says, then 1, and so on."""
    ends = list(accumulate(counts))
    runs = pa.RunEndEncodedArray.from_arrays(
        pa.array(ends, pa.int32()), pa.array(range(len(ends)), pa.int64())
    )
    return pc.run_end_decode(runs)


def _coded(indices: pa.Array, texts: Sequence[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(indices, pa.array(texts, pa.string()))


def complete_until(wanted: ChargeFilter, now: datetime) -> datetime:
    """Usage that ended before this is charged. Read it before the lines, never after."""
    tenants = [wanted.tenant_id] if wanted.tenant_id else None
    waiting = unrated_hours(wanted.start, wanted.end, tenants)
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    return min([wanted.end, max(this_hour, wanted.start), *(hour for hour, _ in waiting)])
