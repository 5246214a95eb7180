"""The soak's gate: what it finds, of whom, and how seldom it is wrong."""

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fleet.rules.comparison import Cell, Window
from fleet.rules.gate_limits import GateLimits
from fleet.rules.gates import Look
from fleet.rules.histogram import Histogram, bucket_of
from fleet.rules.phases import Cause, Phase, Verdict
from fleet.rules.soak_gate import (
    FIGURES,
    MOST_GROUPS,
    SOAK_ALPHA,
    baseline_of,
    is_due,
    read_soak,
)
from fleet.rules.statistics import binomial_tail
from fleet.rules.traffic import FINISHES, ReleaseWindow, summed
from tests.fleet.rules.walk import Walk, make_state

START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LIMITS = GateLimits()
NONE = ReleaseWindow()


def answers(dice, requests, errors=0.0, slow=1.0, endless=0.1):
    """Latencies with a long tail, as engines have them; some answers end at the limit."""
    failed = sum(dice.random() < errors for _ in range(requests))
    found = []
    for scale in (200.0, 20.0, 30.0):
        times = Counter(
            bucket_of(dice.lognormvariate(0, 0.6) * scale * slow) for _ in range(requests - failed)
        )
        found.append(Histogram(times))
    ttft, itl, gpu = found
    ends = Counter(
        FINISHES.index("length" if dice.random() < endless else "stop")
        for _ in range(requests - failed)
    )
    outcomes = {"served": requests - failed, "failed": failed}
    return ReleaseWindow(outcomes, ttft=ttft, itl=itl, gpu=gpu, finish=Histogram(ends))


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
    assert {c.metric for c in reading.checks} == {f.metric for f in FIGURES}
    assert reading.tests == len(reading.checks)


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


@pytest.mark.parametrize(
    ("worse", "metric", "said"),
    [
        ({"finish": {"abort": 60, "stop": 340}}, "aborted", "given up by the engine 15.00% of 400"),
        ({"finish": {"length": 160, "stop": 240}}, "length", "ended at the token limit 40.00%"),
        ({"refused": 60}, "refused", "refused by the engine 13.04% of 460, limit 2.00%"),
        ({"slow": 2.0}, "gpu_p50", "tokens per GPU-second"),
    ],
)
def test_it_judges_what_the_gates_of_steps_judge(worse, metric, said):
    dice = random.Random(6)
    baseline, window = gate_of(dice, tenants=(1,)), soak_of(dice, tenants=(1,))
    canary = window.cells[0].canary
    if "finish" in worse:
        ends = {FINISHES.index(name): n for name, n in worse["finish"].items()}
        canary = replace(canary, finish=Histogram(ends))
    canary = replace(canary, refused=worse.get("refused", 0))
    if "slow" in worse:
        canary = replace(canary, gpu=answers(dice, 400, slow=worse["slow"]).gpu)
    reading = read_soak(window_of([Cell(canary, NONE, 1, "batch")]), baseline, LIMITS, Look(1))
    failed = {c.metric for c in reading.checks if c.verdict is Verdict.FAIL}
    assert (reading.verdict, failed) == (Verdict.FAIL, {metric})
    assert said in reading.why


def test_what_is_shown_only_is_not_judged_in_the_soak_either():
    dice = random.Random(7)
    shown = GateLimits(gpu_ratio=None, abort_points=None, length_points=None)
    reading = read_soak(soak_of(dice), gate_of(dice), shown, Look(1))
    metrics = {c.metric for c in reading.checks}
    assert metrics == {"error_ratio", "ttft_p95", "itl_p95", "refused"}


def test_a_baseline_that_an_older_worker_recorded_is_judged_by_what_it_has():
    dice = random.Random(8)
    kept = {name: {m: v for m, v in own.items() if m in ("error_ratio", "ttft_p95")}
            for name, own in gate_of(dice).items()}  # fmt: skip
    reading = read_soak(soak_of(dice), kept, LIMITS, Look(1))
    assert reading.verdict is Verdict.PASS
    assert {c.metric for c in reading.checks} == {"error_ratio", "ttft_p95"}


def test_a_step_that_allowed_more_errors_is_not_undone_by_the_soak():
    dice = random.Random(9)
    loose = GateLimits(error_points=0.1)
    baseline, window = gate_of(dice), soak_of(dice, errors=0.08)
    assert read_soak(window, baseline, loose, Look(1)).verdict is Verdict.PASS
    assert read_soak(window, baseline, LIMITS, Look(1)).verdict is Verdict.FAIL


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
