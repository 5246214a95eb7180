"""A fee a month, by the part of the month for which the contract holds.

A part that 6 decimals say exactly is the quantity. A third, say, is one at a third of the price:
a quantity of 0.333333 would not be what is owed.
"""

from collections.abc import Sequence
from decimal import Decimal

from billing.rules.prices.terms import Kind, Part, Terms, Use, number, part_of, plain

MILLION = 1_000_000


def read(words: Sequence[str], per: int) -> Terms:
    if len(words) != 1:
        raise ValueError("A fee is one amount a month: flat 500")
    return Terms(Kind.FLAT, number(words[0]))


def say(terms: Terms, per: int) -> str:
    return f"{Kind.FLAT} {plain(terms.unit_price)}"


def fault(terms: Terms) -> str:
    # A part of a month may be a quantity of 6 decimals, and the product must be exact at 12.
    return "A fee has at most 6 decimals" if terms.unit_price % Decimal("0.000001") else ""


def parts(terms: Terms, use: Use) -> list[Part]:
    units = use.share * MILLION
    if units.denominator == 1:
        found = Part(Decimal(units.numerator).scaleb(-6), terms.unit_price)
    else:
        found = Part(Decimal(1), part_of(terms.unit_price, use.share))
    return [found] if found.quantity and found.unit_price else []
