"""What a million tokens of each service costs and is charged, on one logarithmic line. Pure."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from billing.queries.service_margins import ServiceMargin
from console import figures
from console.charts import Chart, Key

MOST = 20  # services as lines of their own, the dearest
MANY_POWERS = 3


def unit_chart(rows: Iterable[ServiceMargin], currency: str) -> Chart:
    """A dot for the full cost, a diamond for the price, and the way between them."""
    known = [r for r in rows if (r.cost_per_million or 0) > 0 or (r.price_per_million or 0) > 0]
    known.sort(key=lambda r: -(r.cost_per_million or r.price_per_million or 0))
    known = known[:MOST]
    above = [r for r in known if r.of.net >= 0]
    below = [r for r in known if r.of.net < 0]
    traces = [
        _ways("charged more", above, "line-2"),
        _ways("below cost", below, "bad"),
        _dots("full cost", [(r.name, r.cost_per_million) for r in known], "c2", "circle"),
        _dots("price charged", [(r.name, r.price_per_million) for r in known], "c1", "diamond"),
    ]
    layout = {
        "xaxis": price_axis([float(p) for r in known for p in _prices(r)]),
        "yaxis": {
            "type": "category", "autorange": "reversed", "automargin": True, "showgrid": False,
            "categoryorder": "array", "categoryarray": [r.name for r in known],
        },
        "hovermode": "closest",
    }  # fmt: skip
    table = tuple(
        (r.name, _money(r.cost_per_million, currency), _money(r.price_per_million, currency))
        for r in known
    )
    said = ", ".join(f"{name} costs {cost}, is charged {price}" for name, cost, price in table)
    return Chart(
        "units", "A million tokens", {"data": traces, "layout": layout},
        ("Service", "Full cost", "Price charged"), table,
        f"A million tokens in {currency}: {said or 'no data'}", f"{currency}, logarithmic",
        keys=(Key("full cost", "s-c2", ""), Key("price charged", "s-c1", ""),
              Key("below cost", "s-bad", "")),
    )  # fmt: skip


def _prices(row: ServiceMargin) -> list[Any]:
    return [p for p in (row.cost_per_million, row.price_per_million) if p is not None and p > 0]


def price_axis(values: Sequence[float]) -> dict[str, Any]:
    """Marks at 1, 2 and 5 of each power of ten, or at powers alone where there are many: Plotly's
    own say "5" for 0.5 and for 50 alike."""
    axis: dict[str, Any] = {"type": "log", "showgrid": True, "automargin": True}
    if not values:
        return axis
    first, last = math.floor(math.log10(min(values))), math.floor(math.log10(max(values)))
    steps = (1, 2, 5) if last - first < MANY_POWERS else (1,)
    ticks = [float(f"{step}e{power}") for power in range(first, last + 2) for step in steps]
    shown = [t for t in ticks if min(values) / 2.5 <= t <= max(values) * 2.5]
    return axis | {
        "tickmode": "array",
        "tickvals": shown,
        "ticktext": [f"{t:,.12g}" for t in shown],
    }


def _money(amount: Any, currency: str) -> str:
    """With the digits that a price of tokens has: cents alone would say 0.00."""
    if amount is None:
        return figures.MISSING
    return figures.number(amount, 2 if amount >= 10 else 4)


def _ways(name: str, rows: Sequence[ServiceMargin], colour: str) -> dict[str, Any]:
    x: list[float | None] = []
    y: list[str | None] = []
    for row in rows:
        if (row.cost_per_million or 0) > 0 and (row.price_per_million or 0) > 0:
            x += [float(row.cost_per_million or 0), float(row.price_per_million or 0), None]
            y += [row.name, row.name, None]
    return {
        "type": "scatter", "mode": "lines", "name": name, "x": x, "y": y, "hoverinfo": "skip",
        "connectgaps": False, "line": {"width": 3, "color": f"var:--{colour}"},
    }  # fmt: skip


def _dots(name: str, points: Sequence[tuple[str, Any]], colour: str, symbol: str) -> dict[str, Any]:
    seen = [(of, float(value)) for of, value in points if value is not None and value > 0]
    return {
        "type": "scatter", "mode": "markers", "name": name,
        "x": [value for _, value in seen], "y": [of for of, _ in seen],
        "marker": {"size": 10, "symbol": symbol, "color": f"var:--{colour}"},
    }  # fmt: skip
