"""Two spans of one tenant's charges side by side, part by part."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from billing.queries.charged import ChargeFilter, Sum, sum_charges
from billing.queries.money import PARTS, names_of, of_part
from billing.queries.visibility import narrowed
from billing.rules.years import FIRST_YEAR, LAST_YEAR, is_known
from tenants.errors import Invalid
from tenants.rules.access import Viewer

ZERO = Decimal(0)
NOTHING = Sum((), ZERO, ZERO)
LONGEST = timedelta(days=400)


@dataclass(frozen=True, slots=True)
class Span:
    """Calendar days of the tenant's zone, both of them in it, as UTC instants [start, end)."""

    first: date
    last: date
    start: datetime
    end: datetime

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1


@dataclass(frozen=True, slots=True)
class Pair:
    """What one part had in either span; `wanted` lead to exactly its rows."""

    key: str
    name: str
    amount: Decimal
    other: Decimal
    quantity: Decimal
    other_quantity: Decimal
    wanted: ChargeFilter
    other_wanted: ChargeFilter

    @property
    def difference(self) -> Decimal:
        return self.amount - self.other

    @property
    def change(self) -> Decimal | None:
        """Of the other; None: there was nothing to compare with."""
        return self.difference / self.other if self.other else None


def span_of(first: date, last: date, time_zone: str, names: tuple[str, str]) -> Span:
    """Raise `Invalid`, naming the field, for a span that ends before it begins or is too long."""
    for name, day in zip(names, (first, last), strict=True):
        if not is_known(day):
            raise Invalid(**{name: f"Choose a day of the years {FIRST_YEAR} to {LAST_YEAR}"})
    if last < first:
        raise Invalid(**{names[1]: f"{last} is before {first}: choose a later day"})
    if last - first >= LONGEST:
        raise Invalid(**{names[1]: f"The span is longer than {LONGEST.days} days: choose less"})
    zone = ZoneInfo(time_zone)
    start = datetime.combine(first, time(), zone)
    return Span(first, last, start, datetime.combine(last + timedelta(days=1), time(), zone))


def compare_parts(viewer: Viewer, wanted: ChargeFilter, other: ChargeFilter, by: str) -> list[Pair]:
    """The sums of both cut by one of `PARTS`, the largest difference first. What either has is
    listed, so each column adds up to the sum of its span.
    """
    if by not in PARTS:
        raise Invalid(by=f"There is no part {by!r}; there are {', '.join(PARTS)}")
    wanted, other = narrowed(viewer, wanted), narrowed(viewer, other)
    mine, theirs = _sums(wanted, by), _sums(other, by)
    keys = mine.keys() | theirs.keys()
    names = names_of(by, keys)
    found = []
    for key in keys:
        one, two = mine.get(key, NOTHING), theirs.get(key, NOTHING)
        part = of_part(by, key)
        found.append(
            Pair(
                key=str(key),
                name=names.get(key, str(key)),
                amount=one.amount,
                other=two.amount,
                quantity=one.quantity,
                other_quantity=two.quantity,
                wanted=replace(wanted, **part),
                other_wanted=replace(other, **part),
            )
        )
    return sorted(found, key=lambda p: (-abs(p.difference), p.name))


def _sums(wanted: ChargeFilter, by: str) -> Mapping[Any, Sum]:
    return {line.key[0]: line for line in sum_charges(wanted, by=(by,))}
