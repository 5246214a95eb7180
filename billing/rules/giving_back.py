"""What a bill below zero gives back: amounts of lines of the invoices that it corrects.

First lines of the same service, meter and place in the same month; then other lines of that month;
then what else these invoices have. Never more of a line or an invoice than credit notes left of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from billing.rules.grants import Use, undo
from billing.rules.invoices import Row

ZERO = Decimal(0)
Key = tuple[str, int]  # number of the invoice, position of the line


@dataclass(frozen=True, slots=True)
class Sku:
    month: str
    model: str
    meter: str
    runs_on: str


@dataclass(frozen=True, slots=True)
class Creditable:
    """A line of an invoice with what credit notes left of it, and which credits paid for it."""

    invoice: str
    position: int
    sku: Sku
    remains: Decimal
    uses: tuple[Use, ...] = ()

    def promoted(self, amount: Decimal) -> Decimal:
        """What goes back to promotions, and not to the customer, when so much is credited."""
        return sum((u.amount for u in undo(self.uses, amount) if not u.paid), ZERO)


def owed_back(rows: Iterable[Row], month: str) -> dict[Sku, Decimal]:
    """Amounts above zero by what is charged less; `month` is the bill's own."""
    sums: dict[Sku, Decimal] = {}
    for row in rows:
        if (c := row.charged) is not None:
            sku = Sku(c.period or month, c.model, c.meter, c.runs_on)
            sums[sku] = sums.get(sku, ZERO) - row.amount
    return {sku: amount for sku, amount in sums.items() if amount > 0}


def share_out(
    owed: Mapping[Sku, Decimal],
    most: Decimal,
    lines: Sequence[Creditable],
    lefts: Mapping[str, Decimal],
) -> tuple[dict[Key, Decimal], Decimal]:
    """How much of which line is given back, of `most` in all, and what nothing is left for.

    `lefts` is what remains of the net of each invoice.
    """
    taken: dict[Key, Decimal] = {}
    open_, left = dict(owed), dict(lefts)
    for fits in (_same, _same_month, _any):
        for sku in owed:
            for line in (x for x in lines if fits(sku, x.sku)):
                amount = _most(line, taken, left[line.invoice], min(open_[sku], most))
                if amount > 0:
                    _take(line, amount, taken, left)
                    open_[sku] -= amount
                    most -= amount
    return taken, most


def _same(owed: Sku, line: Sku) -> bool:
    return owed == line


def _same_month(owed: Sku, line: Sku) -> bool:
    return owed.month == line.month


def _any(owed: Sku, line: Sku) -> bool:
    return True


def _most(line: Creditable, taken: Mapping[Key, Decimal], left: Decimal, most: Decimal) -> Decimal:
    """At most the line; and what no promotion takes back, at most the invoice."""
    before = taken.get((line.invoice, line.position), ZERO)
    amount = min(most, line.remains - before)
    while amount > 0 and (over := _net(line, before, amount) - left) > 0:
        amount -= over
    return amount


def _net(line: Creditable, before: Decimal, amount: Decimal) -> Decimal:
    return amount - line.promoted(before + amount) + line.promoted(before)


def _take(
    line: Creditable, amount: Decimal, taken: dict[Key, Decimal], left: dict[str, Decimal]
) -> None:
    key = (line.invoice, line.position)
    before = taken.get(key, ZERO)
    left[line.invoice] -= _net(line, before, amount)
    taken[key] = before + amount
