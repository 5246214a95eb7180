"""Tables as CSV, Parquet and XLSX, written batch by batch: memory does not grow with the file.

Cells come as `billing.rules.batches` has them. Types are `text`, `time`, `money` (12 decimals) and
`count` (6 decimals); in Parquet also `whole`, `real`, `flag`, `list` (JSON as text), and `id`, a
text that no two rows share.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xlsxwriter
from xlsxwriter.exceptions import XlsxFileError

from billing.rules.batches import (
    CODED,
    COUNT,
    MONEY,
    Columns,
    is_coded,
    plain_texts,
    rows_of,
    typed_as,
)

MOST_XLSX_ROWS = 100_000
CSV_ROWS = 10_000  # as one piece of text
TYPES = {
    "text": CODED,
    "time": pa.timestamp("us", tz="UTC"),
    "money": MONEY,
    "count": COUNT,
    "whole": pa.int64(),
    "real": pa.float64(),
    "flag": pa.bool_(),
    "list": CODED,
    "id": pa.string(),
}
NUMBERS = ("money", "count")
QUOTED = '[",\r\n]'
# The same rows give the same bytes, so no file tells when it was written.
CREATED = datetime(2000, 1, 1)
Header = Sequence[tuple[str, str]]  # names with the types of their cells
Batches = Iterable[Columns]


class TooManyRows(ValueError):
    """The form cannot hold so many rows."""


def write_csv(path: Path, columns: Header, batches: Batches) -> int:
    count = 0
    with path.open("wb") as out:
        out.write(_csv_head([name for name, _ in columns]))
        for batch in batches:
            rows = rows_of(batch)
            count += rows
            for start in range(0, rows, CSV_ROWS):
                cells = [_quoted(texts.slice(start, CSV_ROWS)) for texts in batch.values()]
                lines = pc.binary_join_element_wise(*cells, ",", null_handling="replace")
                out.write("\n".join([*lines.to_pylist(), ""]).encode())
    return count


def _csv_head(names: Sequence[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(names)
    return text.getvalue().encode()


def _quoted(texts: pa.Array) -> pa.Array:
    """As programs that read CSV want it; a text that is coded is looked at once."""
    if is_coded(texts):
        return _quoted(texts.dictionary).take(texts.indices)
    if pa.types.is_decimal(texts.type):
        return plain_texts(texts)
    needs = pc.match_substring_regex(texts, QUOTED)
    if not pc.any(needs).as_py():
        return texts
    doubled = pc.replace_substring(texts, '"', '""')
    return pc.if_else(needs, pc.binary_join_element_wise('"', doubled, '"', ""), texts)


def write_parquet(path: Path, columns: Header, batches: Batches) -> int:
    schema = pa.schema([pa.field(name, TYPES[kind]) for name, kind in columns])
    left = iter(batches)
    first = list(islice(left, 1))
    with pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        # Without Arrow's own schema: that texts are coded is nothing that a reader must know.
        store_schema=False,
        # A dictionary of amounts that hardly ever are alike costs time and room.
        use_dictionary=[n for batch in first for n, cells in batch.items() if is_coded(cells)],
        write_statistics=[name for name, kind in columns if kind == "time"],
    ) as writer:
        return _write_beside(writer, chain(first, left))


def _write_beside(writer: pq.ParquetWriter, batches: Batches) -> int:
    """A batch is encoded and compressed while the next one is made; one waits at most."""
    count = 0
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="parquet") as thread:
        waiting: Future[int] | None = None
        for batch in batches:
            count += waiting.result() if waiting else 0
            waiting = thread.submit(_write, writer, batch)
        return count + (waiting.result() if waiting else 0)


def _write(writer: pq.ParquetWriter, batch: Columns) -> int:
    writer.write_batch(_typed(batch, writer.schema), row_group_size=rows_of(batch))
    return rows_of(batch)


def _typed(batch: Columns, schema: pa.Schema) -> pa.RecordBatch:
    made: dict[tuple[int, pa.DataType], pa.Array] = {}
    for field in schema:
        texts = batch[field.name]
        if (id(texts), field.type) not in made:
            made[id(texts), field.type] = _of_type(field.type, texts)
    arrays = [made[id(batch[field.name]), field.type] for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _of_type(kind: pa.DataType, texts: pa.Array) -> pa.Array:
    if kind != CODED:
        return typed_as(kind, texts)
    return texts if is_coded(texts) else texts.dictionary_encode()


def read_parquet(path: Path) -> Iterator[Columns]:
    """As many rows at a time as were written at a time."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group).combine_chunks()
            yield {name: table[name].chunk(0) for name in table.column_names}


def write_xlsx(path: Path, columns: Header, batches: Batches) -> int:
    """For reading: a spreadsheet's numbers have 15 digits, the exact sums are in the manifest."""
    with TemporaryDirectory(prefix="qm-xlsx-") as scratch:  # of rows, until they are zipped
        book = xlsxwriter.Workbook(str(path), {"constant_memory": True, "tmpdir": scratch})
        try:
            try:
                return _fill(book, columns, batches)
            finally:
                book.close()
        except XlsxFileError as error:  # its way to say OSError
            raise OSError(str(error)) from error


def _fill(book: xlsxwriter.Workbook, columns: Header, batches: Batches) -> int:
    count = 0
    book.set_properties({"created": CREATED})
    sheet = book.add_worksheet("Export")
    sheet.freeze_panes(1, 0)
    sheet.write_row(0, 0, [name for name, _ in columns])
    for row in chain.from_iterable(map(_rows, batches)):
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
    return count


def _rows(batch: Columns) -> Iterable[tuple[str | None, ...]]:
    return zip(*(plain_texts(texts).to_pylist() for texts in batch.values()), strict=True)
