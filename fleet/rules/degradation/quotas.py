"""Changes of quotas, as the audit keeps them, told in words."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fleet.rules.degradation.facts import QuotaChange

WORDS = {
    "requests_per_minute": "requests a minute",
    "tokens_per_minute": "tokens a minute",
    "concurrency": "requests at the same time",
    "monthly_budget": "monthly budget",
    "monthly_input_tokens": "input tokens a month",
    "monthly_output_tokens": "output tokens a month",
    "monthly_tokens": "tokens a month",
}


def read_change(
    at: datetime, by: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> QuotaChange | None:
    """None when no limit that the gateway enforces has changed."""
    told, lowered = [], False
    for field, words in WORDS.items():
        old, new = _number(before, field), _number(after, field)
        if old != new:
            told.append(f"{words} {_told(old)} → {_told(new)}")
            lowered |= new is not None and (old is None or new < old)
    return QuotaChange(at, by, ", ".join(told), lowered) if told else None


def _number(limits: Mapping[str, Any] | None, field: str) -> float | None:
    value = (limits or {}).get(field)
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None


def _told(value: float | None) -> str:
    return "no limit" if value is None else f"{value:,.0f}"
