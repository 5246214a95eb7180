"""Limits and periods of quotas."""

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from zoneinfo import ZoneInfo

LARGEST_COUNT = 2_147_483_647
LARGEST_TOKENS = 9_000_000_000_000
LARGEST_BUDGET = Decimal("999999999999")
MICRO = Decimal("0.000001")


class BudgetKind(StrEnum):
    """What a monthly budget counts."""

    MONEY = "money"
    INPUT_TOKENS = "input_tokens"  # of prompts, cached ones too
    OUTPUT_TOKENS = "output_tokens"
    TOKENS = "tokens"  # both together


# The limit of a quota that is the budget of a kind.
FIELD_OF_BUDGET = {
    BudgetKind.MONEY: "monthly_budget",
    BudgetKind.INPUT_TOKENS: "monthly_input_tokens",
    BudgetKind.OUTPUT_TOKENS: "monthly_output_tokens",
    BudgetKind.TOKENS: "monthly_tokens",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """None: no opinion. 0: nothing passes."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None
    monthly_budget: Decimal | None = None  # of the tenant's currency
    monthly_input_tokens: int | None = None
    monthly_output_tokens: int | None = None
    monthly_tokens: int | None = None  # input and output together

    @property
    def is_empty(self) -> bool:
        return all(getattr(self, f.name) is None for f in fields(self))


LARGEST = {
    "requests_per_minute": LARGEST_COUNT,
    "tokens_per_minute": LARGEST_TOKENS,
    "concurrency": LARGEST_COUNT,
    "monthly_budget": LARGEST_BUDGET,
    "monthly_input_tokens": LARGEST_TOKENS,
    "monthly_output_tokens": LARGEST_TOKENS,
    "monthly_tokens": LARGEST_TOKENS,
}


def faults_of_limits(limits: Limits) -> dict[str, str]:
    if limits.is_empty:
        return {"requests_per_minute": "Set at least one limit, or clear the quota"}
    found = {}
    for name, largest in LARGEST.items():
        value = getattr(limits, name)
        if value is not None and not 0 <= value <= largest:
            found[name] = f"Between 0 and {largest:,}"
    budget = limits.monthly_budget
    if budget is not None and "monthly_budget" not in found and budget % MICRO:
        found["monthly_budget"] = "At most six decimals"
    return found


@dataclass(frozen=True, slots=True)
class Month:
    name: str  # "2026-11"
    starts_at: datetime
    ends_at: datetime


def month_of(now: datetime, time_zone: str) -> Month:
    """The calendar month of the tenant, whose midnight is not ours."""
    zone = ZoneInfo(time_zone)
    here = now.astimezone(zone)
    start = datetime(here.year, here.month, 1, tzinfo=zone)
    later = start + timedelta(days=32)
    end = datetime(later.year, later.month, 1, tzinfo=zone)
    return Month(f"{here:%Y-%m}", start, end)


def micros(amount: Decimal) -> int:
    return int((amount * 1_000_000).to_integral_value())
