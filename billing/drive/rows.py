"""The rows of each format, checked and counted while they run through to the file."""

from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal

from django.conf import settings

from billing.queries.charged import ChargeFilter
from billing.queries.lines import (
    newest_invoice,
    read_billed,
    read_extras,
    read_lines,
    whole_invoices,
)
from billing.rules.datasets import VERSIONS
from billing.rules.focus import COLUMNS, Row, csv_row, extra_row, focus_row, project
from billing.rules.focus_checks import fault_of_row, faults_of_header, faults_of_invoices

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
        invoices = newest_invoice()
        for number, row in enumerate(_mapped(wanted, evidence, invoices), start=2):
            if fault := fault_of_row(row, version):
                raise BadRow(f"Line {number} breaks FOCUS {version}: {fault}")
            yield project(row, version)
        if faults := faults_of_invoices(
            evidence.invoices, whole_invoices(wanted, invoices=invoices)
        ):
            raise BadRow("; ".join(faults))

    return rows


def _mapped(wanted: ChargeFilter, evidence: Evidence, invoices: int) -> Generator[Row]:
    """What is billed in the range, then taxes and rounding of its invoices."""
    issuer = settings.QM_ISSUER
    with closing(read_billed(wanted, invoices=invoices)) as lines:
        for line, newest in lines:
            evidence.add(line.currency, line.amount, newest, line.invoice)
            yield focus_row(line, issuer)
    for extra in read_extras(wanted, invoices=invoices):
        evidence.add(extra.currency, extra.amount, invoice=extra.invoice)
        yield extra_row(extra, issuer)


READERS: dict[str, Callable[[ChargeFilter, Evidence], Rows]] = {
    "csv": _own_rows,
    **{format: _focus_rows(version) for format, version in VERSIONS.items()},
}
