"""Amounts in the smallest unit of their currency."""

from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal

from tenants.rules.currencies import EXPONENTS

MODES = {"HALF_EVEN": ROUND_HALF_EVEN, "HALF_UP": ROUND_HALF_UP}


def to_units(amount: Decimal, currency: str, mode: str) -> Decimal:
    """The nearest amount that can be paid. `+ 0`: a little less than nothing is no minus zero."""
    return amount.quantize(Decimal(1).scaleb(-EXPONENTS[currency]), rounding=MODES[mode]) + 0
