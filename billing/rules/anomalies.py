"""Days on which more or less was spent than is usual for such a day.

A day is compared with the same weekday of the eight weeks before it: their median, and how far
they stray from it (median absolute deviation, which a single odd day does not move). Out of the
ordinary is what lies further off than three and a half of these, than a quarter of the median, and
than a twentieth of all that the tenant usually spends on a day: cents stay quiet.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from statistics import median

WEEKS = 8
LEAST_WEEKS = 4
JUDGED = 7  # days before today
STRAY = Decimal("3.5") * Decimal("1.4826")  # of a normal distribution's deviation
PART_OF_USUAL = Decimal("0.25")
PART_OF_ALL = Decimal("0.05")
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Anomaly:
    day: date
    model: str
    amount: Decimal
    usual: Decimal
    low: Decimal  # what would have been ordinary
    high: Decimal


def find_anomalies(
    by_model: Mapping[str, Mapping[date, Decimal]], *, today: date
) -> Iterator[Anomaly]:
    """Of one tenant and currency. Days without an amount are zero, from its first day on."""
    days = [day for amounts in by_model.values() for day in amounts]
    if not days:
        return
    first = min(days)
    judged = [today - timedelta(days=n) for n in range(JUDGED, 0, -1)]
    for day in judged:
        before = weekdays_before(day, first)
        if len(before) < LEAST_WEEKS:
            continue
        sums = [sum((a.get(d, ZERO) for a in by_model.values()), ZERO) for d in before]
        floor = median(sums) * PART_OF_ALL
        for model in sorted(by_model):
            found = judge(day, model, by_model[model], before, floor)
            if found:
                yield found


def weekdays_before(day: date, first: date) -> list[date]:
    weeks = (day - timedelta(weeks=n) for n in range(1, WEEKS + 1))
    return [d for d in weeks if d >= first]


def judge(
    day: date, model: str, amounts: Mapping[date, Decimal], before: Sequence[date], floor: Decimal
) -> Anomaly | None:
    amount = amounts.get(day, ZERO)
    known = [amounts.get(d, ZERO) for d in before]
    usual = median(known)
    stray = median([abs(a - usual) for a in known])
    width = max(stray * STRAY, usual * PART_OF_USUAL, floor)
    if abs(amount - usual) <= width:
        return None
    return Anomaly(day, model, amount, usual, max(usual - width, ZERO), usual + width)
