"""Minima of contracts: how much they are, when they end, when to warn of it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from billing.rules.prices.terms import Kind
from billing.rules.tariffs import BookVersion

WARNED = (30, 7, 1)  # days before a minimum ends
DAY = timedelta(days=1)


def amount_of(version: BookVersion) -> Decimal:
    """The minimum of a whole month; 0: the version has none."""
    terms = (t for t in version.by_month.values() if t.kind == Kind.COMMITMENT)
    return sum((t.unit_price for t in terms), Decimal(0))


def end_of(version: BookVersion, contract: Sequence[BookVersion]) -> datetime | None:
    """When its minimum ends. None: it has no end, or another version goes on with one."""
    follows = any(v.starts_at == version.ends_at and amount_of(v) for v in contract)
    return None if follows else version.ends_at


def days_left(end: datetime, now: datetime) -> int:
    """Begun days until then; 0: it has ended."""
    return max(0, -(-(end - now) // DAY))


def due_warning(end: datetime, now: datetime) -> int | None:
    """The nearest warning that is due, in days before the end. None: none, or it has ended."""
    left = days_left(end, now)
    return min((days for days in WARNED if 0 < left <= days), default=None)
