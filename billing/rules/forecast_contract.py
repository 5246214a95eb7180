"""What a month will cost under a contract: use to its end, priced as the contract prices it. Pure.

1. Use goes on as `rules.forecast` expects it: money by the day; where tiers, volumes or packages
   price a part of it, tokens by the day, and that part is priced at the month's whole quantity.
2. Fees of the month are added, and what use leaves of each minimum: both are owed at its end.
3. The ends of the band are priced in the same way.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from zoneinfo import ZoneInfo

from billing.rules.forecast import CENT, ZERO, Forecast
from billing.rules.prices.kinds import parts_of
from billing.rules.prices.terms import Terms, Use
from billing.rules.rating import Period, fees
from billing.rules.tariffs import Tariff

ONE = Decimal(1)
Days = Mapping[date, Decimal]


@dataclass(frozen=True, slots=True)
class Pool:
    """A quantity of the month so far that one price of tiers, volumes or packages counts."""

    terms: Terms
    quantity: Decimal
    step: Decimal = ONE  # what quantities of it are whole of

    def amount(self, growth: Decimal) -> Decimal:
        whole = (self.quantity * growth).quantize(self.step, ROUND_HALF_EVEN)
        if not whole:
            return ZERO
        parts = parts_of(self.terms, Use(ZERO, whole, whole))
        return sum((p.quantity * p.unit_price for p in parts), ZERO)


def grown(tokens: Forecast, done: Days, pools: Sequence[Pool]) -> Forecast | None:
    """The forecast of money that follows from one of tokens. None: nothing was used yet.

    `done` is the money of this month's days so far.
    """
    if not tokens.so_far:
        return None
    so_far = sum(done.values(), ZERO)
    plain = so_far - sum((pool.amount(ONE) for pool in pools), ZERO)

    def priced(amount: Decimal) -> Decimal:
        growth = amount / tokens.so_far
        return plain * growth + sum((pool.amount(growth) for pool in pools), ZERO)

    amount = priced(tokens.amount)
    today = done.get(tokens.by_day[0][0], ZERO) if tokens.by_day else ZERO
    left = sum((of for _, of in tokens.by_day), ZERO)
    rest = amount - so_far + today
    days = tuple((day, rest * of / left if left else ZERO) for day, of in tokens.by_day)
    return replace(
        tokens, amount=amount, low=priced(tokens.low), high=priced(tokens.high), so_far=so_far,
        by_day=days,
    )  # fmt: skip


def with_contract(
    found: Forecast, tariff: Tariff, period: Period, *, done: Days, charged: Decimal, zone: str
) -> Forecast:
    """Add what the contract owes for the month; `charged` of it is owed already."""
    owed = {
        amount: owed_of(tariff, period, spent_in(scenario(found, done, amount), zone))
        for amount in {found.amount, found.low, found.high}
    }
    whole = owed[found.amount]
    by_day = list(found.by_day)
    if by_day:
        day, amount = by_day[-1]
        by_day[-1] = (day, amount + whole - charged)
    return replace(
        found,
        amount=(found.amount + whole).quantize(CENT),
        low=(found.low + owed[found.low]).quantize(CENT),
        high=(found.high + owed[found.high]).quantize(CENT),
        so_far=found.so_far + charged,
        contract=whole.quantize(CENT),
        by_day=tuple((day, amount.quantize(CENT)) for day, amount in by_day),
    )


def scenario(found: Forecast, done: Days, amount: Decimal) -> Days:
    """Days of the month that end at `amount`: those that are left, higher or lower alike."""
    days = dict(done)
    first = found.by_day[0][0] if found.by_day else None
    before = sum((a for day, a in done.items() if day != first), ZERO)
    left = found.amount - before
    rate = (amount - before) / left if left else ZERO
    return days | {day: of * rate for day, of in found.by_day}


def spent_in(days: Days, zone: str) -> Callable[[int, datetime, datetime], Decimal]:
    """Use in [start, end), by the days that begin in it."""
    at = {day: datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)) for day in days}
    return lambda _, start, end: sum(
        (amount for day, amount in days.items() if start <= at[day] < end), ZERO
    )


def owed_of(
    tariff: Tariff, period: Period, spent: Callable[[int, datetime, datetime], Decimal]
) -> Decimal:
    """Fees and what is missing to minima, of the month as it will be when it is over."""
    over = replace(period, seen_at=period.ends_at)
    found = fees({0: [over]}, {0: tariff}, spent)
    return sum((quantity * tag.unit_price for (_, tag), quantity in found.items()), ZERO)
