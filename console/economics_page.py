"""What the page of economics says and hands out besides the sums: sentences, parts, files."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from billing.queries.bill_parts import BillPart
from billing.queries.economics import NOBODY, Economics, Margin
from billing.queries.gpu_hours import IDLE, LOADING, OUT, USES, ProductHours
from billing.queries.service_margins import ServiceMargin, share_of
from billing.rules.allocation import FREE, SERVING
from console import figures
from console.filters import compose

ZERO = Decimal(0)
SERVICE_COLUMNS = (
    "name", "charged", "cost", "gross_share", "idle_share", "overhead_share", "other", "net",
    "net_share", "tokens", "cost_per_million", "price_per_million", "unpriced_rows", "currency",
)  # fmt: skip
PRODUCT_COLUMNS = (
    "product", "hourly", "gpu_hours", *(f"{use}_hours" for use in USES), "cost", "not_serving",
    "currency",
)  # fmt: skip
PART_COLUMNS = ("kind", "part", "amount", "share", "currency")
FILLS = {SERVING: "used", LOADING: "load", IDLE: "idle", FREE: "free", OUT: "out"}
KINDS = {
    "": "Kind not kept",
    "on_demand": "On demand",
    "reserved": "Reserved",
    "spot": "Spot",
    "owned": "Owned",
    "platform": "Shared platform",
    "hosted": "Hosted providers",
}
PARTS = {"hourly": "by the hour", "upfront": "paid upfront"}
# What a use of GPUs says of them, and the page that shows more of it.
LEVERS = {
    FREE: ("were free", "economics_idle"),
    IDLE: ("were held by services without work", "economics_idle"),
    LOADING: ("went into loading and draining", "economics_rollouts"),
    OUT: ("were out of service", "nodes"),
}
MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Sentence:
    text: str
    address: str = ""
    link: str = ""


def service_rows(rows: Iterable[ServiceMargin], currency: str) -> Iterable[Sequence[Any]]:
    return (
        (r.name, r.of.charged, r.of.cost, r.gross_share, r.of.idle_share, r.of.overhead_share,
         r.of.other, r.of.net, r.net_share, r.tokens, r.cost_per_million, r.price_per_million,
         r.unpriced, currency)
        for r in rows
    )  # fmt: skip


def product_rows(rows: Iterable[ProductHours], currency: str) -> Iterable[Sequence[Any]]:
    return (
        (r.product, r.hourly, r.gpu_hours, *(r.hours_of(use) for use in USES), r.cost,
         r.not_serving, currency)
        for r in rows
    )  # fmt: skip


def part_rows(rows: Iterable[BillPart], found: Economics) -> Iterable[Sequence[Any]]:
    whole = found.whole
    return ((r.kind, r.part, r.amount, share_of(r.amount, whole), found.currency) for r in rows)


def parts_shown(
    rows: Iterable[BillPart], found: Economics
) -> list[tuple[str, str, Decimal, Decimal | None]]:
    return [
        (KINDS.get(r.kind, r.kind), PARTS.get(r.part, r.part), r.amount,
         share_of(r.amount, found.whole))
        for r in rows
    ]  # fmt: skip


def products_shown(rows: Iterable[ProductHours], found: Economics) -> list[dict[str, Any]]:
    return [product_shown(r, found) for r in rows]


def product_shown(row: ProductHours, found: Economics) -> dict[str, Any]:
    return {
        "row": row,
        "fills": [(FILLS[use], row.share_of(use)) for use in USES],
        "address": compose(found.start, found.end, kind=NOBODY, product=row.product),
    }


def all_products(rows: Sequence[ProductHours], found: Economics) -> dict[str, Any] | None:
    """One row that sums them up. None: there is nothing to sum."""
    if len(rows) < 2:
        return None
    costs = [r.cost for r in rows if r.cost is not None]
    whole = ProductHours(
        product="",
        gpu_ms=sum(r.gpu_ms for r in rows),
        of_ms={use: sum(r.of_ms.get(use, 0) for r in rows) for use in USES},
        of_money={use: sum((r.of_money.get(use, ZERO) for r in rows), ZERO) for use in USES},
        cost=sum(costs, ZERO) if costs else None,
    )
    return product_shown(whole, found)


def largest_lever(rows: Iterable[ProductHours], found: Economics, query: str) -> Sentence | None:
    """The one sum of money that served nobody and is the largest. None: all of it served."""
    every = ((r.of_money.get(use, ZERO), r, use) for r in rows for use in LEVERS)
    amount, row, use = max(every, key=lambda e: e[0], default=(ZERO, None, ""))
    if row is None or amount <= 0:
        return None
    says, page = LEVERS[use]
    hours = row.hours_of(use)
    text = (
        f"{figures.number(hours, 0 if hours >= 10 else 2)} {figures.gpu(row.product)} hours {says}:"
        f" {figures.money(amount, found.currency)},"
        f" {figures.percent(amount / found.whole if found.whole else None)} of the bill."
    )
    return Sentence(text, f"{reverse(page)}?{query}" if page != "nodes" else reverse(page),
                    "See which" if page != "nodes" else "See the nodes")  # fmt: skip


def below_cost(rows: Iterable[ServiceMargin], currency: str) -> Sentence:
    """Services that lose money once their shares of idle and overhead count."""
    losing = sorted((r for r in rows if r.of.net < 0), key=lambda r: r.of.net)
    if not losing:
        return Sentence("No service loses money after idle and overhead.")
    names = [f"{r.name or 'no service'} {figures.money(r.of.net, currency)}" for r in losing]
    rest = len(names) - MOST_NAMED
    named = ", ".join(names[:MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")
    lost = figures.money(sum((r.of.net for r in losing), ZERO), currency)
    verb = "loses" if len(losing) == 1 else "lose"
    return Sentence(f"{named} {verb} money after idle and overhead: together {lost}.")


def without_price(rows: Iterable[ServiceMargin]) -> tuple[int, str]:
    """How many sums of usage have no price, and of which services."""
    some = [r for r in rows if r.unpriced]
    return sum(r.unpriced for r in some), ", ".join(r.name or "an unknown name" for r in some)


def span_before(found: Economics) -> tuple[datetime, datetime, str]:
    """The same days of the month before for a month to date, else as many days just before."""
    start, end = found.start, found.end
    last_of_month = start - timedelta(days=1)
    if start.day == 1 and end <= (start + timedelta(days=32)).replace(day=1):
        first = last_of_month.replace(day=1)
        return first, min(first + (end - start), start), f"{last_of_month:%B}"
    days = (end - start).days
    return start - (end - start), start, f"the {days} days before" if days > 1 else "the day before"


def compare_query(found: Economics) -> str:
    start, end, _ = span_before(found)
    spans = {"from": found.start, "to": found.end, "with_from": start, "with_to": end}
    return urlencode({name: at.isoformat() for name, at in spans.items()})


SUMMED = ("charged", "cost", "gross", "idle_share", "overhead_share", "other", "net")


def all_services(rows: Sequence[ServiceMargin]) -> dict[str, Decimal]:
    return {name: sum((getattr(r.of, name) for r in rows), ZERO) for name in SUMMED}


def margin_share(row: Margin) -> Decimal | None:
    return share_of(row.gross, row.charged)
