"""Sheets of node prices and their lines, with the rates that follow from them."""

from dataclasses import dataclass
from decimal import Decimal

from django.db.models import QuerySet

from billing.models import GpuPrice, GpuPriceSheet
from billing.rules.node_prices import NodeLine, PayKind, Rate
from tenants.errors import NotFound
from tenants.rules.access import Permission, Viewer


@dataclass(frozen=True, slots=True)
class SheetLine:
    """A line as it is kept: the rate is the stored one, computed when it was written."""

    price_id: int
    line: NodeLine
    rate: Rate


def lines_of(sheet: GpuPriceSheet) -> list[SheetLine]:
    """By product, then from every node to some."""
    rows = sorted(sheet.prices.all(), key=lambda p: (p.product, p.cluster, p.node_pool, p.capacity))
    return [SheetLine(row.pk, read_line(row), read_rate(row)) for row in rows]


def read_line(row: GpuPrice) -> NodeLine:
    terms = {name: Decimal(value) for name, value in row.terms.items()}
    return NodeLine(
        row.product,
        PayKind(row.kind),
        terms or {"hourly": row.hourly},
        row.cluster,
        row.node_pool,
        row.capacity,
    )


def read_rate(row: GpuPrice) -> Rate:
    parts = tuple((name, Decimal(value)) for name, value in row.parts.items())
    return Rate(row.hourly, parts or (("hourly", row.hourly),))


def list_sheets(viewer: Viewer) -> QuerySet[GpuPriceSheet]:
    """Newest first, drafts among them."""
    viewer.require(Permission.VIEW_MONEY)
    return GpuPriceSheet.objects.prefetch_related("prices").order_by("-id")


def find_sheet(viewer: Viewer, number: int) -> GpuPriceSheet:
    found = list_sheets(viewer).filter(number=number).first()
    if found is None:
        raise NotFound(f"There is no sheet {number} of GPU prices")
    return found
