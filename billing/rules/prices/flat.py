"""A fee a month, by the part of the month for which the contract holds."""

from collections.abc import Sequence
from decimal import Decimal

from billing.rules.prices.terms import Kind, Part, Terms, Use, number, plain


def read(words: Sequence[str], per: int) -> Terms:
    if len(words) != 1:
        raise ValueError("A fee is one amount a month: flat 500")
    return Terms(Kind.FLAT, number(words[0]))


def say(terms: Terms, per: int) -> str:
    return f"{Kind.FLAT} {plain(terms.unit_price)}"


def fault(terms: Terms) -> str:
    # The part of a month has 6 decimals, and their product must be exact at 12.
    return "A fee has at most 6 decimals" if terms.unit_price % Decimal("0.000001") else ""


def parts(terms: Terms, use: Use) -> list[Part]:
    return [Part(use.quantity, terms.unit_price)] if use.quantity and terms.unit_price else []
