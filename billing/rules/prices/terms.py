"""What a price says: its kind and its numbers, all for one unit. Quantities are whole units."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from fractions import Fraction

ZERO = Decimal(0)
REST = "rest"
LARGEST = Decimal(10) ** 18
MOST_PLACES = 18  # before and behind the point: further off, arithmetic rounds or breaks off
WHOLE = Fraction(1)


class Kind(StrEnum):
    UNIT = "unit"
    TIERED = "tiered"
    VOLUME = "volume"
    PACKAGE = "package"
    FLAT = "flat"
    COMMITMENT = "commitment"
    FACTOR = "factor"


# Their amount depends on the whole month, so the month is rated as a whole.
MONTHLY = frozenset({Kind.TIERED, Kind.VOLUME, Kind.PACKAGE, Kind.FLAT, Kind.COMMITMENT})
# Not of use, but owed for each month: in contracts only.
BY_MONTH = frozenset({Kind.FLAT, Kind.COMMITMENT})


@dataclass(frozen=True, slots=True)
class Tier:
    """Holds up to and including this quantity of a month; None: for all the rest."""

    up_to: Decimal | None
    unit_price: Decimal


@dataclass(frozen=True, slots=True)
class Window:
    """Hours of the week, by the clock of a zone: [start, end), over midnight where end <= start."""

    days: tuple[int, ...]  # 0 is Monday: the day on which the window begins
    start: int
    end: int
    factor: Decimal


@dataclass(frozen=True, slots=True)
class Terms:
    """`unit_price` is for one unit, one package or one month; unused parts stay empty."""

    kind: Kind = Kind.UNIT
    unit_price: Decimal = ZERO
    size: Decimal = ZERO  # units in a package
    tiers: tuple[Tier, ...] = ()
    zone: str = ""
    windows: tuple[Window, ...] = ()


@dataclass(frozen=True, slots=True)
class Use:
    """A quantity, its place in the month, and the month's total.

    For kinds of `BY_MONTH`: `share` is the part of the month that the price holds, `total` what
    was charged for use in it.
    """

    before: Decimal
    quantity: Decimal
    total: Decimal
    share: Fraction = WHOLE


@dataclass(frozen=True, slots=True)
class Part:
    quantity: Decimal
    unit_price: Decimal


def part_of(amount: Decimal, share: Fraction) -> Decimal:
    """At 12 decimals, half to even: as exact as a charge can be."""
    return Decimal(round(Fraction(amount) * share * 10**12)).scaleb(-12)


def number(text: str) -> Decimal:
    """A plain decimal; anything else is refused with a sentence."""
    try:
        found = Decimal(text)
    except InvalidOperation:
        found = Decimal("nan")
    if not found.is_finite() or len(text) > 40 or (found and abs(found.adjusted()) > MOST_PLACES):
        raise ValueError(f"'{text[:30]}' is no price")
    return found or ZERO


def plain(value: Decimal) -> str:
    """Without an exponent and without zeros at the end."""
    return f"{value.normalize() + 0:f}"


def read_tiers(words: Sequence[str], per: int) -> tuple[Tier, ...]:
    found = []
    for word in words:
        limit, colon, price = word.partition(":")
        if not colon:
            raise ValueError(f"'{word[:30]}' is no tier; write 1000000:0.50, the last as rest:0.30")
        up_to = None if limit == REST else number(limit)
        found.append(Tier(up_to, number(price) / per))
    return tuple(found)


def say_tiers(tiers: Sequence[Tier], per: int) -> str:
    return " ".join(
        f"{REST if t.up_to is None else plain(t.up_to)}:{plain(t.unit_price * per)}" for t in tiers
    )


def fault_of_tiers(tiers: Sequence[Tier]) -> str:
    if len(tiers) < 2 or len(tiers) > 20:
        return "Give at least two tiers and at most 20"
    *limited, last = tiers
    if last.up_to is not None:
        return f"The last tier has no limit: write {REST}:price"
    lowest = ZERO
    for tier in limited:
        if tier.up_to is None:
            return f"Only the last tier is the {REST}"
        if not lowest < tier.up_to <= LARGEST or tier.up_to % 1:
            return "Limits of tiers are whole units, each above the one before"
        lowest = tier.up_to
    return ""
