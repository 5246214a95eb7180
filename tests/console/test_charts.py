import json
import re
from datetime import UTC, datetime, timedelta

import plotly.graph_objects as go
import pytest

from console.charts import Marker, Series, bar_chart, line_chart, outcome_chart, rank_chart

NOW = datetime(2026, 11, 23, 14, 32, tzinfo=UTC)
AT = [NOW + timedelta(minutes=m) for m in range(3)]


def test_it_leaves_a_gap_where_a_value_is_missing():
    chart = line_chart("ttft", "TTFT", AT, [Series("p95", [1.0, None, 3.0])], unit="ms")
    trace = chart.figure["data"][0]
    assert trace["y"] == [1.0, None, 3.0]
    assert trace["connectgaps"] is False
    assert chart.rows == (("14:32:00", "1.00"), ("14:33:00", "–"), ("14:34:00", "3.00"))


def test_it_gives_series_colours_and_dashes_of_their_own():
    chart = line_chart("x", "X", AT, [Series("a", [1, 2, 3]), Series("b", [1, 2, 3])])
    lines = [t["line"] for t in chart.figure["data"]]
    assert [d["color"] for d in lines] == ["var:--c1", "var:--c2"]
    assert lines[0]["dash"] != lines[1]["dash"]


def test_it_draws_the_limit_and_what_happened():
    chart = line_chart(
        "x", "X", AT, [Series("a", [1, 2, 3])], limit=("objective", 2.5),
        markers=[Marker(AT[1], "RO-12")],
    )  # fmt: skip
    assert chart.figure["data"][1]["y"] == [2.5] * 3
    assert chart.figure["layout"]["annotations"][0]["text"] == "RO-12"
    assert chart.columns == ("Time (UTC)", "a", "objective")


def test_it_keeps_the_colour_and_pattern_of_an_outcome_and_drops_absent_ones():
    chart = outcome_chart(
        "o", "Outcomes", AT, {"served": [1, 2, 3], "shed": [0, 1, 0], "failed": [0, 0, 0]}
    )  # noqa: E501
    markers = {t["name"]: t["marker"] for t in chart.figure["data"]}
    assert markers["Served"] == {"color": "var:--o-served"}
    assert markers["Shed"] == {"color": "var:--o-shed", "pattern": {"shape": "\\"}}
    assert "Failed" not in markers


EVERY_FORM = {
    "lines": line_chart(
        "l", "L", AT, [Series("a", [1, 2, 3], fill=True), Series("b", [1, None, 3], step=True)],
        limit=("objective", 2.5), markers=[Marker(AT[1], "RO-12")],
    ),
    "bars": bar_chart("b", "B", AT, [Series("a", [1, 2, 3])]),
    "outcomes": outcome_chart("o", "O", AT, {"served": [1, 2, 3], "shed": [0, 1, 0]}),
    "ranks": rank_chart("r", "R", ["acme", "globex"], [Series("USD", [3, 1])]),
    "nothing": line_chart("n", "N", [], []),
}  # fmt: skip


@pytest.mark.parametrize("form", EVERY_FORM)
def test_it_is_a_figure_of_plotlys_schema(form):
    figure = json.dumps(EVERY_FORM[form].figure)
    # Variables of the stylesheet stand for colours, which plotly would refuse.
    coloured = json.loads(re.sub(r'"var:--[a-z0-9-]+"', '"#123456"', figure))
    go.Figure(**coloured)
    with pytest.raises(ValueError, match="Invalid property"):
        go.Figure(**coloured | {"layout": {"no such thing": 1}})


def test_it_says_that_there_is_no_data():
    chart = line_chart("l", "TTFT", [], [Series("p95", [])])
    assert not chart.has_data
    assert chart.says == "TTFT: no data"


def test_a_limit_beside_missing_values_is_no_data():
    missing = [Series("p95", [None] * 3)]
    assert not line_chart("l", "TTFT", AT, missing, limit=("objective", 2.5)).has_data
    assert line_chart("l", "TTFT", AT, [Series("p95", [None, 0, None])]).has_data
