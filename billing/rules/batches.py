"""Batches: rows of charges as columns, without a step of Python for each row.

What many rows share is coded: each text once, and for each row its number. Amounts and quantities
are decimals, all else is text; an empty cell is null.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Generic, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from billing.rules.focus import Cell, Cells, Line, Measure, Row, filled

CODED = pa.dictionary(pa.int32(), pa.string())
MONEY = pa.decimal128(38, 12)
COUNT = pa.decimal128(38, 6)
ROWS = 50_000  # of a batch: what is in memory at a time
Columns = Mapping[str, pa.Array]  # one array may stand under several names
T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows in the order of the file."""

    lines: list[Line]  # grows from batch to batch; once it is long, another one begins
    place: pa.Array  # for each row the number of its line
    measures: Mapping[Measure, pa.Array]
    newest: int  # charge


def read_columns(text: bytes, types: Mapping[str, pa.DataType]) -> pa.Table:
    """CSV without a header."""
    return csv.read_csv(
        pa.BufferReader(text),
        csv.ReadOptions(use_threads=False, block_size=len(text) + 1, column_names=list(types)),
        csv.ParseOptions(newlines_in_values=True),
        csv.ConvertOptions(column_types=types, strings_can_be_null=False),
    ).combine_chunks()


class Codes:
    """Numbers for what is met, from 0 on, the same for the same."""

    def __init__(self, kind: pa.DataType) -> None:
        self.known = pa.array([], kind)

    def of(self, values: pa.Array) -> pa.Array:
        found = pc.index_in(values, value_set=self.known)
        if found.null_count:
            new = values.filter(pc.is_null(found)).unique()
            self.known = pa.concat_arrays([self.known, new])
            found = pc.index_in(values, value_set=self.known)
        return found

    def of_coded(self, coded: pa.Array) -> pa.Array:
        return self.of(coded.dictionary).take(coded.indices)


def add_up(table: pa.Table, by: str) -> pa.Table:
    """One row for each number of the column `by`, in their order: sums of decimals, else the
    largest."""
    if pc.count_distinct(table[by]).as_py() < len(table):
        rest = [name for name in table.column_names if name != by]
        how = {n: "sum" if pa.types.is_decimal(table.schema.field(n).type) else "max" for n in rest}
        found = table.group_by(by, use_threads=False).aggregate(list(how.items()))
        columns = [found[f"{n}_{how[n]}"].cast(table.schema.field(n).type) for n in rest]
        table = pa.table([found[by], *columns], names=[by, *rest])
    return table.take(pc.sort_indices(table[by])).combine_chunks()


def in_batches(names: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[Columns]:
    """Of what is made row by row."""
    left = iter(rows)
    while chunk := list(islice(left, ROWS)):
        texts = ([cell or None for cell in cells] for cells in zip(*chunk, strict=True))
        arrays = [pa.array(cells, pa.string()).dictionary_encode() for cells in texts]
        yield dict(zip(names, arrays, strict=True))


def rows_of(columns: Columns) -> int:
    return len(next(iter(columns.values())))


class ByLine(Generic[T]):
    """Something of each line, made once."""

    def __init__(self, make: Callable[[Line], T]) -> None:
        self._make = make
        self._lines: list[Line] = []
        self._made: list[T] = []

    def of(self, batch: Batch) -> list[T]:
        if batch.lines is not self._lines:
            self._lines, self._made = batch.lines, []
        self._made += [self._make(line) for line in self._lines[len(self._made) :]]
        return self._made


class Sums(Generic[K]):
    """What is billed of a batch, by a key of its lines."""

    def __init__(self, key_of: Callable[[Line], K]) -> None:
        self._numbers: dict[K, int] = {}
        self._of_lines = ByLine(
            lambda line: self._numbers.setdefault(key_of(line), len(self._numbers))
        )

    def of(self, batch: Batch) -> dict[K, Decimal]:
        numbers = pa.array(self._of_lines.of(batch), pa.int32()).take(batch.place)
        table = pa.table({"key": numbers, "billed": batch.measures[Measure.BILLED]})
        keys = list(self._numbers)
        found = add_up(table, "key").to_pylist()
        return {keys[row["key"]]: row["billed"] for row in found}


class Sheet:
    """Makes the columns of a file: the cells of its lines, put out row by row."""

    def __init__(self, names: Sequence[str], cells_of: Callable[[Line], Cells]) -> None:
        self._names = names
        self._cells = ByLine(cells_of)
        self._parts: dict[str, Part] = {}
        self._known: tuple[int, int] = (0, 0)

    def columns(self, batch: Batch) -> dict[str, pa.Array]:
        cells = self._cells.of(batch)
        if self._known != (known := (id(batch.lines), len(cells))):
            self._known = known
            self._parts = {n: Part([row[n] for row in cells]) for n in self._names}
        return {name: part.column(batch) for name, part in self._parts.items()}

    def rows(self, batch: Batch, places: pa.Array) -> list[Row]:
        """All cells of some rows, as text."""
        cells = self._cells.of(batch)
        texts = [plain_texts(a.take(places)).to_pylist() for a in batch.measures.values()]
        numbers = batch.place.take(places).to_pylist()
        return [
            filled(cells[number], dict(zip(batch.measures, row, strict=True)))
            for number, *row in zip(numbers, *texts, strict=True)
        ]


class Part:
    """One column of a sheet."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        distinct = set(cells)
        self._measures = {cell for cell in distinct if isinstance(cell, Measure)}
        self._is_alone = len(distinct) == 1
        texts: Sequence[Cell | None] = cells
        if self._measures:
            texts = [None if cell in self._measures else cell for cell in cells]
            self._is_measure = pa.array([cell in self._measures for cell in cells])
        if "" in distinct:
            texts = [cell or None for cell in texts]
        self._texts = pa.array(texts, pa.string()).dictionary_encode()

    def column(self, batch: Batch) -> pa.Array:
        indices = self._texts.indices.take(batch.place)
        texts = pa.DictionaryArray.from_arrays(indices, self._texts.dictionary)
        if not self._measures:
            return texts
        (measure,) = self._measures
        own = batch.measures[measure]
        if self._is_alone:
            return own
        other = pa.scalar(None, own.type)
        if not pa.types.is_decimal(own.type):
            own, other = own.dictionary_decode(), texts.dictionary_decode()
        mixed = pc.if_else(self._is_measure.take(batch.place), own, other)
        return mixed if pa.types.is_decimal(own.type) else mixed.dictionary_encode()


def is_coded(cells: pa.Array) -> bool:
    return bool(pa.types.is_dictionary(cells.type))


def plain_texts(cells: pa.Array) -> pa.Array:
    """As the form that is written row by row has them."""
    if is_coded(cells):
        return cells.dictionary_decode()
    return decimal_texts(cells) if pa.types.is_decimal(cells.type) else cells


def decimal_texts(numbers: pa.Array) -> pa.Array:
    """All decimals, and never an exponent."""
    scale, whole = numbers.type.scale, pa.decimal128(38, 0)
    units = pa.Array.from_buffers(whole, len(numbers), numbers.buffers(), offset=numbers.offset)
    texts = units.cast(pa.string())
    sign = pc.if_else(pc.starts_with(texts, "-"), "-", "")
    digits = pc.utf8_lpad(pc.utf8_ltrim(texts, characters="-"), width=scale + 1, padding="0")
    head = pc.utf8_slice_codeunits(digits, 0, -scale)
    tail = pc.utf8_slice_codeunits(digits, -scale)
    return pc.binary_join_element_wise(sign, head, ".", tail, "")


def typed_as(kind: pa.DataType, cells: pa.Array) -> pa.Array:
    """What is coded is read once for all rows that share it."""
    if is_coded(cells):
        return cells.dictionary.cast(kind).take(cells.indices)
    return cells.cast(kind)
