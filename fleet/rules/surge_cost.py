"""What the GPUs on top of a rollout cost, at the prices of the day it was planned. Pure.

Kept with the rollout as JSON: {currency, sheet, hourly: {product: text}, cost: text or null}.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

HOUR = 3600
MS_PER_HOUR = 3_600_000
CENT_OF_A_CENT = Decimal("0.0001")


class Hourly(Protocol):
    """What an hour of one GPU of a product costs."""

    @property
    def hourly(self) -> Decimal: ...
    @property
    def currency(self) -> str: ...
    @property
    def sheet(self) -> int: ...


@dataclass(frozen=True, slots=True)
class SurgeCost:
    """`planned` None: how long it takes was not known. `unpriced_ms`: GPU time in no sum."""

    currency: str
    sheet: int  # number of the price sheet
    planned: Decimal | None
    spent: Decimal
    gpu_ms: int
    unpriced_ms: int

    @property
    def gpu_hours(self) -> Decimal:
        return Decimal(self.gpu_ms) / MS_PER_HOUR


def priced(
    gpus: Mapping[str, int], seconds: float | None, prices: Mapping[str, Hourly]
) -> dict[str, Any] | None:
    """What a rollout keeps; None where one of its products has no price: half is no sum."""
    if not prices or not gpus or gpus.keys() - prices.keys():
        return None
    one = next(iter(prices.values()))
    cost = cost_of(gpus, seconds, prices)
    return {
        "currency": one.currency,
        "sheet": one.sheet,
        "hourly": {product: str(prices[product].hourly) for product in gpus},
        "cost": None if cost is None else str(cost),
    }


def cost_of(
    gpus: Mapping[str, int], seconds: float | None, prices: Mapping[str, Hourly]
) -> Decimal | None:
    """Of these GPUs for so long; None: no price of one of them, or it is not known how long."""
    if seconds is None or (gpus and not prices) or gpus.keys() - prices.keys():
        return None
    hourly = sum((n * prices[product].hourly for product, n in gpus.items()), Decimal(0))
    return (Decimal(str(seconds)) / HOUR * hourly).quantize(CENT_OF_A_CENT)


def read_cost(kept: Mapping[str, Any] | None, gpu_ms: Mapping[str, int]) -> SurgeCost | None:
    """`gpu_ms`: measured on top, by product. None: no price was kept at the proposal."""
    if not kept:
        return None
    hourly = {product: Decimal(text) for product, text in kept["hourly"].items()}
    paid = sum((ms * hourly[p] for p, ms in gpu_ms.items() if p in hourly), Decimal(0))
    return SurgeCost(
        currency=kept["currency"],
        sheet=kept["sheet"],
        planned=None if kept["cost"] is None else Decimal(kept["cost"]),
        spent=(paid / MS_PER_HOUR).quantize(CENT_OF_A_CENT),
        gpu_ms=sum(gpu_ms.values()),
        unpriced_ms=sum(ms for p, ms in gpu_ms.items() if p not in hourly),
    )
