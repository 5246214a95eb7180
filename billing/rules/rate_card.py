"""Prices in force as rows, for a statement that multiplies whole hours at once.

Hours in which the same versions and the same factors hold have the same prices: they are a span.
The rows of a span are what the rules answer at one of its hours, so joining them to usage gives
the charges of `rate`, as a property-based test says.
"""

from collections.abc import Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from billing.rules.meters import BY_USE
from billing.rules.prices.factor import factor_at
from billing.rules.prices.terms import MONTHLY
from billing.rules.rating import Key, tag_of
from billing.rules.tariffs import Tariff, needs_price

NO_TARIFF = 0
Name = tuple[str, str, str]  # model, traffic class, what it runs on
Span = tuple[int, datetime, int]  # tariff, hour, number of the span
# Span, model, class, what it runs on, meter; unit price, currency, book version, all of them
# missing where nobody priced it, or where the price depends on the month; whether it does.
PriceRow = tuple[int, str, str, str, str, Decimal | None, str | None, int | None, bool]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which prices of one tariff somebody used."""

    hours: Collection[datetime]
    names: Collection[Name]


@dataclass(frozen=True, slots=True)
class Card:
    spans: list[Span] = field(default_factory=list)
    prices: list[PriceRow] = field(default_factory=list)


def alike(tariffs: Mapping[int, Tariff]) -> dict[int, int]:
    """The tariff of each tenant, by the first tenant that pays by the same prices."""
    first: dict[Hashable, int] = {}
    found = {}
    for tenant_id in sorted(tariffs):
        tariff = tariffs[tenant_id]
        prices = tuple(v.id for v in tariff.book), tuple(v.id for v in tariff.contract)
        found[tenant_id] = first.setdefault(prices, tenant_id)
    return found


def card_of(tariffs: Mapping[int, Tariff], wanted: Mapping[int, Wanted]) -> Card:
    """`wanted` by the numbers of `alike`, or `NO_TARIFF`."""
    card, known = Card(), 0
    for number, used in sorted(wanted.items()):
        tariff = tariffs.get(number)
        spans: dict[Hashable, int] = {}
        for hour in sorted(used.hours):
            state = _state(tariff, hour)
            if state not in spans:
                spans[state] = known = known + 1
                card.prices.extend(_rows(known, tariff, hour, used.names))
            card.spans.append((number, hour, spans[state]))
    return card


def _state(tariff: Tariff | None, hour: datetime) -> Hashable:
    """All that a price may differ by from one hour to another."""
    if tariff is None:
        return ()
    return tuple(
        (v.id, tuple(factor_at(terms, hour) for terms in v.factors.values()))
        for v in (*tariff.contract, *tariff.book)
        if v.holds(hour)
    )


def _rows(
    span: int, tariff: Tariff | None, hour: datetime, names: Collection[Name]
) -> Iterator[PriceRow]:
    for model, traffic_class, runs_on in sorted(names):
        for meter in BY_USE:
            place = span, model, traffic_class, runs_on, meter.value
            asked = (hour, model, meter, traffic_class, runs_on)
            found = tariff.find(*asked) if tariff else None
            if found is None or tariff is None:
                if needs_price(tariff, hour, model, meter):
                    yield *place, None, None, None, False
            elif found.terms.kind in MONTHLY:
                yield *place, None, None, None, True
            else:
                key = Key(hour, 0, 0, model, traffic_class, meter.value, runs_on)
                tag = tag_of(key, found, tariff, found.terms.unit_price)
                yield *place, tag.unit_price, tag.currency, tag.book_version_id, False
