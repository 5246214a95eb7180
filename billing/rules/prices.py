"""What a price may be, and how versions of a book follow each other."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing.rules.meters import SALES, TOKENS, Meter
from gateway.contract.outcomes import TrafficClass

LARGEST = Decimal("1000000000")
DECIMALS = {Meter.GPU_SECOND: 9}  # a quantity of milliseconds x 9 decimals is exact at 12
MOST_DECIMALS = 12
MOST_LINES = 5_000
CURRENCIES = frozenset(
    {
        *("AED", "AUD", "BRL", "CAD", "CHF", "CLP", "CNY", "COP", "CZK", "DKK", "EUR", "GBP"),
        *("HKD", "HUF", "IDR", "ILS", "INR", "JPY", "KRW", "KWD", "MXN", "MYR", "NOK", "NZD"),
        *("PHP", "PLN", "RON", "SAR", "SEK", "SGD", "THB", "TRY", "TWD", "USD", "ZAR"),
    }
)


@dataclass(frozen=True, slots=True)
class PriceLine:
    """A price as people say it: `price` is for SALES[meter].per units, a million tokens say."""

    model: str
    meter: str
    price: Decimal
    traffic_class: str = ""

    @property
    def unit_price(self) -> Decimal:
        return self.price / SALES[Meter(self.meter)].per


def faults_of_prices(lines: Sequence[PriceLine]) -> dict[str, str]:
    """Sentences by place in the list; empty when the prices can be used."""
    faults: dict[str, str] = {}
    seen: set[tuple[str, str, str]] = set()
    for index, line in enumerate(lines):
        name = (line.model, line.meter, line.traffic_class)
        if name in seen:
            faults[f"prices/{index}"] = f"{line.model} {line.meter} stands twice"
        seen.add(name)
        if fault := fault_of_price(line):
            faults[f"prices/{index}"] = fault
    if not 0 < len(lines) <= MOST_LINES:
        faults["prices"] = f"Give at least one price and at most {MOST_LINES:,}"
    return faults or incomplete(lines)


def fault_of_price(line: PriceLine) -> str:
    if line.meter not in Meter.__members__.values():
        return f"There is no meter {line.meter!r}; there are {', '.join(Meter)}"
    if line.traffic_class and line.traffic_class not in TrafficClass.__members__.values():
        return f"There is no traffic class {line.traffic_class!r}"
    if not line.model or len(line.model) > 128:
        return "Name the model that tenants call, in at most 128 characters"
    if not line.price.is_finite() or not 0 <= line.price <= LARGEST:
        return f"A price is between 0 and {LARGEST:,}"
    sale = SALES[Meter(line.meter)]
    decimals = DECIMALS.get(Meter(line.meter), MOST_DECIMALS)
    if line.unit_price % Decimal(1).scaleb(-decimals):
        return f"{line.price} {sale.per_label} has more than {decimals} decimals for one unit"
    return ""


def incomplete(lines: Iterable[PriceLine]) -> dict[str, str]:
    """A model with a price for some tokens only would leave the others unpriced."""
    meters: dict[str, set[str]] = {}
    for line in lines:
        if not line.traffic_class:
            meters.setdefault(line.model, set()).add(line.meter)
    faults = {}
    for model in {line.model for line in lines}:
        missing = [m.value for m in TOKENS if m not in meters.get(model, set())]
        if missing:
            faults["prices"] = (
                f"{model} has no price for every class of {', '.join(missing)}; "
                "give 0 where it is free on purpose"
            )
    return faults


def fault_of_start(starts_at: datetime, *, now: datetime, why: str) -> str:
    if starts_at.minute or starts_at.second or starts_at.microsecond:
        return "Prices change on the full hour, because usage is rated by the hour"
    if starts_at < now and not why.strip():
        return "Prices that begin in the past change what was charged: say why"
    return ""
