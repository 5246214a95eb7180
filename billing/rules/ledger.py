"""General-ledger lines: the journal's legs under the numbers that the books of the house use."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing.rules.focus import money, plain, stamp
from billing.rules.journal import ACCOUNTS

COLUMNS = (
    *("posted_at", "entry", "kind", "document", "tenant", "account"),
    *("account_number", "account_name", "currency", "debit", "credit"),
)
TYPES = {"posted_at": "time", "debit": "money", "credit": "money"}
TITLES = {
    "receivable": "Receivables: what tenants owe",
    "revenue": "Revenue: the exact sum of charges",
    "rounding": "Rounding of invoices",
    "tax_payable": "Tax to pay",
    "bank": "Bank: what tenants paid",
    "prepaid_credits": "Prepaid credits: owed to tenants who paid ahead",
    "promotions": "Promotions: what credits that nobody paid for cost",
    "breakage": "Breakage: prepaid credits that expired unused",
}
LONGEST_NUMBER, LONGEST_NAME = 32, 120


@dataclass(frozen=True, slots=True)
class LedgerLine:
    posted_at: datetime
    entry: str  # the journal's key, the same in every file
    kind: str
    document: str
    tenant: str
    account: str
    currency: str
    amount: Decimal  # above zero: debit


def ledger_row(line: LedgerLine, numbers: Mapping[str, tuple[str, str]]) -> list[str]:
    number, name = numbers[line.account]
    side = money(abs(line.amount))
    return [
        stamp(line.posted_at),
        line.entry,
        line.kind,
        plain(line.document),
        line.tenant,
        line.account,
        number,
        plain(name),
        line.currency,
        side if line.amount > 0 else "",
        side if line.amount < 0 else "",
    ]


def fault_of_number(number: str, name: str) -> dict[str, str]:
    """Sentences by field; empty when they can be used."""
    faults = {}
    if not 0 < len(number) <= LONGEST_NUMBER or not number.isprintable():
        faults["number"] = f"Give the number, of at most {LONGEST_NUMBER} characters"
    if len(name) > LONGEST_NAME or not name.isprintable():
        faults["name"] = f"The name has at most {LONGEST_NAME} characters, in one line"
    return faults


def missing_numbers(numbers: Mapping[str, tuple[str, str]]) -> list[str]:
    return [account for account in ACCOUNTS if account not in numbers]
