"""The soak's gate: what it finds, of whom, and how seldom it is wrong."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fleet.rules.comparison import Cell, Window
from fleet.rules.gate_limits import GateLimits
from fleet.rules.gates import Look
from fleet.rules.histogram import Histogram, bucket_of
from fleet.rules.phases import Cause, Phase, Verdict
from fleet.rules.soak_gate import (
    MOST_GROUPS,
    SOAK_ALPHA,
    baseline_of,
    is_due,
    read_soak,
)
from fleet.rules.statistics import binomial_tail
from fleet.rules.traffic import ReleaseWindow, summed
from tests.fleet.rules.walk import Walk, make_state

START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LIMITS = GateLimits()
NONE = ReleaseWindow()


def answers(dice, requests, errors=0.0, slow=1.0):
    """Latencies with a long tail, as engines have them."""
    failed = sum(dice.random() < errors for _ in range(requests))
    found = []
    for scale in (200.0, 20.0):
        times: dict[int, int] = {}
        for _ in range(requests - failed):
            at = bucket_of(dice.lognormvariate(0, 0.6) * scale * slow)
            times[at] = times.get(at, 0) + 1
        found.append(Histogram(times))
    ttft, itl = found
    return ReleaseWindow({"served": requests - failed, "failed": failed}, ttft=ttft, itl=itl)


def window_of(cells, seconds=60):
    canary, stable = summed(c.canary for c in cells), summed(c.stable for c in cells)
    end = START + timedelta(seconds=seconds)
    return Window(START, end, canary, stable, cells, names={1: "acme", 2: "globex"})


def gate_of(dice, tenants=(1, 2), requests=400):
    cells = [Cell(answers(dice, requests), answers(dice, requests, 0.01), t, "batch")
             for t in tenants]  # fmt: skip
    return baseline_of(window_of(cells), LIMITS)


def soak_of(dice, *, requests=400, hurt=0, errors=0.01, tenants=(1, 2), seconds=60):
    rates = {t: 0.3 if t == hurt else errors for t in tenants}
    cells = [Cell(answers(dice, requests, e), NONE, t, "batch") for t, e in rates.items()]
    return window_of(cells, seconds)


def test_it_passes_a_release_like_the_old_one():
    dice = random.Random(1)
    reading = read_soak(soak_of(dice), gate_of(dice), LIMITS, Look(1))
    assert reading.verdict is Verdict.PASS
    assert {c.group for c in reading.checks} == {"", "tenant acme", "tenant globex"}
    assert {c.metric for c in reading.checks} == {"error_ratio", "ttft_p95", "itl_p95"}


def test_it_names_the_one_tenant_that_is_hurt():
    dice = random.Random(2)
    cells = soak_of(dice, requests=300, hurt=2).cells
    many = [Cell(answers(dice, 9000, 0.01), NONE, 1, "batch"), cells[1]]
    reading = read_soak(window_of(many), gate_of(dice, requests=300), LIMITS, Look(1))
    failed = {(c.group, c.metric) for c in reading.checks if c.verdict is Verdict.FAIL}
    assert failed == {("tenant globex", "error_ratio")}


@pytest.mark.parametrize("metric", ["ttft", "itl"])
def test_it_finds_one_that_became_slow(metric):
    dice = random.Random(3)
    baseline = gate_of(dice, requests=2000)
    window = soak_of(dice, requests=2000)
    slow = answers(dice, 4000, slow=2.5)
    window = window_of(
        [replace(c, canary=replace(c.canary, **{metric: getattr(slow, metric)}))
         for c in window.cells]
    )  # fmt: skip
    reading = read_soak(window, baseline, LIMITS, Look(5))
    assert reading.verdict is Verdict.FAIL
    assert f"{metric.upper()} p95" in reading.why
    assert "the old release had" in reading.why


def test_without_a_baseline_only_errors_are_judged():
    dice = random.Random(4)
    reading = read_soak(soak_of(dice, errors=0.2), {}, LIMITS, Look(1))
    assert reading.verdict is Verdict.FAIL
    assert {c.metric for c in reading.checks} == {"error_ratio"}


def test_a_baseline_is_kept_of_so_many_groups_only():
    dice = random.Random(5)
    cells = [Cell(NONE, answers(dice, 30), tenant) for tenant in range(1, 2 * MOST_GROUPS)]
    assert len(baseline_of(window_of(cells), LIMITS)) == MOST_GROUPS


def test_its_false_alarms_are_as_seldom_as_it_says():
    """Whole soaks of releases exactly like the old one, with every look of each."""
    soaks, alarms = 150, 0
    for seed in range(soaks):
        dice = random.Random(seed)
        baseline = gate_of(dice, requests=60)
        looks, looked, grown = 0, 0.0, []
        for seconds in range(10, 310, 10):
            grown += soak_of(dice, requests=8).cells
            window = window_of(grown, seconds)
            if not is_due(window, looked):
                continue
            looks, looked = looks + 1, window.seconds
            if read_soak(window, baseline, LIMITS, Look(looks)).verdict is Verdict.FAIL:
                alarms += 1
                break
    assert binomial_tail(alarms, soaks, SOAK_ALPHA) > 1e-3, alarms


def test_a_rollout_goes_back_from_a_release_that_fails_or_slows_down_in_its_soak():
    for change, said in ({"errors": 0.2}, "error ratio"), ({"slow": 3.0}, "TTFT p95"):
        walk = Walk(make_state(soak=timedelta(seconds=60))).run(until={Phase.SOAKING})
        assert walk.state.memory.baseline[""]["ttft_p95"]
        for name, value in change.items():
            setattr(walk, name, value)
        walk.run()
        assert (walk.state.phase, walk.state.cause) == (Phase.ROLLED_BACK, Cause.GATE_FAILED)
        assert f"During the soak {said}" in walk.state.memory.reason
