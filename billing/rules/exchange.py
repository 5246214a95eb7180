"""Exchange rates: which one an invoice takes, what it makes of charges, what a file of them says.

Charges stay in the currency of their price book. An account that is invoiced in another currency
converts each line of its invoice with one rate, at 12 decimals and half away from zero; after that
the line is rounded, once.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from billing.rules.texts import is_plain
from tenants.rules.currencies import EXPONENTS

PICO = Decimal("0.000000000001")
EXACT = Context(prec=100, rounding=ROUND_HALF_UP)  # as the database rounds
LARGEST = Decimal(10) ** 12
MOST_AGE = timedelta(days=7)  # banks have weekends and holidays
MOST_ROWS = 5_000
LARGEST_FILE = 1 << 20  # bytes, or characters
MOST_FAULTS = 5
COLUMNS = ("base", "quote", "date", "source", "rate")


@dataclass(frozen=True, slots=True)
class Recorded:
    """One `base` is `rate` of `quote`."""

    base: str
    quote: str
    on: date
    source: str
    rate: Decimal


@dataclass(frozen=True, slots=True)
class Exchange:
    """What an invoice is converted by: nothing where both currencies are the same."""

    base: str
    quote: str
    rate: Decimal = Decimal(1)
    on: date | None = None
    source: str = ""

    @property
    def converts(self) -> bool:
        return self.base != self.quote

    def convert(self, amount: Decimal) -> Decimal:
        return EXACT.quantize(EXACT.multiply(amount, self.rate), PICO)


def convert_all(amounts: pa.Array, rates: Sequence[Decimal], place: pa.Array) -> pa.Array:
    """Each amount by the rate at its place, as `Exchange.convert` does."""
    exact = pc.multiply(
        amounts.cast(pa.decimal256(38, 12)), pa.array(rates, pa.decimal256(24, 12)).take(place)
    )
    rounded = pc.round(exact, ndigits=12, round_mode="half_towards_infinity")
    return rounded.cast(amounts.type)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The rate that the charges of one currency need, and whether there is one."""

    base: str
    quote: str
    source: str
    on: date
    found: Exchange | None

    @property
    def said(self) -> str:
        if self.found is None:
            return f"{self.base}/{self.quote} of {self.on} is missing"
        return (
            f"1 {self.base} = {self.found.rate.normalize():f} {self.quote} of {self.found.on}"
            f" ({self.source})"
        )

    @property
    def way_out(self) -> str:
        pair = f"{self.base}/{self.quote}"
        if not self.source:
            return (
                f"The account is invoiced in {self.quote} and charged in {self.base}: name the"
                f" source of its exchange rates in its terms, then record {pair} of {self.on}"
            )
        return (
            f"{self.source} has no rate for {pair} of {self.on} or of the {MOST_AGE.days} days"
            " before: record it under Accounts, Exchange rates, or name another source in the"
            " account's terms"
        )


def day_of(at: datetime, time_zone: str) -> date:
    """The day whose rate is taken: of the cut-off, by the clock of the period."""
    return at.astimezone(ZoneInfo(time_zone)).date()


def faults_of_rate(given: Recorded, today: date) -> dict[str, str]:
    """Sentences by field; empty when it can be recorded."""
    rate = given.rate
    fits = rate.is_finite() and 0 < rate < LARGEST and rate == rate.quantize(PICO)
    return {
        field: sentence
        for field, is_wrong, sentence in (
            ("base", given.base not in EXPONENTS, unknown(given.base)),
            ("quote", given.quote not in EXPONENTS, unknown(given.quote)),
            ("quote", given.base == given.quote, "Name two different currencies"),
            (
                "date",
                given.on > today + timedelta(days=1),
                f"{given.on} is in the future: a rate is recorded once it is known",
            ),
            (
                "source",
                not 0 < len(given.source.strip()) <= 64 or not is_plain(given.source),
                "Name who says so, as in ECB, in at most 64 characters",
            ),
            ("rate", not fits, "A number above 0 with at most 12 decimals, as in 0.9217"),
        )
        if is_wrong
    }


def unknown(currency: str) -> str:
    return f"{currency[:20]!r} is no currency of ISO 4217"


@dataclass(frozen=True, slots=True)
class Parsed:
    rows: Sequence[Recorded]
    faults: Sequence[str]  # sentences with the number of their line


def read_file(text: str, today: date) -> Parsed:
    """Rates of a CSV file. One line that cannot be taken refuses all of it."""
    reader = csv.DictReader(io.StringIO(text.lstrip("\ufeff"), newline=""), strict=True)
    try:
        if tuple(reader.fieldnames or ()) != COLUMNS:
            return Parsed((), [f"Line 1 must be {','.join(COLUMNS)}"])
        found = list(_lines(reader, today))
    except csv.Error as error:
        return Parsed((), [f"What comes after line {reader.line_num} is no CSV: {error}"])
    if not found:
        return Parsed((), ["The file has no rate"])
    if len(found) > MOST_ROWS:
        return Parsed((), [f"The file has {len(found):,} rates; at most {MOST_ROWS:,} at a time"])
    faults = [fault for row, fault in found if row is None]
    if len(faults) > MOST_FAULTS:
        faults = [*faults[:MOST_FAULTS], f"{len(faults) - MOST_FAULTS} more lines are wrong"]
    return Parsed([row for row, _ in found if row is not None], faults)


def _lines(reader: "csv.DictReader[str]", today: date) -> Iterator[tuple[Recorded | None, str]]:
    for cells in reader:
        number = reader.line_num
        row = _read(cells)
        if row is None:
            wanted = "USD,EUR,2026-11-20,ECB,0.9217"
            yield None, f"Line {number} is not like {wanted}"
        elif faults := faults_of_rate(row, today):
            yield None, f"Line {number}: " + "; ".join(faults.values())
        else:
            yield row, ""


def _read(cells: dict[str, str]) -> Recorded | None:
    if any(not isinstance(cells.get(name), str) for name in COLUMNS) or len(cells) > len(COLUMNS):
        return None
    try:
        on, rate = date.fromisoformat(cells["date"].strip()), Decimal(cells["rate"].strip())
    except (ValueError, InvalidOperation):
        return None
    base, quote, source = (cells[name].strip() for name in ("base", "quote", "source"))
    return Recorded(base.upper(), quote.upper(), on, source, rate)
