"""Whole packages: the first unit of a package pays for all of it, at the moment it is opened."""

from collections.abc import Sequence
from decimal import ROUND_CEILING, Decimal

from billing.rules.prices.terms import Kind, Part, Terms, Use, number, plain


def read(words: Sequence[str], per: int) -> Terms:
    size, colon, price = (words[0] if len(words) == 1 else "").partition(":")
    if not colon:
        raise ValueError("A package is its size and its price: package 1000000:2.00")
    units = number(size)
    if units <= 0 or units % 1:
        raise ValueError("The size of a package is a whole number of units above 0")
    return Terms(Kind.PACKAGE, number(price) / units, size=units)


def say(terms: Terms, per: int) -> str:
    return f"{Kind.PACKAGE} {plain(terms.size)}:{plain(terms.unit_price * terms.size)}"


def fault(terms: Terms) -> str:
    return ""


def parts(terms: Terms, use: Use) -> list[Part]:
    """The quantity charged is that of the opened packages; none for use of an open one."""
    opened = packages(use.before + use.quantity, terms) - packages(use.before, terms)
    return [Part(opened * terms.size, terms.unit_price)] if opened else []


def packages(quantity: Decimal, terms: Terms) -> Decimal:
    return (quantity / terms.size).to_integral_value(ROUND_CEILING)
