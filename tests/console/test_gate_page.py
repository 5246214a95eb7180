"""The gate of a rollout's page: a chart for each figure that says something, and all as rows."""

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

from console.gate_page import DRAWN, gates, lines
from fleet.queries.rollout_gates import GateRow
from fleet.queries.rollout_traffic import Point
from fleet.rules.comparison import Preemptions, Window
from fleet.rules.gate_limits import GateLimits, limits_of
from fleet.rules.gates import read_gate
from fleet.rules.histogram import Histogram, of_values
from fleet.rules.statistics import Table
from fleet.rules.traffic import ReleaseWindow

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
SIDE = ReleaseWindow(
    {"served": 200}, ttft=of_values([90.0] * 200), itl=of_values([20.0] * 200),
    gpu=of_values([25.0] * 200), finish=Histogram({0: 150, 1: 50}), prompt_tokens=900,
    cached_tokens=300,
)  # fmt: skip
PREEMPTED = Preemptions(0, 3, (200, 200), (Table(0, 1, 1, 3),))
POINT = Point(
    START, 0.5, 9, 9, *[0.1] * 2, *[90.0] * 4, gpu_new=40.0, gpu_old=41.0, length_new=0.25,
    length_old=0.25, aborted_new=0.0, aborted_old=0.0, refused_new=0.0, refused_old=0.0,
    cached_new=0.3, cached_old=0.3, preempted_new=0.0, preempted_old=0.015,
)  # fmt: skip


def look(canary=SIDE, limits=None, **more):
    window = Window(START, START + timedelta(minutes=5), canary, SIDE, **more)
    kept = read_gate(window, 100, limits or GateLimits()).as_json()
    return GateRow(0, None, window.start, window.end, kept["verdict"], kept["why"],
                   tuple(kept["checks"]), kept["evidence"])  # fmt: skip


def drawn(found):
    return {g.title: g for g in gates(found, [POINT, replace(POINT, at=START)])}


def test_it_draws_each_figure_with_its_limit():
    found = drawn(look(preemptions=PREEMPTED))
    assert set(found) == {d.title for d in DRAWN.values()}
    assert all(g.chart.has_data for g in found.values())
    cost = found["Tokens per GPU-second"]
    assert cost.limit.startswith("≥ ") and cost.canary == cost.stable
    assert found["Ended at the token limit"].limit == "≤ 30.00 %"
    assert found["Preemptions a request"].limit == "≤ 0.065"
    hits = found["Prompt tokens from the cache"]
    assert (hits.verdict, hits.limit, hits.p) == ("shown", "none: shown only", "–")


def test_what_nobody_measured_is_not_drawn_but_for_the_three_that_a_pass_needs():
    bare = ReleaseWindow({"served": 5})
    found = drawn(look(bare))
    told = {"Error ratio", "TTFT p95", "ITL p95", "Tokens per GPU-second"}
    assert told <= set(found)
    assert "Preemptions a request" not in found


def test_every_figure_is_a_row_judged_or_not():
    rows = {line.title: line for line in lines(look(preemptions=PREEMPTED))}
    assert rows["Preemptions a request"].samples == "1 · 3"
    assert rows["Prompt tokens from the cache"].why.startswith("Not judged")
    assert rows["Tokens per GPU-second"].limit.startswith("≥ ")
    judged = limits_of({"cache_points": 0.1})
    assert {line.title: line for line in lines(look(limits=judged))}[
        "Prompt tokens from the cache"
    ].limit.startswith("≥ ")


def test_a_look_of_an_older_program_is_drawn_too():
    found = look()
    old = tuple({k: v for k, v in c.items() if k != "is_floor"} for c in found.checks)
    row = GateRow(**asdict(found) | {"checks": old, "evidence": {}})
    assert "Error ratio" in drawn(row)
