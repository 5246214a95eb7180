"""What can be exported: the name of each format, whose columns it has, and in which words."""

from collections.abc import Sequence
from dataclasses import dataclass

from billing.rules import chargeback, ledger
from billing.rules.focus import COLUMNS, CSV_COLUMNS, typed
from billing.rules.focus_books import BOOK_TYPES, DETAIL_COLUMNS, PERIOD_COLUMNS
from billing.rules.focus_costs import COST_COLUMNS, COST_VERSIONS

CORRECTIONS = "replacement: each file is a snapshot of its range; earlier files stay as they are"
APPENDED = "append-only: what was issued or posted in the range; nothing in it ever changes"
# What each file is checked for, row by row, before it gets its name.
AMOUNTS = ("amounts are what quantities and prices make",)
FOCUS_ROWS = (
    *("columns", "required cells", "allowed values", "numbers", "times in order", "usage"),
    *("price x quantity = cost", "corrections", "JSON cells"),
)
DOCUMENTS = ("rows of an invoice or credit note = its total",)
ORIGINS = ("ratios of an origin = 1", "shares of an origin = its cost and quantity")
VERSIONS = {f"focus-{version}": version for version in COLUMNS}


@dataclass(frozen=True, slots=True)
class Dataset:
    label: str
    schema: str  # as manifests name it
    columns: Sequence[tuple[str, str]]  # names with the types of their cells
    corrections: str = CORRECTIONS
    is_fleets: bool = False  # of the operator's own books: not for a tenant's people
    names_invoices: bool = False  # a month's file says more once the month is billed
    checks: Sequence[str] = ()
    is_cost: bool = False  # of what the fleet costs, and not of what is charged

    @property
    def has_documents(self) -> bool:
        """Or postings: what has its time from who wrote it."""
        return self.names_invoices or self.corrections == APPENDED

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.columns]


def _cost_and_usage(version: str) -> Dataset:
    name = f"FOCUS {version} CostAndUsage"
    checks = (*AMOUNTS, *FOCUS_ROWS, "invoices", *DOCUMENTS)
    return Dataset(name, name, typed(COLUMNS[version]), names_invoices=True, checks=checks)


def _cost_allocation(version: str) -> Dataset:
    name = f"FOCUS {version} CostAndUsage of the fleet's cost"
    label = f"FOCUS {version} cost allocation"
    columns, checks = typed(COST_COLUMNS[version]), (*FOCUS_ROWS, *ORIGINS)
    return Dataset(label, name, columns, is_fleets=True, is_cost=True, checks=checks)


# "csv" is our own columns, a name from before there were several types of files.
DATASETS = {
    "csv": Dataset(
        "Our own columns", "Quartermaster charges 1", typed(CSV_COLUMNS), checks=AMOUNTS
    ),
    **{format: _cost_and_usage(version) for format, version in VERSIONS.items()},
    "focus-1.4-billing-period": Dataset(
        "FOCUS 1.4 BillingPeriod",
        "FOCUS 1.4 BillingPeriod",
        typed(PERIOD_COLUMNS, BOOK_TYPES),
        checks=("required cells", "times in order"),
    ),
    "focus-1.4-invoice-detail": Dataset(
        "FOCUS 1.4 InvoiceDetail",
        "FOCUS 1.4 InvoiceDetail",
        typed(DETAIL_COLUMNS, BOOK_TYPES),
        APPENDED,
        checks=("required cells", "times in order", "references", *DOCUMENTS),
    ),
    **{format: _cost_allocation(version) for format, version in COST_VERSIONS.items()},
    "chargeback": Dataset(
        "Chargeback by cost centre",
        "Quartermaster chargeback 1",
        typed(chargeback.COLUMNS),
        names_invoices=True,
        checks=AMOUNTS,
    ),
    "ledger": Dataset(
        "General-ledger lines",
        "Quartermaster ledger 1",
        typed(ledger.COLUMNS, ledger.TYPES),
        APPENDED,
        is_fleets=True,
        checks=("each account has a number", "debit = credit in each currency"),
    ),
}
FORMATS = tuple(DATASETS)
OF_FLEET = tuple(name for name, dataset in DATASETS.items() if dataset.is_fleets)
