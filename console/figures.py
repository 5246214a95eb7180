"""How figures are written: counts, money, shares, durations, ages. Pure.

A thin space never separates a number from its unit; a missing figure is a dash, never zero.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from tenants.rules.currencies import EXPONENTS

MISSING = "–"
MINUS = "−"
SIGNS = {"USD": "$", "EUR": "€", "GBP": "£"}


def count(value: float | Decimal | None) -> str:
    return MISSING if value is None else _minus(f"{value:,.0f}")


def number(value: float | Decimal | None, digits: int = 2) -> str:
    return MISSING if value is None else _minus(f"{value:,.{digits}f}")


def exact(value: Decimal | None) -> str:
    """All digits that say something, a count without decimals."""
    return MISSING if value is None else _minus(f"{value.normalize() + 0:,f}")


def percent(ratio: float | Decimal | None, digits: int = 1) -> str:
    """A ratio of 0..1 as a share. A nonzero share is never written as zero."""
    return _percent(ratio, digits, "")


def change(ratio: float | Decimal | None, digits: int = 1) -> str:
    """The same with its sign: by how much something grew."""
    return _percent(ratio, digits, "+")


def _percent(ratio: float | Decimal | None, digits: int, plus: str) -> str:
    if ratio is None:
        return MISSING
    least = Decimal(1).scaleb(-digits)
    hundred = Decimal(str(ratio)) * 100
    if 0 < hundred < least:
        return f"< {plus}{least} %"
    if -least < hundred < 0:
        return f"> {MINUS}{least} %"
    sign = plus if hundred > 0 else ""
    return f"{sign}{_minus(f'{hundred:,.{digits}f}')} %"


def _minus(text: str) -> str:
    return text.replace("-", MINUS)


def points(value: float | None) -> str:
    """A difference of two shares, in percentage points."""
    if value is None:
        return MISSING
    sign = "+" if value > 0.05 else MINUS if value < -0.05 else ""
    return f"{sign}{abs(value):.1f} pt"


def money(amount: Decimal | float | None, currency: str = "USD") -> str:
    """With as many decimals as the currency's smallest unit has: no yen has cents."""
    if amount is None:
        return MISSING
    digits = EXPONENTS.get(currency, 2)
    sign = MINUS if amount < 0 else ""
    text = f"{abs(amount):,.{digits}f}"
    return f"{sign}{SIGNS[currency]}{text}" if currency in SIGNS else f"{sign}{text} {currency}"


def duration(value: timedelta | float | None) -> str:
    """A length of time (`timedelta`, or seconds) in its two greatest units."""
    if value is None:
        return MISSING
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if seconds < 0:
        return MINUS + duration(-seconds)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.3g} s"
    return _long(round(seconds))


def _long(whole: int) -> str:
    days, rest = divmod(whole, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, seconds = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    first = next(i for i, (n, _) in enumerate(parts) if n)
    return " ".join(f"{n} {unit}" for n, unit in parts[first : first + 2] if n)


def milliseconds(value: float | None) -> str:
    return MISSING if value is None else duration(value / 1000)


def gpu(product: str) -> str:
    """A GPU's name without its maker's: the table has little room and one maker."""
    return product.removeprefix("NVIDIA-") or "GPU"


def gpu_mix(mix: Mapping[str, int]) -> str:
    """ "2 H100 and 1 L40S"."""
    return " and ".join(f"{number} {gpu(product)}" for product, number in mix.items())


def size(octets: float | None) -> str:
    if octets is None:
        return MISSING
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(octets) < 1024 or unit == "TiB":
            return f"{octets:.0f} {unit}" if unit == "B" else f"{octets:.1f} {unit}"
        octets /= 1024
    raise AssertionError("the last unit always returns")


def age(moment: datetime, now: datetime) -> str:
    """As static/app.js goes on counting it: "4 s ago", "2 h 10 min ago", "in 5 min"."""
    seconds = round((now - moment).total_seconds())
    if seconds < -1:
        return f"in {_age(-seconds)}"
    return f"{_age(max(0, seconds))} ago"


def _age(s: int) -> str:
    if s < 60:
        return f"{s} s"
    if s < 3600:
        return f"{s // 60} min"
    if s < 86400:
        return f"{s // 3600} h {s % 3600 // 60} min"
    return f"{s // 86400} d"


def hour(value: datetime) -> str:
    """ "3 Nov 14:00" in UTC, for rows of hours."""
    at = value.astimezone(UTC)
    return f"{at.day} {at:%b %H:%M}"


def moment(value: datetime, now: datetime, *, full: bool = False) -> str:
    """A point in time, UTC, as short as today allows."""
    at, today = value.astimezone(UTC), now.astimezone(UTC)
    if full:
        return f"{at:%Y-%m-%d %H:%M:%S} UTC"
    if at.date() == today.date():
        return f"{at:%H:%M}"
    return f"{at:%d %b %H:%M}" if at.year == today.year else f"{at:%d %b %Y}"
