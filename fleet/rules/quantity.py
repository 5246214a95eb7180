"""Kubernetes objects speak in quantities and RFC 3339: turned into numbers and moments."""

from datetime import datetime
from typing import Any

Json = dict[str, Any]


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
