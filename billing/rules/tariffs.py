"""Which price holds: a tenant's contract first, then the list of its currency."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Context, Decimal

from billing.rules.calendars import Calendar
from billing.rules.meters import TOKENS, Meter, names_of
from billing.rules.prices.factor import factor_at
from billing.rules.prices.lines import DECIMALS, MOST_DECIMALS
from billing.rules.prices.terms import BY_MONTH, MONTHLY, Kind, Terms

# Model, meter, class or "" for every class, and what it runs on (see `meters.runs_on`).
Priced = tuple[str, str, str, str]
# Factors have many digits; only what they make of a price is rounded, once.
EXACT = Context(prec=500)


@dataclass(frozen=True, slots=True)
class BookVersion:
    """Prices that hold for hours that begin in [starts_at, ends_at)."""

    id: int
    currency: str
    starts_at: datetime
    ends_at: datetime | None
    prices: Mapping[Priced, Terms]
    factors: Mapping[Priced, Terms] = field(default_factory=dict)  # empty name: any
    by_month: Mapping[Priced, Terms] = field(default_factory=dict)

    def holds(self, hour: datetime) -> bool:
        return self.starts_at <= hour and (self.ends_at is None or hour < self.ends_at)

    def held_in(self, start: datetime, end: datetime) -> tuple[datetime, datetime]:
        return max(start, self.starts_at), end if self.ends_at is None else min(end, self.ends_at)

    def factor(self, hour: datetime, asked: Priced) -> Decimal:
        """Every factor that fits multiplies."""
        found = Decimal(1)
        for named, terms in self.factors.items():
            if all(name in ("", other) for name, other in zip(named, asked, strict=True)):
                found = EXACT.multiply(found, factor_at(terms, hour))
        return found


def version_of(
    pk: int,
    currency: str,
    span: tuple[datetime, datetime | None],
    lines: Mapping[tuple[Priced, bool], Terms],
) -> BookVersion:
    """`lines` by name, and whether it is a factor."""
    prices = {name: t for (name, _), t in lines.items() if t.kind not in {Kind.FACTOR, *BY_MONTH}}
    factors = {name: t for (name, _), t in lines.items() if t.kind == Kind.FACTOR}
    by_month = {name: t for (name, _), t in lines.items() if t.kind in BY_MONTH}
    return BookVersion(pk, currency, *span, prices, factors, by_month)


@dataclass(frozen=True, slots=True)
class Found:
    """A price, its name in its version, and where it comes from."""

    terms: Terms
    priced: Priced
    version: BookVersion
    by_contract: bool


@dataclass(frozen=True, slots=True)
class Tariff:
    """All that a tenant pays by. Versions of one book never overlap."""

    book: Sequence[BookVersion]
    contract: Sequence[BookVersion] = ()
    calendar: Calendar = Calendar()

    def find(
        self, hour: datetime, model: str, meter: str, traffic_class: str, runs_on: str = ""
    ) -> Found | None:
        names = [
            (model, meter, of_class, place)
            for place in names_of(meter, runs_on)
            for of_class in (traffic_class, "")
        ]
        for versions, by_contract in ((self.contract, True), (self.book, False)):
            for version in versions:
                if version.holds(hour):
                    for name in names:
                        terms = version.prices.get(name)
                        if terms is not None:
                            return Found(terms, name, version, by_contract)
        return None

    def with_factors(self, found: Found, price: Decimal, hour: datetime, asked: Priced) -> Decimal:
        """The unit price of that hour: by the factors of its own version, and those of a contract
        on list prices. A unit price again, half even. Packages cost the same at any hour."""
        versions = [v for v in self.contract if v.holds(hour)]
        if not found.by_contract:
            versions.append(found.version)
        if found.terms.kind == Kind.PACKAGE or not any(v.factors for v in versions):
            return price
        for version in versions:
            price = EXACT.multiply(price, version.factor(hour, asked))
        decimals = DECIMALS.get(Meter(asked[1]), MOST_DECIMALS)
        return price.quantize(Decimal(1).scaleb(-decimals), context=EXACT)

    def sells_at(self, hour: datetime, model: str, meter: Meter) -> bool:
        """In that hour, to any class and on anything."""
        versions = [v for v in (*self.contract, *self.book) if v.holds(hour)]
        return any((model, meter) == sold[:2] for v in versions for sold in v.prices)

    def sells(self, meter: Meter) -> bool:
        return any(
            sold == meter for v in (*self.book, *self.contract) for _, sold, _, _ in v.prices
        )

    @property
    def monthly(self) -> bool:
        """Something in it depends on the month, so months are rated as a whole."""
        return any(
            v.by_month or any(t.kind in MONTHLY for t in v.prices.values())
            for v in (*self.book, *self.contract)
        )


def needs_price(tariff: Tariff | None, hour: datetime, model: str, meter: Meter) -> bool:
    """Whether use that no price covers is listed. Tokens and kept prefixes always; GPU time where
    that of the model is sold on other products: who pays by it does not get the others as a gift.
    Requests are free unless they are priced.
    """
    if meter in TOKENS or meter == Meter.KEPT_PREFIX:
        return True
    if tariff is None or meter != Meter.GPU_SECOND:
        return False
    return tariff.sells_at(hour, model, meter)
