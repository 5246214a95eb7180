"""What a month will cost, from whole days and the rhythm of the week.

1. Every whole day known so far (this month and the weeks before) counts by its weekday's factor:
   the mean of that weekday against the mean of all days; 1 where a weekday was seen less than
   twice.
2. The level is the mean of the last 14 whole days, each divided by its factor.
3. The forecast is what was charged plus, for each day that is left, level x factor; today counts
   for what is still missing of it.
4. The band holds four of five outcomes if days go on straying from the level as they did: by the
   days that are left, and by how well so few days tell the level.

Fees and minima of a contract, and prices of the whole month, come on top: `forecast_contract`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

METHOD, VERSION = "weekday-level", 2  # the rule above; another one gets another version
LEAST_DAYS = 3
LEVEL_DAYS = 14
LEAST_OF_WEEKDAY = 2
BAND = Decimal("1.2816")  # four of five, if days stray like a normal distribution
ZERO, ONE, CENT = Decimal(0), Decimal(1), Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Forecast:
    amount: Decimal
    low: Decimal
    high: Decimal
    days: int  # whole days that it rests on
    by_day: tuple[tuple[date, Decimal], ...]  # today and the days that are left
    method: str = METHOD
    method_version: int = VERSION
    so_far: Decimal = ZERO  # of this month, with today
    contract: Decimal = ZERO  # fees and minima, part of the amount

    @property
    def today_so_far(self) -> Decimal:
        """Of what `by_day` expects of today."""
        expected = sum((amount for _, amount in self.by_day), ZERO)
        return self.so_far - (self.amount - expected)

    def growth(self, day: date) -> Decimal | None:
        """By that day's end, as a multiple of what there is so far. None: there is nothing."""
        if self.so_far <= 0:
            return None
        left = sum((amount for at, amount in self.by_day if at <= day), ZERO)
        return (self.so_far - self.today_so_far + left) / self.so_far

    def day_of(self, part: Decimal) -> date | None:
        """The first day by whose end there is `part` times what there is so far."""
        days = ((day, self.growth(day)) for day, _ in self.by_day)
        return next((day for day, grown in days if grown is not None and grown >= part), None)


def forecast(
    whole_days: Mapping[date, Decimal], *, today: date, today_so_far: Decimal, month_end: date
) -> Forecast | None:
    """Forecast the month that `today` lies in; `month_end` is its first day after.

    `whole_days` are days before today with their amounts, zero for quiet ones. None when there
    are fewer than three: a guess from less would be noise.
    """
    known = {day: amount for day, amount in whole_days.items() if day < today}
    if len(known) < LEAST_DAYS:
        return None
    factors = weekday_factors(known)
    recent = sorted(known)[-LEVEL_DAYS:]
    flat = [known[day] / factors[day.weekday()] for day in recent]
    level = sum(flat, ZERO) / len(flat)
    month_start = today.replace(day=1)
    left = [today + timedelta(days=n) for n in range((month_end - today).days)]
    expected = [(day, level * factors[day.weekday()]) for day in left]
    if expected:
        expected[0] = (today, max(expected[0][1], today_so_far))
    done = sum((a for day, a in known.items() if day >= month_start), ZERO)
    amount = done + sum((a for _, a in expected), ZERO)
    width = band(flat, level, left, known)
    floor = done + today_so_far
    return Forecast(
        amount=amount.quantize(CENT),
        low=max(floor, amount - width).quantize(CENT),
        high=(amount + width).quantize(CENT),
        days=len(known),
        by_day=tuple((day, a.quantize(CENT)) for day, a in expected),
        so_far=floor,
    )


def band(
    flat: Sequence[Decimal], level: Decimal, left: Sequence[date], known: Iterable[date]
) -> Decimal:
    """Half the width: of a sum of days, whose level and factors are themselves means of a few."""
    count, free = len(flat), len(flat) - 1
    seen = Counter(day.weekday() for day in known)
    factored = [n for n in seen.values() if n >= LEAST_OF_WEEKDAY]
    # A factor follows its own few days, so what they stray by looks less than it is.
    hidden = sum((Decimal(n) / (n - 1) for n in factored), ZERO) / len(factored) if factored else 1
    stray = (sum(((f - level) ** 2 for f in flat), ZERO) / free * hidden).sqrt()
    ahead = Counter(day.weekday() for day in left)
    of_factors = sum(
        (Decimal(n * n) / seen[day] for day, n in ahead.items() if seen[day] >= LEAST_OF_WEEKDAY),
        ZERO,
    )
    spread = (len(left) + Decimal(len(left) ** 2) / count + of_factors).sqrt()
    few = 1 + (BAND**2 + 1) / (4 * free)  # Student's quantile, near enough from two days on
    return BAND * few * stray * spread


def weekday_factors(days: Mapping[date, Decimal]) -> dict[int, Decimal]:
    """Factor by weekday, Monday is 0. Never zero: a day is divided by it."""
    mean = sum(days.values(), ZERO) / len(days)
    by_weekday: dict[int, list[Decimal]] = defaultdict(list)
    for day, amount in days.items():
        by_weekday[day.weekday()].append(amount)
    factors = dict.fromkeys(range(7), ONE)
    for weekday, amounts in by_weekday.items():
        if len(amounts) >= LEAST_OF_WEEKDAY and mean:
            own = sum(amounts, ZERO) / len(amounts)
            factors[weekday] = max(own / mean, Decimal("0.01"))
    return factors
