"""The rows of each format, checked and counted while they run through to the file."""

from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal

from django.conf import settings

from billing.queries.book_lines import (
    document_totals,
    read_details,
    read_legs,
    read_periods,
)
from billing.queries.charged import ChargeFilter
from billing.queries.extras import Documents, newest_documents, read_extras, whole_documents
from billing.queries.ledger import account_numbers
from billing.queries.lines import read_billed, read_lines
from billing.rules.chargeback import add_up, chargeback_row
from billing.rules.datasets import VERSIONS
from billing.rules.focus import (
    COLUMNS,
    Extra,
    Line,
    Row,
    csv_row,
    extra_row,
    focus_row,
    project,
)
from billing.rules.focus_books import (
    DETAIL_COLUMNS,
    PERIOD_COLUMNS,
    detail_row,
    fault_of_book_row,
    period_row,
)
from billing.rules.focus_checks import fault_of_row, faults_of_header, faults_of_invoices
from billing.rules.ledger import ledger_row, missing_numbers

Rows = Generator[Sequence[str]]


class BadRow(ValueError):
    """A row breaks a rule of its format: the file must not get its name."""


@dataclass
class Evidence:
    """Filled while the rows run through to the file."""

    sums: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    watermark: int = 0
    invoices: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))

    def add(self, currency: str, amount: Decimal, newest: int = 0, invoice: str = "") -> None:
        self.sums[currency] += amount
        self.watermark = max(self.watermark, newest)
        if invoice:
            self.invoices[invoice] += amount


def rows_of(format: str, wanted: ChargeFilter, evidence: Evidence) -> Rows:
    return READERS[format](wanted, evidence)


def _own_rows(wanted: ChargeFilter, evidence: Evidence) -> Rows:
    with closing(read_lines(wanted)) as lines:
        for line, newest in lines:
            evidence.add(line.currency, line.amount, newest)
            yield csv_row(line)


def _focus_rows(version: str) -> Callable[[ChargeFilter, Evidence], Rows]:
    def rows(wanted: ChargeFilter, evidence: Evidence) -> Rows:
        if faults := faults_of_header(COLUMNS[version], version):
            raise BadRow("; ".join(faults))
        known = newest_documents()
        for number, row in enumerate(_mapped(wanted, evidence, known), start=2):
            if fault := fault_of_row(row, version):
                raise BadRow(f"Line {number} breaks FOCUS {version}: {fault}")
            yield project(row, version)
        if faults := faults_of_invoices(evidence.invoices, whole_documents(wanted, known=known)):
            raise BadRow("; ".join(faults))

    return rows


def _mapped(wanted: ChargeFilter, evidence: Evidence, known: Documents) -> Generator[Row]:
    for item in _billed(wanted, evidence, known):
        if isinstance(item, Line):
            yield focus_row(item, settings.QM_ISSUER)
        else:
            yield extra_row(item, settings.QM_ISSUER)


def _billed(wanted: ChargeFilter, evidence: Evidence, known: Documents) -> Generator[Line | Extra]:
    """What is billed in the range, then taxes and rounding of its invoices, and credit notes."""
    with closing(read_billed(wanted, known=known)) as lines:
        for line, newest in lines:
            evidence.add(line.billed_in, line.billed, newest, line.invoice)
            yield line
    for extra in read_extras(wanted, known=known):
        evidence.add(extra.billed_in, extra.billed, invoice=extra.invoice)
        yield extra


def _period_rows(wanted: ChargeFilter, evidence: Evidence) -> Rows:
    for line in read_periods(wanted):
        yield _checked(period_row(line, settings.QM_ISSUER), PERIOD_COLUMNS)


def _detail_rows(wanted: ChargeFilter, evidence: Evidence) -> Rows:
    totals = document_totals(wanted)  # before the lines: what is issued meanwhile is not compared
    for line in read_details(wanted):
        evidence.add(line.currency, line.amount, invoice=line.document)
        yield _checked(detail_row(line), DETAIL_COLUMNS)
    if faults := faults_of_invoices(evidence.invoices, totals):
        raise BadRow("; ".join(faults))


def _checked(cells: list[str], columns: Sequence[str]) -> list[str]:
    if fault := fault_of_book_row(columns, cells):
        raise BadRow(f"A row breaks FOCUS 1.4: {fault}")
    return cells


def _chargeback_rows(wanted: ChargeFilter, evidence: Evidence) -> Rows:
    for key, amount in add_up(_billed(wanted, evidence, newest_documents())).items():
        yield chargeback_row(key, amount)


def _ledger_rows(wanted: ChargeFilter, evidence: Evidence) -> Rows:
    """The sums of the manifest are those of the debit side, which the credit side equals."""
    numbers = account_numbers()
    if missing := missing_numbers(numbers):
        raise BadRow(
            f"{len(missing)} accounts have no number: {', '.join(missing)}. Give them under "
            "Exports, Numbers of accounts"
        )
    for line in read_legs(wanted):
        evidence.add(line.currency, max(line.amount, Decimal(0)))
        yield ledger_row(line, numbers)


READERS: dict[str, Callable[[ChargeFilter, Evidence], Rows]] = {
    "csv": _own_rows,
    **{format: _focus_rows(version) for format, version in VERSIONS.items()},
    "focus-1.4-billing-period": _period_rows,
    "focus-1.4-invoice-detail": _detail_rows,
    "chargeback": _chargeback_rows,
    "ledger": _ledger_rows,
}
