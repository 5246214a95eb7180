"""The fleet's bill by how it is paid: hours, upfront payments, depreciation, power, hosting."""

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal

from billing.models import GpuPrice
from billing.queries.economics import Economics
from billing.queries.node_prices import read_line, read_rate
from billing.rules.allocation import split
from billing.rules.other_costs import HOSTED, PLATFORM
from tenants.rules.access import Permission, Viewer

PICOS = 12


@dataclass(frozen=True, slots=True)
class BillPart:
    """`kind`: of node prices, "platform", "hosted"; empty: from before lines were kept."""

    kind: str
    part: str
    amount: Decimal


def bill_parts(viewer: Viewer, found: Economics) -> list[BillPart]:
    """They add up to the whole bill exactly, the largest first."""
    viewer.require(Permission.VIEW_MONEY)
    prices = GpuPrice.objects.in_bulk([pk for pk, _ in found.by_price if pk])
    sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for pk, amount in found.by_price:
        price = prices.get(pk or 0)
        for kind, part, of in _cut(price, amount):
            sums[kind, part] += of
    sums[PLATFORM, ""] += found.other.platform
    sums[HOSTED, ""] += found.other.hosted
    rows = [BillPart(kind, part, amount) for (kind, part), amount in sums.items() if amount]
    return sorted(rows, key=lambda r: (-r.amount, r.kind, r.part))


def _cut(price: GpuPrice | None, amount: Decimal) -> list[tuple[str, str, Decimal]]:
    """In the proportion of the parts of its hour, by largest remainder."""
    if price is None:
        return [("", "hourly", amount)]
    parts = read_rate(price).parts
    weights = [int(value.scaleb(PICOS)) for _, value in parts]
    kind = read_line(price).kind.value
    if not sum(weights):
        return [(kind, parts[0][0], amount)]
    shares = split(amount, weights)
    return [(kind, name, share) for (name, _), share in zip(parts, shares, strict=True)]
