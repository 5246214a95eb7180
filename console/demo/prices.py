"""What tenants pay for tokens and what the fleet pays for GPUs, since before the history."""

from datetime import datetime, timedelta
from decimal import Decimal

from billing.actions.node_prices import set_gpu_prices
from billing.actions.prices import create_book, draft_version
from billing.actions.publication import publish_version
from billing.queries.books import read_books
from billing.rules.meters import Meter
from billing.rules.prices import PriceLine
from console.demo.cast import LARGE, SMALL
from console.demo.rhythm import DAYS
from console.demo.services import MACHINE

BOOK, CURRENCY = "list", "USD"
WHY = "The demo's list prices, which hold for its history too"
# US dollars for a million tokens; batch pays half.
TOKENS = {
    SMALL: {Meter.PROMPT: "0.50", Meter.CACHED: "0.10", Meter.COMPLETION: "2.00"},
    LARGE: {Meter.PROMPT: "2.40", Meter.CACHED: "0.48", Meter.COMPLETION: "9.60"},
}
GPU_HOURS = {"NVIDIA-L40S": Decimal("0.80"), "NVIDIA-H100-80GB-HBM3": Decimal("2.40")}


def set_prices(now: datetime) -> None:
    """Publish the demo's prices, unless somebody has published others already."""
    if CURRENCY in read_books():
        return
    start = now.replace(minute=0, second=0, microsecond=0) - timedelta(days=DAYS + 5)
    create_book(MACHINE, slug=BOOK, name="List prices", currency=CURRENCY)
    version = draft_version(MACHINE, BOOK, prices=lines(), why=WHY)
    publish_version(MACHINE, BOOK, version.number, starts_at=start, now=now, why=WHY)
    set_gpu_prices(MACHINE, currency=CURRENCY, hourly=GPU_HOURS, starts_at=start, now=now, why=WHY)


def lines() -> list[PriceLine]:
    usual = [
        (model, meter.value, Decimal(price))
        for model, prices in TOKENS.items()
        for meter, price in prices.items()
    ]
    return [PriceLine(*p) for p in usual] + [PriceLine(m, n, p / 2, "batch") for m, n, p in usual]
