"""Kubernetes objects speak in quantities and RFC 3339: turned into numbers and moments."""

import re
from datetime import datetime
from decimal import Decimal
from typing import Any

Json = dict[str, Any]
BINARY = {name: Decimal(1024) ** power for power, name in enumerate(("", "Ki", "Mi", "Gi", "Ti"))}
METRIC = {"m": Decimal("0.001"), "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9)}
QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)([A-Za-z]*)")


def same(one: object, other: object) -> bool:
    """1024Mi is 1Gi: the server writes quantities in its own way."""
    return str(one) == str(other) or amount(one) == amount(other) is not None


def amount(quantity: object) -> Decimal | None:
    found = QUANTITY.fullmatch(str(quantity))
    factor = (BINARY | METRIC).get(found[2]) if found else None
    return Decimal(found[1]) * factor if found and factor is not None else None


def whole(quantity: object) -> int:
    """A count of devices: "4" is 4; what is no whole number counts as none."""
    try:
        return max(int(str(quantity)), 0)
    except ValueError:
        return 0


def moment(text: object) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
