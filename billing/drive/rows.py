"""The rows of each format, checked and counted while they run through to the file in batches."""

from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial

from django.conf import settings

from billing.queries.book_lines import (
    document_totals,
    read_details,
    read_legs,
    read_periods,
)
from billing.queries.charged import ChargeFilter
from billing.queries.cost_lines import read_origins
from billing.queries.extras import Documents, newest_documents, read_extras, whole_documents
from billing.queries.ledger import account_numbers
from billing.queries.lines import read_billed, read_lines
from billing.queries.prepaid_lines import read_prepaid
from billing.rules import chargeback, ledger
from billing.rules.batches import Batch, Columns, Sheet, Sums, in_batches
from billing.rules.chargeback import Key, chargeback_row, key_of
from billing.rules.datasets import VERSIONS
from billing.rules.focus import COLUMNS, CSV_COLUMNS, csv_row, extra_row, focus_row
from billing.rules.focus_batches import Checks
from billing.rules.focus_books import (
    DETAIL_COLUMNS,
    PERIOD_COLUMNS,
    detail_row,
    fault_of_book_row,
    period_row,
)
from billing.rules.focus_checks import fault_of_row, faults_of_header, faults_of_invoices
from billing.rules.focus_cost_checks import fault_of_split
from billing.rules.focus_costs import COST_COLUMNS, COST_VERSIONS, cost_rows
from billing.rules.focus_prepaid import prepaid_row
from billing.rules.ledger import ledger_row, missing_numbers
from tenants.queries.directory import tenant_refs

Batches = Generator[Columns]
Rows = Iterator[Sequence[str]]


class BadRow(ValueError):
    """A row breaks a rule of its format: the file must not get its name."""


@dataclass
class Evidence:
    """Filled while the rows run through to the file."""

    sums: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    watermark: int = 0
    documents: int = 0  # whose rows were added up
    invoices: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    bills: Sums[tuple[str, str]] = field(
        default_factory=lambda: Sums(lambda line: (line.billed_in, line.invoice))
    )

    def add(self, currency: str, amount: Decimal, newest: int = 0, invoice: str = "") -> None:
        self.sums[currency] += amount
        self.watermark = max(self.watermark, newest)
        if invoice:
            self.invoices[invoice] += amount

    def take(self, batch: Batch) -> None:
        for (currency, invoice), billed in self.bills.of(batch).items():
            self.add(currency, billed, batch.newest, invoice)


Reader = Callable[[ChargeFilter, Evidence], Batches]


def batches_of(format: str, wanted: ChargeFilter, evidence: Evidence) -> Batches:
    return READERS[format](wanted, evidence)


def _own_batches(wanted: ChargeFilter, evidence: Evidence) -> Batches:
    sheet = Sheet(CSV_COLUMNS, csv_row)
    with closing(read_lines(wanted)) as batches:
        for batch in batches:
            evidence.take(batch)
            yield sheet.columns(batch)


def _focus_batches(version: str) -> Reader:
    names = COLUMNS[version]

    def batches(wanted: ChargeFilter, evidence: Evidence) -> Batches:
        if faults := faults_of_header(names, version):
            raise BadRow("; ".join(faults))
        known = newest_documents()
        yield from _charges(version, wanted, evidence, known)
        yield from in_batches(names, _extra_rows(version, wanted, evidence, known))
        yield from in_batches(names, _prepaid_rows(version, wanted, evidence, known))
        totals = whole_documents(wanted, known=known)
        evidence.documents = len(totals)
        if faults := faults_of_invoices(evidence.invoices, totals):
            raise BadRow("; ".join(faults))

    return batches


def _charges(version: str, wanted: ChargeFilter, evidence: Evidence, known: Documents) -> Batches:
    """What is billed in the range."""
    sheet = Sheet(COLUMNS[version], partial(focus_row, issuer=settings.QM_ISSUER))
    checks = Checks(version, sheet)
    with closing(read_billed(wanted, known=known)) as batches:
        for batch in batches:
            evidence.take(batch)
            columns = sheet.columns(batch)
            if fault := checks.fault(batch, columns):
                raise BadRow(f"A charge breaks FOCUS {version}: {fault}")
            yield columns


def _extra_rows(
    version: str, wanted: ChargeFilter, evidence: Evidence, known: Documents
) -> Iterator[list[str]]:
    """Taxes and rounding of the range's invoices, and credit notes."""
    for extra in read_extras(wanted, known=known):
        evidence.add(extra.billed_in, extra.amount, invoice=extra.invoice)
        row = extra_row(extra, settings.QM_ISSUER)
        if fault := fault_of_row(row, version):
            raise BadRow(f"{extra.name} of {extra.tenant} breaks FOCUS {version}: {fault}")
        yield [row[name] for name in COLUMNS[version]]


def _prepaid_rows(
    version: str, wanted: ChargeFilter, evidence: Evidence, known: Documents
) -> Iterator[list[str]]:
    for entry in read_prepaid(wanted, known=known):
        evidence.add(entry.currency, entry.billed)
        row = prepaid_row(entry, settings.QM_ISSUER)
        if fault := fault_of_row(row, version):
            raise BadRow(f"{entry.number} of {entry.tenant} breaks FOCUS {version}: {fault}")
        yield [row[name] for name in COLUMNS[version]]


def _by_row(
    columns: Sequence[str], rows: Callable[[ChargeFilter, Evidence], Iterable[Sequence[str]]]
) -> Reader:
    def batches(wanted: ChargeFilter, evidence: Evidence) -> Batches:
        yield from in_batches(columns, rows(wanted, evidence))

    return batches


def _period_rows(wanted: ChargeFilter, evidence: Evidence) -> Rows:
    for line in read_periods(wanted):
        yield _checked(period_row(line, settings.QM_ISSUER), PERIOD_COLUMNS)


def _detail_rows(wanted: ChargeFilter, evidence: Evidence) -> Rows:
    totals = document_totals(wanted)  # before the lines: what is issued meanwhile is not compared
    evidence.documents = len(totals)
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
    known = newest_documents()
    sums: dict[Key, Decimal] = defaultdict(Decimal)
    of_lines = Sums(key_of)
    with closing(read_billed(wanted, known=known)) as batches:
        for batch in batches:
            evidence.take(batch)
            for key, billed in of_lines.of(batch).items():
                sums[key] += billed
    for extra in read_extras(wanted, known=known):
        evidence.add(extra.billed_in, extra.amount, invoice=extra.invoice)
        sums[key_of(extra)] += extra.amount
    for key, amount in sorted(sums.items()):
        yield chargeback_row(key, amount)


def _ledger_rows(wanted: ChargeFilter, evidence: Evidence) -> Rows:
    """The sums of the manifest are those of the debit side, which the credit side equals."""
    numbers = account_numbers()
    if missing := missing_numbers(numbers):
        raise BadRow(
            f"{len(missing)} accounts have no number: {', '.join(missing)}. Give them under "
            "Exports, Numbers of accounts"
        )
    left: dict[str, Decimal] = defaultdict(Decimal)
    for line in read_legs(wanted):
        evidence.add(line.currency, max(line.amount, Decimal(0)))
        left[line.currency] += line.amount
        yield ledger_row(line, numbers)
    if wrong := {currency: amount for currency, amount in left.items() if amount}:
        said = ", ".join(f"{amount:f} {currency}" for currency, amount in sorted(wrong.items()))
        raise BadRow(f"The legs do not add up to zero: {said} is left")


def _cost_rows(version: str, wanted: ChargeFilter, evidence: Evidence) -> Iterator[Sequence[str]]:
    """A tenant's file has its shares; each origin is checked as a whole all the same."""
    tenant = f"tenant-{tenant_refs()[wanted.tenant_id].slug}" if wanted.tenant_id else ""
    for origin, shares, run in read_origins(wanted):
        rows = cost_rows(origin, shares, settings.QM_ISSUER)
        fault = fault_of_split(rows, cost=origin.cost, quantity=origin.quantity, version=version)
        if fault:
            raise BadRow(f"{origin.id} breaks FOCUS {version}: {fault}")
        for row, share in zip(rows, shares, strict=True):
            if tenant in ("", row["x_TenantId"]):
                evidence.add(origin.currency, share.amount, run)
                yield [row[name] for name in COST_COLUMNS[version]]


READERS: dict[str, Reader] = {
    "csv": _own_batches,
    **{format: _focus_batches(version) for format, version in VERSIONS.items()},
    "focus-1.4-billing-period": _by_row(PERIOD_COLUMNS, _period_rows),
    "focus-1.4-invoice-detail": _by_row(DETAIL_COLUMNS, _detail_rows),
    "chargeback": _by_row(chargeback.COLUMNS, _chargeback_rows),
    "ledger": _by_row(ledger.COLUMNS, _ledger_rows),
    **{
        format: _by_row(COST_COLUMNS[version], partial(_cost_rows, version))
        for format, version in COST_VERSIONS.items()
    },
}
