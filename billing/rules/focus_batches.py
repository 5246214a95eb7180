"""Row rules of FOCUS on all rows of a batch at once: what differs between the rows of a line.

The rest is the same in every row of a line, and `fault_of_row` has seen one of them.
"""

from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from billing.rules.batches import COUNT, MONEY, Batch, ByLine, Columns, Sheet, plain_texts, typed_as
from billing.rules.focus import COSTS, PICO, UNIT_PRICES
from billing.rules.focus_checks import (
    IN_BILLING_CURRENCY,
    IN_PRICING_CURRENCY,
    NOT_NULL,
    fault_of_row,
)

TIME = pa.timestamp("us", tz="UTC")
# As they are read, and as wide as their product can still be compared: at most 76 digits.
WIDE = {
    **dict.fromkeys(COSTS, (MONEY, pa.decimal256(38, 12))),
    **dict.fromkeys(UNIT_PRICES, (MONEY, pa.decimal256(32, 12))),
    "PricingQuantity": (COUNT, pa.decimal256(38, 6)),
}


class Checks:
    """Sees one row of each line in full, and of all rows what differs between them."""

    def __init__(self, version: str, sheet: Sheet) -> None:
        self._version, self._sheet = version, sheet
        self._seen = ByLine(lambda _: False)

    def fault(self, batch: Batch, columns: Columns) -> str:
        """The first rule that a row breaks, empty when none."""
        seen = self._seen.of(batch)
        new = pa.array([number for number, was in enumerate(seen) if not was], pa.int32())
        places = pc.index_in(new, value_set=batch.place).drop_null()
        for number in batch.place.take(places).to_pylist():
            seen[number] = True
        for row in self._sheet.rows(batch, places):
            if fault := fault_of_row(row, self._version):
                return fault
        return (
            _fault_of_nulls(columns, self._version)
            or _fault_of_times(columns)
            or fault_of_products(columns)
        )


def _fault_of_nulls(columns: Columns, version: str) -> str:
    empty = [name for name in NOT_NULL[version] if columns[name].null_count]
    return f"{empty[0]} is empty" if empty else ""


def _fault_of_times(columns: Columns) -> str:
    start, end = _times(columns, "ChargePeriodStart"), _times(columns, "ChargePeriodEnd")
    if pc.any(pc.less_equal(end, start)).as_py():
        return "ChargePeriodEnd is not after ChargePeriodStart"
    first, last = _times(columns, "BillingPeriodStart"), _times(columns, "BillingPeriodEnd")
    outside = pc.or_(pc.less(start, first), pc.greater_equal(start, last))
    negative = pc.less(typed_as(COUNT, columns["PricingQuantity"]), pa.scalar(Decimal(0), COUNT))
    wrong = pc.and_(pc.is_null(columns["ChargeClass"]), pc.or_(outside, negative))
    return "ChargeClass is empty on what corrects another charge" if pc.any(wrong).as_py() else ""


def _times(columns: Columns, name: str) -> pa.Array:
    return typed_as(TIME, columns[name])


def fault_of_products(columns: Columns) -> str:
    """Price x quantity = cost, as `fault_of_row` has it."""
    quantity = _wide(columns, "PricingQuantity")
    converts = not _alike(columns, "PricingCurrency", "BillingCurrency")
    seen: list[tuple[str, str]] = []
    for price, cost in (*IN_PRICING_CURRENCY, *IN_BILLING_CURRENCY):
        if any(_alike(columns, price, p) and _alike(columns, cost, c) for p, c in seen):
            continue
        seen.append((price, cost))
        product, amount = pc.multiply(_wide(columns, price), quantity), _wide(columns, cost)
        if (price, cost) in IN_BILLING_CURRENCY and converts:
            off = pc.abs(pc.subtract(product, amount))
            wrong = pc.greater(off, _most_off(columns, quantity))
        else:
            wrong = pc.not_equal(product, amount)
        if pc.any(wrong).as_py():
            return f"{price} x PricingQuantity is not {cost}"
    return ""


def _alike(columns: Columns, name: str, other: str) -> bool:
    return columns[name] is columns[other] or bool(columns[name].equals(columns[other]))


def _wide(columns: Columns, name: str) -> pa.Array:
    """The product of two wide numbers is exact."""
    narrow, wide = WIDE[name]
    return typed_as(narrow, columns[name]).cast(wide)


def _most_off(columns: Columns, quantity: pa.Array) -> pa.Array:
    """What is converted is rounded at 12 decimals: the unit price and the cost."""
    priced, billed = (plain_texts(columns[n]) for n in ("PricingCurrency", "BillingCurrency"))
    whole = pc.add(pc.abs(quantity), pa.scalar(Decimal(1)))
    off = pc.multiply(whole, pa.scalar(PICO))
    return pc.if_else(pc.equal(priced, billed), pa.scalar(Decimal(0)).cast(off.type), off)
