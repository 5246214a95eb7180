"""Which accounts a document moves. Above zero is debit; the legs sum to zero."""

from dataclasses import dataclass
from decimal import Decimal

RECEIVABLE = "receivable"
REVENUE = "revenue"
ROUNDING = "rounding"
TAX = "tax_payable"
BANK = "bank"
PREPAID = "prepaid_credits"  # owed to customers who paid ahead
PROMOTION = "promotions"  # what credits that nobody paid for cost us
BREAKAGE = "breakage"  # prepaid, never used, expired

ACCOUNTS = (RECEIVABLE, REVENUE, ROUNDING, TAX, BANK, PREPAID, PROMOTION, BREAKAGE)

# Of transactions, with how people call them.
KINDS = {
    "invoice": "Invoice",
    "credit_note": "Credit note",
    "payment": "Payment",
    "prepayment": "Paid ahead",
    "prepaid_use": "Paid from prepaid credits",
    "prepaid_back": "Back to prepaid credits",
    "breakage": "Prepaid credit expired",
}
OF_INVOICES = ("invoice", "prepaid_use")  # whose document is the invoice's number
OF_CREDIT_NOTES = ("credit_note", "prepaid_back")


@dataclass(frozen=True, slots=True)
class Leg:
    account: str
    amount: Decimal


def legs_of_invoice(
    *, exact: Decimal, net: Decimal, tax: Decimal, promoted: Decimal = Decimal(0)
) -> list[Leg]:
    """Revenue is the exact sum of charges; what rounding moved has an account of its own.

    `net` is after promotions: what they took off is an expense, not less revenue.
    """
    return _moved(
        Leg(RECEIVABLE, net + tax),
        Leg(REVENUE, -exact),
        Leg(ROUNDING, exact - net - promoted),
        Leg(TAX, -tax),
        Leg(PROMOTION, promoted),
    )


def legs_of_credit(*, net: Decimal, tax: Decimal, promoted: Decimal = Decimal(0)) -> list[Leg]:
    """`promoted` is what promotions had paid: it was revenue, and is an expense no more."""
    return _moved(
        Leg(RECEIVABLE, -net - tax),
        Leg(REVENUE, net + promoted),
        Leg(TAX, tax),
        Leg(PROMOTION, -promoted),
    )


def legs_of_payment(amount: Decimal) -> list[Leg]:
    return _moved(Leg(BANK, amount), Leg(RECEIVABLE, -amount))


def legs_of_prepayment(amount: Decimal) -> list[Leg]:
    return _moved(Leg(BANK, amount), Leg(PREPAID, -amount))


def legs_of_prepaid_use(amount: Decimal) -> list[Leg]:
    """It settles an invoice as a payment does."""
    return _moved(Leg(PREPAID, amount), Leg(RECEIVABLE, -amount))


def legs_of_prepaid_return(amount: Decimal) -> list[Leg]:
    """What a credit note gives back of a prepaid use is owed ahead again."""
    return _moved(Leg(RECEIVABLE, amount), Leg(PREPAID, -amount))


def legs_of_breakage(amount: Decimal) -> list[Leg]:
    return _moved(Leg(PREPAID, amount), Leg(BREAKAGE, -amount))


def _moved(*legs: Leg) -> list[Leg]:
    return [leg for leg in legs if leg.amount]
