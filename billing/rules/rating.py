"""Rating: usage hours and prices in, charges out. Pure, so a repeated run gives the same rows.

Most prices look at their own hour. Kinds whose amount depends on the month (tiers, packages,
fees) are rated over the whole month of a tenant at once, hour after hour in a fixed order, and
still give rows of an hour: quantity x unit price. What later usage shifts is a difference.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from billing.rules.meters import Meter, Usage, quantities, runs_on
from billing.rules.prices.kinds import parts_of
from billing.rules.prices.terms import MONTHLY, Kind, Use
from billing.rules.tariffs import BookVersion, Found, Priced, Tariff, needs_price

RULES_VERSION = "6"  # raised when the same input would give other charges
ZERO = Decimal(0)
HOUR = timedelta(hours=1)
MICROSECOND = timedelta(microseconds=1)
MILLION = 1_000_000


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """What decides an amount, with the price."""

    hour: datetime
    tenant_id: int
    application_id: int  # 0: of the tenant as a whole
    model: str
    traffic_class: str
    meter: str
    runs_on: str = ""  # a GPU product of GPU time, else a hosted provider


@dataclass(frozen=True, slots=True)
class PriceTag:
    unit_price: Decimal
    currency: str
    book_version_id: int


@dataclass(frozen=True, slots=True)
class ChargeRow:
    key: Key
    quantity: Decimal
    tag: PriceTag

    @property
    def amount(self) -> Decimal:
        return self.quantity * self.tag.unit_price


Owed = dict[tuple[Key, PriceTag], Decimal]
# A month's quantities that count together: tenant, month, by contract or not, and the price's name.
Pool = tuple[int, str, bool, Priced]


@dataclass(frozen=True, slots=True)
class Rated:
    """What is owed, and what nobody priced."""

    owed: Owed = field(default_factory=dict)
    unpriced: dict[Key, Decimal] = field(default_factory=dict)

    @property
    def amount(self) -> Decimal:
        return sum((q * tag.unit_price for (_, tag), q in self.owed.items()), ZERO)


def rate(usage: Iterable[Usage], tariffs: Mapping[int, Tariff]) -> Rated:
    """Price usage by its tenant's tariff; no tariff, no price. Zero quantities leave no row.

    Tenants whose tariff is `monthly` bring whole months, or the tiers would begin anew.
    """
    owed: Owed = defaultdict(Decimal)
    unpriced: dict[Key, Decimal] = defaultdict(Decimal)
    by_month: dict[Key, Decimal] = defaultdict(Decimal)
    for row in usage:
        tariff = tariffs.get(row.tenant_id)
        for meter, quantity in quantities(row).items():
            if not quantity:
                continue
            key = _key(row, meter)
            found = _found(key, tariff) if tariff else None
            if found is None or tariff is None:
                if needs_price(tariff, row.hour, row.model, meter):
                    unpriced[key] += quantity
            elif found.terms.kind in MONTHLY:
                by_month[key] += quantity
            else:
                owed[key, tag_of(key, found, tariff, found.terms.unit_price)] += quantity
    return Rated({**owed, **spread(by_month, tariffs)}, dict(unpriced))


def spread(by_month: Mapping[Key, Decimal], tariffs: Mapping[int, Tariff]) -> Owed:
    """Price whole months of what counts together: tiers, volumes, packages."""
    pools: dict[Pool, dict[Key, Decimal]] = defaultdict(dict)
    for key, quantity in by_month.items():
        tariff = tariffs[key.tenant_id]
        pools[pool_of(key, _known(key, tariff), tariff)][key] = quantity
    owed: Owed = defaultdict(Decimal)
    for pool, rows in pools.items():
        _spread(rows, tariffs[pool[0]], owed)
    return dict(owed)


def _found(key: Key, tariff: Tariff) -> Found | None:
    return tariff.find(key.hour, key.model, key.meter, key.traffic_class, key.runs_on)


def _known(key: Key, tariff: Tariff) -> Found:
    found = _found(key, tariff)
    assert found is not None  # the key is here because it was found
    return found


def pool_of(key: Key, found: Found, tariff: Tariff) -> Pool:
    return (
        key.tenant_id,
        tariff.calendar.month_at(key.hour).name,
        found.by_contract,
        found.priced,
    )


def _spread(rows: Mapping[Key, Decimal], tariff: Tariff, owed: Owed) -> None:
    """Walk a pool in the order of its keys, so the same month is always cut in the same places."""
    total, before = sum(rows.values(), ZERO), ZERO
    for key in sorted(rows):
        found = _known(key, tariff)
        for part in parts_of(found.terms, Use(before, rows[key], total)):
            owed[key, tag_of(key, found, tariff, part.unit_price)] += part.quantity
        before += rows[key]


def tag_of(key: Key, found: Found, tariff: Tariff, unit_price: Decimal) -> PriceTag:
    asked = (key.model, key.meter, key.traffic_class, key.runs_on)
    price = tariff.with_factors(found, unit_price, key.hour, asked)
    return PriceTag(price, found.version.currency, found.version.id)


@dataclass(frozen=True, slots=True)
class Period:
    """A month of one tenant, in whole hours: [starts_at, ends_at), as it is at a moment."""

    starts_at: datetime
    ends_at: datetime
    seen_at: datetime
    cuts_shares: bool = False  # opened under rules before 6: parts of it have 6 decimals

    @property
    def is_over(self) -> bool:
        return self.ends_at <= self.seen_at

    def share(self, start: datetime, end: datetime) -> Fraction:
        """The part of the month in [start, end): its time over the time of the month."""
        whole = (self.ends_at - self.starts_at) // MICROSECOND
        share = Fraction((end - start) // MICROSECOND, whole)
        return Fraction(round(share * MILLION), MILLION) if self.cuts_shares else share


# What a tenant was charged for use in [start, end).
Spent = Callable[[int, datetime, datetime], Decimal]


def with_fees(
    rated: Rated, periods: Mapping[int, Sequence[Period]], tariffs: Mapping[int, Tariff]
) -> Rated:
    """Add what contracts owe for each whole month given."""

    def spent(tenant_id: int, start: datetime, end: datetime) -> Decimal:
        return _spent(rated.owed, tenant_id, start, end)

    return Rated({**rated.owed, **fees(periods, tariffs, spent)}, rated.unpriced)


def fees(
    periods: Mapping[int, Sequence[Period]], tariffs: Mapping[int, Tariff], spent: Spent
) -> Owed:
    """What contracts owe for each whole month given: fees, and minima once it is over."""
    owed: Owed = {}
    for tenant_id, months in periods.items():
        for version in tariffs[tenant_id].contract:
            for month in months:
                _add_fees(owed, spent, tenant_id, version, month)
    return owed


def _add_fees(
    owed: Owed, spent: Spent, tenant_id: int, version: BookVersion, month: Period
) -> None:
    start, end = version.held_in(month.starts_at, month.ends_at)
    if start >= end or start > month.seen_at:
        return  # nothing of it, or nothing yet
    share = month.share(start, end)
    for (_, meter, _, _), terms in version.by_month.items():
        if terms.kind == Kind.COMMITMENT and not month.is_over:
            continue
        used = spent(tenant_id, start, end) if terms.kind == Kind.COMMITMENT else ZERO
        hour = fee_hour(terms.kind, start, end)
        for part in parts_of(terms, Use(ZERO, ZERO, used, share)):
            tag = PriceTag(part.unit_price, version.currency, version.id)
            owed[Key(hour, tenant_id, 0, "", "", meter), tag] = part.quantity


def fee_hour(kind: Kind, start: datetime, end: datetime) -> datetime:
    """Fees are owed at the beginning, what is missing to a minimum at the end."""
    return end - HOUR if kind == Kind.COMMITMENT else start


def _spent(used: Owed, tenant_id: int, start: datetime, end: datetime) -> Decimal:
    return sum(
        (
            quantity * tag.unit_price
            for (key, tag), quantity in used.items()
            if key.tenant_id == tenant_id and start <= key.hour < end
        ),
        ZERO,
    )


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
        row.hour,
        row.tenant_id,
        row.application_id,
        row.model,
        row.traffic_class,
        meter.value,
        runs_on(row, meter),
    )
