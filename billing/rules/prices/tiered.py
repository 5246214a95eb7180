"""Graduated: each part of a month's quantity at the price of its own tier."""

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
    return Terms(Kind.TIERED, tiers=read_tiers(words, per))


def say(terms: Terms, per: int) -> str:
    return f"{Kind.TIERED} {say_tiers(terms.tiers, per)}"


def fault(terms: Terms) -> str:
    return fault_of_tiers(terms.tiers)


def parts(terms: Terms, use: Use) -> list[Part]:
    """Cut [before, before + quantity) where a tier ends."""
    found = []
    at, end = use.before, use.before + use.quantity
    for tier in terms.tiers:
        upper = end if tier.up_to is None else min(end, tier.up_to)
        if upper > at:
            found.append(Part(upper - at, tier.unit_price))
            at = upper
    return found
