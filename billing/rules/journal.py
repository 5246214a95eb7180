"""Which accounts a document moves. Above zero is debit; the legs sum to zero."""

from dataclasses import dataclass
from decimal import Decimal

RECEIVABLE = "receivable"
REVENUE = "revenue"
ROUNDING = "rounding"
TAX = "tax_payable"
BANK = "bank"

ACCOUNTS = (RECEIVABLE, REVENUE, ROUNDING, TAX, BANK)


@dataclass(frozen=True, slots=True)
class Leg:
    account: str
    amount: Decimal


def legs_of_invoice(*, exact: Decimal, net: Decimal, tax: Decimal) -> list[Leg]:
    """Revenue is the exact sum of charges; what rounding moved has an account of its own."""
    return _moved(
        Leg(RECEIVABLE, net + tax), Leg(REVENUE, -exact), Leg(ROUNDING, exact - net), Leg(TAX, -tax)
    )


def legs_of_credit(*, net: Decimal, tax: Decimal) -> list[Leg]:
    return _moved(Leg(RECEIVABLE, -net - tax), Leg(REVENUE, net), Leg(TAX, tax))


def legs_of_payment(amount: Decimal) -> list[Leg]:
    return _moved(Leg(BANK, amount), Leg(RECEIVABLE, -amount))


def _moved(*legs: Leg) -> list[Leg]:
    return [leg for leg in legs if leg.amount]
