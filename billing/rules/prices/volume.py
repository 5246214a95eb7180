"""By volume: all of a month's quantity at the price of the tier that its total reaches."""

from collections.abc import Sequence

from billing.rules.prices.terms import (
    Kind,
    Part,
    Terms,
    Use,
    fault_of_tiers,
    read_tiers,
    say_tiers,
)


def read(words: Sequence[str], per: int) -> Terms:
    return Terms(Kind.VOLUME, tiers=read_tiers(words, per))


def say(terms: Terms, per: int) -> str:
    return f"{Kind.VOLUME} {say_tiers(terms.tiers, per)}"


def fault(terms: Terms) -> str:
    return fault_of_tiers(terms.tiers)


def parts(terms: Terms, use: Use) -> list[Part]:
    reached = next(t for t in terms.tiers if t.up_to is None or use.total <= t.up_to)
    return [Part(use.quantity, reached.unit_price)]
