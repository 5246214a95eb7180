"""When a budget will be used up, if its month goes on as expected. Pure.

A budget's part of the month's use stays what it is: the forecast of the whole tenant, of money or
of tokens, says how much larger the month will be than so far.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from billing.rules.forecast import Forecast

HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class Threshold:
    """`passed`, or the day it is expected on. None and not passed: not in this month."""

    percent: int
    amount: Decimal
    passed: bool
    expected: date | None


@dataclass(frozen=True, slots=True)
class BudgetAhead:
    amount: Decimal
    low: Decimal
    high: Decimal
    runs_out: date | None  # None: not in this month, or it is spent already


def ahead_of(found: Forecast | None, used: Decimal, limit: Decimal) -> BudgetAhead | None:
    """`used` so far of a budget. None: there is too little to go by."""
    if found is None or found.so_far <= 0:
        return None
    share = used / found.so_far
    runs_out = _day(found, used, limit) if used < limit else None
    return BudgetAhead(found.amount * share, found.low * share, found.high * share, runs_out)


def thresholds_of(
    found: Forecast | None, used: Decimal, limit: Decimal, percents: Sequence[int]
) -> list[Threshold]:
    rows = []
    for percent in sorted({*percents, 100}):
        amount = limit * percent / HUNDRED
        passed = used >= amount
        day = None if passed else _day(found, used, amount)
        rows.append(Threshold(percent, amount, passed, day))
    return rows


def _day(found: Forecast | None, used: Decimal, amount: Decimal) -> date | None:
    return found.day_of(amount / used) if found and used > 0 else None
