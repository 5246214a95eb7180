"""Tables as Parquet and as XLSX, written row by row: memory does not grow with the file.

Cells come as text; types are `text`, `time`, `money` (12 decimals) and `count` (6 decimals).
Empty cells are null.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import xlsxwriter

CHUNK = 20_000
MOST_XLSX_ROWS = 100_000
TYPES = {
    "text": pa.string(),
    "time": pa.timestamp("us", tz="UTC"),
    "money": pa.decimal128(38, 12),
    "count": pa.decimal128(38, 6),
}
NUMBERS = ("money", "count")
# The same rows give the same bytes, so no file tells when it was written.
CREATED = datetime(2000, 1, 1)
Columns = Sequence[tuple[str, str]]
Rows = Iterable[Sequence[str]]


class TooManyRows(ValueError):
    """The form cannot hold so many rows."""


def write_parquet(path: Path, columns: Columns, rows: Rows) -> int:
    schema = pa.schema([pa.field(name, TYPES[kind]) for name, kind in columns])
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for chunk in chunks(rows):
            count += len(chunk)
            cells = zip(*chunk, strict=True)
            arrays = [
                pa.array([cell or None for cell in column], pa.string()).cast(field.type)
                for column, field in zip(cells, schema, strict=True)
            ]
            writer.write_table(pa.table(arrays, schema=schema))
    return count


def chunks(rows: Rows) -> Iterator[list[Sequence[str]]]:
    left = iter(rows)
    while found := list(islice(left, CHUNK)):
        yield found


def write_xlsx(path: Path, columns: Columns, rows: Rows) -> int:
    """For reading: a spreadsheet's numbers have 15 digits, the exact sums are in the manifest."""
    count = 0
    book = xlsxwriter.Workbook(str(path), {"constant_memory": True, "in_memory": False})
    book.set_properties({"created": CREATED})
    sheet = book.add_worksheet("Export")
    sheet.freeze_panes(1, 0)
    try:
        sheet.write_row(0, 0, [name for name, _ in columns])
        for row in rows:
            count += 1
            if count > MOST_XLSX_ROWS:
                raise TooManyRows(
                    f"An XLSX file holds at most {MOST_XLSX_ROWS:,} rows here and this one would "
                    "have more: choose CSV or Parquet, fewer days or one tenant"
                )
            for place, (cell, (_, kind)) in enumerate(zip(row, columns, strict=True)):
                if not cell:
                    continue
                if kind in NUMBERS:
                    sheet.write_number(count, place, float(cell))
                else:
                    sheet.write_string(count, place, cell)
    finally:
        book.close()
    return count
