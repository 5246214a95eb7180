"""A minimum a month: what use leaves unspent of it is charged when the month is over."""

from collections.abc import Sequence
from decimal import Decimal

from billing.rules.prices.terms import Kind, Part, Terms, Use, number, part_of, plain


def read(words: Sequence[str], per: int) -> Terms:
    if len(words) != 1:
        raise ValueError("A commitment is one amount a month: commitment 10000")
    return Terms(Kind.COMMITMENT, number(words[0]))


def say(terms: Terms, per: int) -> str:
    return f"{Kind.COMMITMENT} {plain(terms.unit_price)}"


def fault(terms: Terms) -> str:
    if terms.unit_price % Decimal("0.000001"):
        return "A commitment has at most 6 decimals"
    return ""


def parts(terms: Terms, use: Use) -> list[Part]:
    missing = part_of(terms.unit_price, use.share) - use.total
    return [Part(Decimal(1), missing)] if missing > 0 else []
