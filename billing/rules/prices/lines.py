"""What a price list may hold, and how versions of a book follow each other."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing.rules.events import is_name
from billing.rules.meters import BY_USE, HOSTED, SALES, TOKENS, Meter
from billing.rules.prices.kinds import fault_of_terms, read_terms, say_terms
from billing.rules.prices.terms import BY_MONTH, Kind, Terms
from billing.rules.years import SAID, is_known
from gateway.contract.outcomes import TrafficClass

LARGEST = Decimal("1000000000")
ON = "on "  # before what a price runs on, in a line of text
# A quantity of milliseconds x 9 decimals is exact at 12, as millionths x 6 are.
DECIMALS = {Meter.GPU_SECOND: 9, Meter.KEPT_PREFIX: 6}
MOST_DECIMALS = 12
MOST_LINES = 5_000
MONTH_METER = {Kind.FLAT: Meter.FEE, Kind.COMMITMENT: Meter.COMMITMENT}
CURRENCIES = frozenset(
    {
        *("AED", "AUD", "BRL", "CAD", "CHF", "CLP", "CNY", "COP", "CZK", "DKK", "EUR", "GBP"),
        *("HKD", "HUF", "IDR", "ILS", "INR", "JPY", "KRW", "KWD", "MXN", "MYR", "NOK", "NZD"),
        *("PHP", "PLN", "RON", "SAR", "SEK", "SGD", "THB", "TRY", "TWD", "USD", "ZAR"),
    }
)


@dataclass(frozen=True, slots=True)
class PriceLine:
    """A price as people say it: for SALES[meter].per units, a million tokens say.

    `price` is a number, so much for each unit, or terms whose numbers are for one unit already.
    Factors may leave model and meter empty: for all of them. `runs_on` names a GPU product where
    the meter is GPU time, else a hosted provider, or "hosted" for any of them.
    """

    model: str
    meter: str
    price: Decimal | Terms
    traffic_class: str = ""
    runs_on: str = ""

    @property
    def terms(self) -> Terms:
        if isinstance(self.price, Terms):
            return self.price
        return Terms(Kind.UNIT, self.price / per_of(self.meter))

    @property
    def text(self) -> str:
        return say_terms(self.terms, per_of(self.meter))


def per_of(meter: str) -> int:
    """Unknown meters are refused elsewhere, with a sentence."""
    return SALES[Meter(meter)].per if meter in Meter.__members__.values() else 1


def read_line(
    model: str, meter: str, text: str, traffic_class: str = "", runs_on: str = ""
) -> PriceLine:
    """Parse a price as people write it: "0.50", "tiered 10000000:0.50 rest:0.30"."""
    return PriceLine(model, meter, read_terms(text, per_of(meter)), traffic_class, runs_on)


def said_place(line: PriceLine) -> str:
    """As it is written behind a price."""
    return f"{ON}{line.runs_on}" if line.runs_on else ""


def faults_of_prices(lines: Sequence[PriceLine], *, contract: bool = False) -> dict[str, str]:
    """Sentences by place in the list; empty when the prices can be used."""
    faults: dict[str, str] = {}
    seen: set[tuple[str, str, str, str, bool]] = set()
    for index, line in enumerate(lines):
        is_factor = line.terms.kind == Kind.FACTOR
        name = (line.model, line.meter, line.traffic_class, line.runs_on, is_factor)
        if name in seen:
            faults[f"prices/{index}"] = f"{line.model} {line.meter} stands twice"
        seen.add(name)
        if fault := fault_of_price(line, contract=contract):
            faults[f"prices/{index}"] = fault
    if not 0 < len(lines) <= MOST_LINES:
        faults["prices"] = f"Give at least one price and at most {MOST_LINES:,}"
    return faults or ({} if contract else incomplete(lines))


def fault_of_price(line: PriceLine, *, contract: bool) -> str:
    kind = line.terms.kind
    if line.traffic_class and line.traffic_class not in TrafficClass.__members__.values():
        return f"There is no traffic class {line.traffic_class!r}"
    if len(line.model) > 128:
        return "Name the model that tenants call, in at most 128 characters"
    fault = fault_of_month(line, contract) if kind in BY_MONTH else fault_of_use(line)
    fault = fault or fault_of_place(line)
    return fault or fault_of_terms(line.terms) or fault_of_numbers(line)


def fault_of_month(line: PriceLine, contract: bool) -> str:
    meter = MONTH_METER[line.terms.kind]
    if not contract:
        return f"The kind {line.terms.kind} is agreed with a tenant: put it in a contract"
    if line.meter != meter or line.model or line.traffic_class:
        return f"A price of the kind {line.terms.kind} has the meter {meter}, no service, no class"
    return ""


def fault_of_use(line: PriceLine) -> str:
    is_factor = line.terms.kind == Kind.FACTOR
    if line.meter not in BY_USE and not (is_factor and not line.meter):
        return f"There is no meter {line.meter!r}; there are {', '.join(BY_USE)}"
    if not line.model and not is_factor:
        return "Name the model that tenants call, in at most 128 characters"
    if line.meter == Meter.KEPT_PREFIX and (line.traffic_class or line.runs_on):
        return "Kept prefixes are of no request: their price has no class and no place"
    return ""


def fault_of_place(line: PriceLine) -> str:
    if not line.runs_on:
        return ""
    if line.terms.kind in {Kind.FACTOR, *BY_MONTH}:
        return f"A price of the kind {line.terms.kind} counts wherever it runs: leave that out"
    if len(line.runs_on) > 120 or not is_name(line.runs_on):
        return "A provider or GPU product has at most 120 characters, no comma, slash or quotes"
    if line.meter == Meter.GPU_SECOND and line.runs_on == HOSTED:
        return "GPU time is of the fleet's own GPUs: name a product, or none for every product"
    return ""


def fault_of_numbers(line: PriceLine) -> str:
    """Every unit price is exact, so quantity x price is."""
    terms, per = line.terms, per_of(line.meter)
    size = terms.size or per
    decimals = DECIMALS.get(Meter(line.meter), MOST_DECIMALS) if line.meter else MOST_DECIMALS
    for price in (terms.unit_price, *(t.unit_price for t in terms.tiers)):
        if not price.is_finite() or not 0 <= price * size <= LARGEST:
            return f"A price is between 0 and {LARGEST:,}"
        if price % Decimal(1).scaleb(-decimals):
            return f"{line.text} has more than {decimals} decimals for one unit"
    return ""


def incomplete(lines: Iterable[PriceLine]) -> dict[str, str]:
    """A model with a price for some tokens only would leave the others unpriced."""
    meters: dict[tuple[str, str], set[str]] = {}
    for line in lines:
        if line.terms.kind == Kind.FACTOR:
            continue
        runs_on = "" if line.meter == Meter.GPU_SECOND else line.runs_on
        found = meters.setdefault((line.model, runs_on), set())
        if not line.traffic_class:
            found.add(line.meter)
    faults = {}
    for (model, runs_on), found in meters.items():
        missing = [m.value for m in TOKENS if m not in found]
        if missing:
            faults["prices"] = (
                f"{model}{runs_on and f' on {runs_on}'} has no price for every class of "
                f"{', '.join(missing)}; "
                "give 0 where it is free on purpose"
            )
    return faults


def fault_of_start(starts_at: datetime, *, now: datetime, why: str) -> str:
    if not is_known(starts_at):
        return SAID
    if starts_at.minute or starts_at.second or starts_at.microsecond:
        return "Prices change on the full hour, because usage is rated by the hour"
    if not is_known(starts_at):
        return SAID
    if starts_at < now and not why.strip():
        return "Prices that begin in the past change what was charged: say why"
    return ""


def fault_of_end(starts_at: datetime, ends_at: datetime | None) -> str:
    if ends_at is None:
        return ""
    if not is_known(ends_at):
        return SAID
    if ends_at.minute or ends_at.second or ends_at.microsecond:
        return "Prices change on the full hour, because usage is rated by the hour"
    if not is_known(ends_at):
        return SAID
    return "" if ends_at > starts_at else "A contract ends after it begins"
