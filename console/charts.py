"""Figures: rows in, a figure dictionary out. Pure; drawn by static/app.js in either theme.

A figure is written in plotly's schema, which tests hold it to with plotly itself: making each of a
page's figures through that library took longer than all queries of the page. Colours are names of
variables of app.css (`var:--c1`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from console import figures

Number = float | int | Decimal | None
MINUTES = timedelta(minutes=10)  # of a time axis: shorter ones show seconds
DASHES = {"solid": "", "dash": "7 3", "dot": "2 3", "longdash": "10 3", "dashdot": "7 3 2 3"}
ORDER = ("solid", "dash", "dot", "dashdot", "longdash")
OUTCOMES = (
    "served",
    "rerouted",
    "degraded",
    "rejected",
    "shed",
    "timed_out",
    "cancelled",
    "failed",
)
PATTERNS = {
    "rerouted": "/",
    "degraded": ".",
    "rejected": "x",
    "shed": "\\",
    "timed_out": "|",
    "cancelled": "-",
    "failed": "+",
}


@dataclass(frozen=True, slots=True)
class Series:
    """One line or one kind of bar. A missing value (None) is a gap, not a zero."""

    name: str
    values: Sequence[Number]
    colour: str = ""  # "c1".."c7", "o-shed", "bad"; empty: by its place
    dash: str = ""  # a key of DASHES; empty: by its place
    pattern: str = ""  # of bars
    fill: bool = False
    step: bool = False  # a wanted value holds until the next


@dataclass(frozen=True, slots=True)
class Marker:
    """Something that happened at one moment: a rollout, a change of quota."""

    at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class Key:
    name: str
    css: str
    dashes: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure with its table twin. `key` is unique on its page and names its elements."""

    key: str
    title: str
    figure: dict[str, Any]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    says: str  # what a screen reader says instead of the picture
    unit: str = ""
    until: datetime | None = None
    keys: tuple[Key, ...] = field(default=())
    limit: str = ""  # the name of the dotted line

    @property
    def script_id(self) -> str:
        return f"fig-{self.key}"

    @property
    def has_data(self) -> bool:
        """Whether anything was measured: a limit alone, or moments without a value, are not it."""
        traces = (t for t in self.figure["data"] if t["name"] != self.limit)
        return any(value is not None for trace in traces for value in trace["y"])


def line_chart(
    key: str,
    title: str,
    at: Sequence[datetime],
    series: Sequence[Series],
    *,
    unit: str = "",
    until: datetime | None = None,
    limit: tuple[str, float] | None = None,
    markers: Iterable[Marker] = (),
    digits: int = 2,
) -> Chart:
    """Lines over time; `limit` is a name and a value drawn as a dotted line."""
    styled = [styled_series(s, i) for i, s in enumerate(series)]
    x = [stamp(moment) for moment in at]
    traces = [line(x, s) for s in styled]
    if limit and x:
        name, value = limit
        styled.append(Series(name, [value] * len(x), "c7", "dot"))
        traces.append(line(x, styled[-1]))
    layout = time_layout(at, list(markers))
    chart = finish(key, title, traces, layout, at, styled, unit=unit, until=until, digits=digits)
    return replace(chart, limit=limit[0]) if limit else chart


def bar_chart(
    key: str,
    title: str,
    at: Sequence[datetime],
    series: Sequence[Series],
    *,
    unit: str = "",
    until: datetime | None = None,
    markers: Iterable[Marker] = (),
    digits: int = 0,
) -> Chart:
    """Stacked bars over time."""
    styled = [styled_series(s, i) for i, s in enumerate(series)]
    x = [stamp(moment) for moment in at]
    traces = [bars(x, s) for s in styled]
    layout = time_layout(at, list(markers))
    return finish(key, title, traces, layout, at, styled, unit=unit, until=until, digits=digits)


def outcome_chart(
    key: str,
    title: str,
    at: Sequence[datetime],
    counts: Mapping[str, Sequence[int]],
    *,
    until: datetime | None = None,
    markers: Iterable[Marker] = (),
) -> Chart:
    """Requests by outcome, each with its colour and pattern; those never seen are left out."""
    series = [
        Series(outcome_name(o), counts[o], outcome_colour(o), pattern=PATTERNS.get(o, ""))
        for o in OUTCOMES
        if any(counts.get(o, ()))
    ]
    return bar_chart(key, title, at, series, unit="requests", until=until, markers=markers)


def rank_chart(
    key: str,
    title: str,
    names: Sequence[str],
    series: Sequence[Series],
    *,
    unit: str = "",
    digits: int = 2,
) -> Chart:
    """Horizontal stacked bars, one line a name, the first name on top."""
    styled = [styled_series(s, i) for i, s in enumerate(series)]
    traces = [bars(list(names), s, across=True) for s in styled]
    layout = {"yaxis": {"autorange": "reversed", "automargin": True, "type": "category"},
              "xaxis": {"showgrid": True}, "hovermode": "y unified"}  # fmt: skip
    rows = table(names, styled, digits)
    return Chart(
        key, title, {"data": traces, "layout": layout}, ("", *(s.name for s in styled)), rows,
        sentence(title, styled, unit), unit, None, keys_of(styled),
    )  # fmt: skip


def outcome_name(outcome: str) -> str:
    return outcome.replace("_", " ").capitalize()


def outcome_colour(outcome: str) -> str:
    return "o-" + outcome.replace("_", "-")


def styled_series(series: Series, place: int) -> Series:
    """Give a series without colour or dash those of its place."""
    return Series(
        series.name,
        series.values,
        series.colour or f"c{place % 7 + 1}",
        series.dash or ORDER[place % len(ORDER)],
        series.pattern,
        series.fill,
        series.step,
    )


def line(x: Sequence[str], s: Series) -> dict[str, Any]:
    trace: dict[str, Any] = {
        "type": "scatter",
        "x": list(x),
        "y": floats(s.values),
        "name": s.name,
        "mode": "lines" if len(x) > 1 else "markers",
        "line": {
            "width": 2,
            "dash": s.dash,
            "shape": "hv" if s.step else "linear",
            "color": f"var:--{s.colour}",
        },
        "connectgaps": False,
    }
    return trace | {"fill": "tozeroy", "fillcolor": "var:--band"} if s.fill else trace


def bars(x: Sequence[str], s: Series, *, across: bool = False) -> dict[str, Any]:
    values, marker = floats(s.values), {"color": f"var:--{s.colour}"}
    return {
        "type": "bar",
        "x": values if across else list(x),
        "y": list(x) if across else values,
        "name": s.name,
        "orientation": "h" if across else "v",
        "marker": marker | {"pattern": {"shape": s.pattern}} if s.pattern else marker,
    }


def time_layout(at: Sequence[datetime], markers: Sequence[Marker]) -> dict[str, Any]:
    span = at[-1] - at[0] if at else timedelta(0)
    if span.days >= 2:
        axis: dict[str, Any] = {"type": "date", "tickformat": "%d %b", "nticks": 7}
    elif span >= MINUTES:  # as many ticks as the chart's width has room for
        axis = {"type": "date", "tickformat": "%H:%M", "tickangle": 0}
    else:  # Plotly reckons with narrower words than these
        axis = {"type": "date", "tickformat": "%H:%M:%S", "tickangle": 0, "nticks": 3}
    if not markers:
        return {"xaxis": axis}
    shapes = [
        {"type": "line", "x0": stamp(m.at), "x1": stamp(m.at), "y0": 0, "y1": 1, "yref": "paper",
         "line": {"color": "var:--ink-3", "width": 1, "dash": "dot"}}
        for m in markers
    ]  # fmt: skip
    notes = [
        {"x": stamp(m.at), "y": 1, "yref": "paper", "text": m.text, "showarrow": False,
         "xanchor": "left", "yanchor": "bottom", "font": {"color": "var:--ink-2", "size": 10}}
        for m in markers
    ]  # fmt: skip
    return {"xaxis": axis, "shapes": shapes, "annotations": notes, "margin": {"t": 22}}


def finish(
    key: str,
    title: str,
    traces: list[dict[str, Any]],
    layout: dict[str, Any],
    at: Sequence[datetime],
    series: Sequence[Series],
    *,
    unit: str,
    until: datetime | None,
    digits: int,
) -> Chart:
    spans_days = bool(at) and at[0].date() != at[-1].date()
    form = "%Y-%m-%d %H:%M" if spans_days else "%H:%M:%S"
    moments = [f"{moment.astimezone(UTC):{form}}" for moment in at]
    columns = ("Time (UTC)", *(s.name for s in series))
    figure = {"data": traces, "layout": layout}
    rows = table(moments, series, digits)
    says = sentence(title, series, unit)
    return Chart(key, title, figure, columns, rows, says, unit, until, keys_of(series))


def table(
    names: Sequence[str], series: Sequence[Series], digits: int
) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (name, *(figures.number(s.values[i], digits) for s in series))
        for i, name in enumerate(names)
    )


def keys_of(series: Sequence[Series]) -> tuple[Key, ...]:
    return tuple(
        Key(s.name, f"s-{s.colour}", "" if s.pattern else DASHES.get(s.dash, "")) for s in series
    )


def sentence(title: str, series: Sequence[Series], unit: str) -> str:
    lasts = [
        f"{s.name} last {figures.number(known[-1])}"
        for s in series
        if (known := [v for v in s.values if v is not None])
    ]
    return f"{title}{f' in {unit}' if unit else ''}: {', '.join(lasts) or 'no data'}"


def floats(values: Iterable[Number]) -> list[float | None]:
    return [None if v is None else float(v) for v in values]


def stamp(moment: datetime) -> str:
    """UTC without its zone: plotly.js would not convert it and the axis says UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
