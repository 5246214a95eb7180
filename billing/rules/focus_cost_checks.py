"""Rules of the cost file: each row, and all rows of an origin together."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any

from billing.rules.allocation import TENANT
from billing.rules.focus import ALLOCATED, COSTS, MANY, PICO, UNIT_PRICES
from billing.rules.focus_checks import (
    ALLOWED,
    Row,
    fault_of_correction,
    fault_of_enums,
    fault_of_numbers,
    fault_of_objects,
    fault_of_times,
    fault_of_usage,
    first_fault,
)
from billing.rules.focus_costs import KINDS, OWN

MICRO = Decimal("0.000001")
VALUES = ALLOWED | {
    "ConsumedUnit": {"", "GPU-Seconds"},
    "PricingUnit": {"GPU-Seconds", "Hours"},
    "x_AllocationKind": set(KINDS),
}
QUANTITIES = ("ConsumedQuantity", "PricingQuantity")
SUMMED = (*COSTS, *QUANTITIES)
# All else is of the origin, and the same in each of its rows.
OWN_OF_SHARE = {*SUMMED, *ALLOCATED, *OWN} - {"x_OriginId", "AllocatedMethodId"}
ELEMENT = {"AllocatedRatio", "UsageUnit", "UsageQuantity"}
UNIT = re.compile(r"[A-Z][A-Za-z]*(-[A-Z][A-Za-z]*)*")


def fault_of_cost_row(row: Row, version: str) -> str:
    """The first rule that the row breaks, empty when none."""
    return first_fault(row, version, CHECKS)


def fault_of_split(
    rows: Sequence[Row], *, cost: Decimal, quantity: Decimal, version: str = "1.4"
) -> str:
    """The first rule that the rows of one origin break together, empty when none."""
    if not rows:
        return "an origin has no share"
    for row in rows:
        if fault := fault_of_cost_row(row, version):
            return fault
    return _fault_of_sums(rows, cost, quantity) or _fault_of_origin(rows)


def _fault_of_sums(rows: Sequence[Row], cost: Decimal, quantity: Decimal) -> str:
    for name in SUMMED:
        texts = [row[name] for row in rows if row[name]]
        want = cost if name in COSTS else quantity
        if texts and (found := _sum(texts)) != want:
            return f"{name} of the shares adds up to {found}, the origin's is {want}"
    ratios = _sum(str(_elements(row)[0]["AllocatedRatio"]) for row in rows)
    return "" if ratios == 1 else f"AllocatedRatio of an origin adds up to {ratios}"


def _fault_of_origin(rows: Sequence[Row]) -> str:
    """What is not the share's own is as the origin has it."""
    for name, cell in rows[0].items():
        if name not in OWN_OF_SHARE and any(row[name] != cell for row in rows):
            return f"{name} differs between the shares of an origin"
    return ""


def _sum(texts: Iterable[str]) -> Decimal:
    return sum((Decimal(text) for text in texts), Decimal(0))


@lru_cache(MANY)
def fault_of_details(text: str) -> str:
    """The JSON of AllocatedMethodDetails, as FOCUS has it."""
    try:
        found = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    except ValueError:
        return "AllocatedMethodDetails is not JSON"
    if not isinstance(found, dict) or set(found) != {"Elements"}:
        return "AllocatedMethodDetails is not an object of Elements"
    elements = found["Elements"]
    if not isinstance(elements, list) or not elements:
        return "AllocatedMethodDetails has no element"
    return next(filter(None, map(_fault_of_element, elements)), "")


def _fault_of_element(element: Any) -> str:
    if not isinstance(element, dict) or set(element) != ELEMENT:
        return f"an element of AllocatedMethodDetails has not {', '.join(sorted(ELEMENT))}"
    ratio, quantity, unit = (
        *(element["AllocatedRatio"], element["UsageQuantity"]),
        element["UsageUnit"],
    )
    if not isinstance(ratio, Decimal) or not 0 <= ratio <= 1:
        return "AllocatedRatio is not between 0 and 1"
    if not isinstance(quantity, Decimal) or quantity < 0:
        return "UsageQuantity is not a number from 0 on"
    if not isinstance(unit, str) or not UNIT.fullmatch(unit):
        return f"UsageUnit {unit!r} is no unit"
    return ""


def _elements(row: Row) -> list[Mapping[str, Any]]:
    text = row["AllocatedMethodDetails"]
    found: list[Mapping[str, Any]] = json.loads(text, parse_float=Decimal)["Elements"]
    return found


def _enums(row: Row) -> str:
    return fault_of_enums(row, VALUES)


def _allocated(row: Row) -> str:
    for name in ("AllocatedMethodId", "AllocatedResourceId", "AllocatedResourceName"):
        if not row[name]:
            return f"{name} is empty"
    if (row["x_AllocationKind"] == TENANT) != bool(row["x_TenantId"]):
        return "x_TenantId does not tell whose the share is"
    return fault_of_details(row["AllocatedMethodDetails"])


def _product(row: Row) -> str:
    """Price x quantity = cost, but for what rounding the two at 12 and at 6 decimals leaves."""
    quantity = Decimal(row["PricingQuantity"])
    for name in UNIT_PRICES:
        price = Decimal(row[name])
        most = price * 2 * MICRO + (abs(quantity) + 1) * PICO
        if price < 0 or abs(price * quantity - Decimal(row["BilledCost"])) > most:
            return f"{name} x PricingQuantity is not BilledCost"
    return ""


CHECKS = (
    *(_enums, fault_of_numbers, fault_of_times, fault_of_usage, _allocated, _product),
    *(fault_of_correction, fault_of_objects),
)
