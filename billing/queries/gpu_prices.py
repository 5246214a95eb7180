"""What an hour of a GPU costs us at one moment, by the line that prices its node."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing.models import GpuPriceSheet
from billing.queries.node_prices import SheetLine, lines_of
from billing.rules.allocation import PICO
from billing.rules.node_prices import NodeLine, line_for
from fleet.queries.node_capacity import NodeCapacity, list_node_capacity
from tenants.rules.access import Permission, Viewer


@dataclass(frozen=True, slots=True)
class HourlyPrice:
    """`lines`: those of the sheet that price its nodes; of several, `hourly` is their mean."""

    product: str
    hourly: Decimal
    currency: str
    sheet: int  # its number
    lines: tuple[NodeLine, ...] = ()


@dataclass(frozen=True, slots=True)
class NodePrice:
    """How one node is paid for. `line` None: nobody gave it a price."""

    node: NodeCapacity
    line: SheetLine | None
    currency: str


def gpu_prices(
    viewer: Viewer, products: Iterable[str], at: datetime, *, cluster: str = ""
) -> dict[str, HourlyPrice]:
    """Of all of them on the nodes of the cluster, or of none: half a price is no price.

    Where GPUs are free, those count alone: new ones come there. A product that is on no node now
    has the price of any node.
    """
    viewer.require(Permission.VIEW_MONEY)
    wanted = sorted(set(products))
    sheet = _sheet(at)
    if sheet is None or not wanted:
        return {}
    lines = {one.line.scope: one for one in lines_of(sheet)}
    nodes = list_node_capacity(viewer, cluster=cluster)
    found = {}
    for product in wanted:
        price = _price(sheet, lines.values(), product, [n for n in nodes if n.product == product])
        if price is None:
            return {}
        found[product] = price
    return found


def node_prices(viewer: Viewer, at: datetime) -> dict[tuple[str, str], NodePrice]:
    """By cluster and name, of all nodes whose GPUs are seen now."""
    viewer.require(Permission.VIEW_MONEY)
    sheet = _sheet(at)
    lines = {one.line.scope: one for one in lines_of(sheet)} if sheet else {}
    found = {}
    for node in list_node_capacity(viewer):
        line = _line(lines.values(), node)
        currency = sheet.currency if sheet else ""
        found[node.cluster, node.node] = NodePrice(node, line, currency)
    return found


def _sheet(at: datetime) -> GpuPriceSheet | None:
    rows = GpuPriceSheet.objects.filter(effective__contains=at)
    return rows.prefetch_related("prices").first()


def _line(lines: Iterable[SheetLine], node: NodeCapacity) -> SheetLine | None:
    known = {one.line.scope: one for one in lines}
    held = (node.cluster, node.node_pool, node.capacity)
    found = line_for((one.line for one in known.values()), node.product, *held)
    return known[found.scope] if found else None


def _price(
    sheet: GpuPriceSheet, lines: Iterable[SheetLine], product: str, nodes: Sequence[NodeCapacity]
) -> HourlyPrice | None:
    anywhere = NodeCapacity("", "", product, "", "", 1, 1)
    free = [node for node in nodes if node.free]
    seen = free or nodes or [anywhere]
    weights = [(_line(lines, node), node.free if free else node.units) for node in seen]
    priced = [(one, weight) for one, weight in weights if one]
    if len(priced) < len(weights):
        return None
    units = sum(weight for _, weight in priced)
    whole = sum((one.rate.hourly * weight for one, weight in priced), Decimal(0))
    used = tuple({one.line.scope: one.line for one, _ in priced}.values())
    hourly = (whole / units).quantize(PICO)
    return HourlyPrice(product, hourly, sheet.currency, sheet.number, used)
