"""Rating: usage hours and prices in, charges out. Pure, so a repeated run gives the same rows."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from billing.rules.meters import TOKENS, Meter, Usage, quantities

RULES_VERSION = "1"  # raised when the same input would give other charges
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """What decides an amount, with the price."""

    hour: datetime
    tenant_id: int
    application_id: int
    model: str
    traffic_class: str
    meter: str


@dataclass(frozen=True, slots=True)
class PriceTag:
    unit_price: Decimal
    currency: str
    book_version_id: int


@dataclass(frozen=True, slots=True)
class BookVersion:
    """Prices that hold for hours that begin in [starts_at, ends_at)."""

    id: int
    currency: str
    starts_at: datetime
    ends_at: datetime | None
    prices: Mapping[tuple[str, str, str], Decimal]  # model, meter, class or "" for every class

    def holds(self, hour: datetime) -> bool:
        return self.starts_at <= hour and (self.ends_at is None or hour < self.ends_at)

    def tag(self, model: str, meter: str, traffic_class: str) -> PriceTag | None:
        own = self.prices.get((model, meter, traffic_class))
        found = self.prices.get((model, meter, "")) if own is None else own
        return None if found is None else PriceTag(found, self.currency, self.id)


@dataclass(frozen=True, slots=True)
class ChargeRow:
    key: Key
    quantity: Decimal
    tag: PriceTag

    @property
    def amount(self) -> Decimal:
        return self.quantity * self.tag.unit_price


@dataclass(frozen=True, slots=True)
class Rated:
    """What is owed, and what nobody priced."""

    owed: dict[tuple[Key, PriceTag], Decimal] = field(default_factory=dict)
    unpriced: dict[Key, Decimal] = field(default_factory=dict)

    @property
    def amount(self) -> Decimal:
        return sum((q * tag.unit_price for (_, tag), q in self.owed.items()), ZERO)


def rate(usage: Iterable[Usage], book: Iterable[BookVersion]) -> Rated:
    """Price the usage of tenants who pay by this book; zero quantities leave no row."""
    versions = list(book)
    owed: dict[tuple[Key, PriceTag], Decimal] = defaultdict(Decimal)
    unpriced: dict[Key, Decimal] = defaultdict(Decimal)
    for row in usage:
        version = next((v for v in versions if v.holds(row.hour)), None)
        for meter, quantity in quantities(row).items():
            if not quantity:
                continue
            key = _key(row, meter)
            tag = version.tag(row.model, meter, row.traffic_class) if version else None
            if tag is not None:
                owed[key, tag] += quantity
            elif meter in TOKENS:
                unpriced[key] += quantity
    return Rated(dict(owed), dict(unpriced))


def rate_by_currency(
    usage: Iterable[Usage],
    currencies: Mapping[int, str],
    books: Mapping[str, Iterable[BookVersion]],
) -> Rated:
    """Price each tenant's usage by the book of its currency; no book, no price."""
    by_currency: dict[str, list[Usage]] = defaultdict(list)
    for row in usage:
        by_currency[currencies.get(row.tenant_id, "")].append(row)
    owed: dict[tuple[Key, PriceTag], Decimal] = {}
    unpriced: dict[Key, Decimal] = {}
    for currency, rows in by_currency.items():
        found = rate(rows, books.get(currency, ()))
        owed |= found.owed
        unpriced |= found.unpriced
    return Rated(owed, unpriced)


def differences(
    owed: Mapping[tuple[Key, PriceTag], Decimal], charged: Mapping[tuple[Key, PriceTag], Decimal]
) -> list[ChargeRow]:
    """The rows that lead from what was charged to what is owed, in a fixed order.

    Late usage is one row at its price; another price is a reversal and a corrected row. Nothing
    is left to say when both agree, so running twice changes nothing.
    """
    rows = []
    for key, tag in owed.keys() | charged.keys():
        missing = owed.get((key, tag), ZERO) - charged.get((key, tag), ZERO)
        if missing:
            rows.append(ChargeRow(key, missing, tag))
    return sorted(rows, key=lambda r: (r.key, r.quantity, r.tag.unit_price, r.tag.book_version_id))


def _key(row: Usage, meter: Meter) -> Key:
    return Key(
        row.hour, row.tenant_id, row.application_id, row.model, row.traffic_class, meter.value
    )
