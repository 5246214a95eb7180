"""The file of each kind, and prices as text: `0.50`, `tiered 10000000:0.50 rest:0.30`."""

from typing import Protocol

from billing.rules.prices import commitment, factor, flat, package, tiered, unit, volume
from billing.rules.prices.terms import Kind, Part, Terms, Use


class Texts(Protocol):
    """What every kind has."""

    def read(self, words: list[str], per: int) -> Terms: ...
    def say(self, terms: Terms, per: int) -> str: ...
    def fault(self, terms: Terms) -> str: ...


class Charging(Protocol):
    """And all but factors, which change other prices."""

    def parts(self, terms: Terms, use: Use) -> list[Part]: ...


TEXTS: dict[Kind, Texts] = {
    Kind.UNIT: unit,
    Kind.TIERED: tiered,
    Kind.VOLUME: volume,
    Kind.PACKAGE: package,
    Kind.FLAT: flat,
    Kind.COMMITMENT: commitment,
    Kind.FACTOR: factor,
}
CHARGING: dict[Kind, Charging] = {
    Kind.UNIT: unit,
    Kind.TIERED: tiered,
    Kind.VOLUME: volume,
    Kind.PACKAGE: package,
    Kind.FLAT: flat,
    Kind.COMMITMENT: commitment,
}


def read_terms(text: str, per: int = 1) -> Terms:
    """Parse what `say_terms` writes. `per`: the units that unit prices in the text are for."""
    words = text.split()
    kind = Kind(words.pop(0)) if words and words[0] in TEXTS else Kind.UNIT
    return TEXTS[kind].read(words, per)


def say_terms(terms: Terms, per: int = 1) -> str:
    return TEXTS[terms.kind].say(terms, per)


def fault_of_terms(terms: Terms) -> str:
    return TEXTS[terms.kind].fault(terms)


def parts_of(terms: Terms, use: Use) -> list[Part]:
    return CHARGING[terms.kind].parts(terms, use)
