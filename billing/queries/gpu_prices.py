"""What an hour of a GPU costs us at one moment."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing.models import GpuPrice
from tenants.rules.access import Permission, Viewer


@dataclass(frozen=True, slots=True)
class HourlyPrice:
    product: str
    hourly: Decimal
    currency: str
    sheet: int  # its number


def gpu_price(viewer: Viewer, product: str, at: datetime) -> HourlyPrice | None:
    """On any node. None: nobody gave the product such a price for that time."""
    viewer.require(Permission.VIEW_MONEY)
    rows = GpuPrice.objects.filter(
        product=product, cluster="", node_pool="", capacity="", sheet__effective__contains=at
    )
    found = rows.select_related("sheet").first()
    if found is None:
        return None
    return HourlyPrice(product, found.hourly, found.sheet.currency, found.sheet.number)


def gpu_prices(viewer: Viewer, products: Iterable[str], at: datetime) -> dict[str, HourlyPrice]:
    """Of all of them, or of none: half a price is no price."""
    found = {product: gpu_price(viewer, product, at) for product in products}
    prices = {product: price for product, price in found.items() if price}
    return prices if len(prices) == len(found) else {}
