"""So much for each unit."""

from collections.abc import Sequence

from billing.rules.prices.terms import Kind, Part, Terms, Use, number, plain


def read(words: Sequence[str], per: int) -> Terms:
    if len(words) != 1:
        raise ValueError(f"'{' '.join(words)[:30]}' is no price")
    return Terms(Kind.UNIT, number(words[0]) / per)


def say(terms: Terms, per: int) -> str:
    return plain(terms.unit_price * per)


def fault(terms: Terms) -> str:
    return ""


def parts(terms: Terms, use: Use) -> list[Part]:
    return [Part(use.quantity, terms.unit_price)]
