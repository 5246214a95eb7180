"""Cost, finish reasons, preemptions, cache hits and applications as gates judge them, and the
limits that a proposal sets."""

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.rules.comparison import Cell, Held, Preemptions, Window
from fleet.rules.gate_limits import (
    CHOICES,
    GateLimits,
    limits_in,
    limits_of,
    read_limits,
    told,
    unusual,
)
from fleet.rules.gates import read_gate
from fleet.rules.histogram import Histogram, of_values
from fleet.rules.phases import Verdict
from fleet.rules.statistics import Table
from fleet.rules.traffic import FINISHES, ReleaseWindow, TrafficSample, summed

START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
USUAL = GateLimits()


def answers(n=200, gpu=30.0, cached=0, failed=0, **finishes):
    ends = {FINISHES.index(name): count for name, count in finishes.items()}
    return ReleaseWindow(
        {"served": n, "failed": failed},
        ttft=of_values([200.0] * n),
        itl=of_values([30.0] * n),
        output=of_values([50.0] * n),
        gpu=of_values([gpu] * n),
        finish=Histogram(ends or {0: n}),
        prompt_tokens=100 * n,
        cached_tokens=cached * n,
    )


def make_window(canary, stable=None, **more):
    return Window(START, START + timedelta(seconds=300), canary, stable or answers(), **more)


def found(window, metric, limits=USUAL, group=""):
    checks = read_gate(window, 100, limits).checks
    return next(c for c in checks if (c.metric, c.group) == (metric, group))


def busy(marked, minutes=8, engines=1, others=3):
    """Preemptions in so many minutes of each engine of the canary, none of stable."""
    tables = [Table(engines * (i < marked), engines, 0, others) for i in range(minutes)]
    return Preemptions(400 * bool(marked), 3, (200, 200), tables)


def cells(canary, stable, minutes=10):
    return [Cell(canary, stable, 1, "interactive") for _ in range(minutes)]


CASES = {
    "a token takes twice the GPU time": (
        make_window(answers(gpu=60)), USUAL, Verdict.FAIL,
        "tokens per GPU-second 17.4, at least 24.3, stable 33.9"),
    "a token takes a little more": (make_window(answers(gpu=33)), USUAL, Verdict.PASS, "Inside"),
    "twice the GPU time was approved": (
        make_window(answers(gpu=600), answers(gpu=300)), limits_of({}, 2, 1),
        Verdict.PASS, "Inside"),
    "answers find no end": (
        make_window(answers(stop=100, length=100), answers(stop=190, length=10)), USUAL,
        Verdict.FAIL, "ended at the token limit 50.00% of 200, limit 10.00%, stable 5.00%"),
    "answers find their end more often": (
        make_window(answers(stop=200), answers(stop=100, length=100)), USUAL,
        Verdict.PASS, "Inside"),
    "aborts behind other errors of stable": (
        make_window(
            answers(stop=200, abort=20, failed=20), answers(failed=40)), USUAL,
        Verdict.FAIL, "given up by the engine 9.09% of 220, limit 1.00%"),
    "one engine preempts all the time": (
        make_window(answers(), preemptions=busy(8)), USUAL,
        Verdict.FAIL, "preemptions a request 2.000, limit 0.065, stable 0.015"),
    "bursts in two minutes prove nothing": (
        make_window(answers(), preemptions=busy(2)), USUAL, Verdict.PASS, "within noise"),
    "bursts in four minutes ask for more": (
        make_window(answers(), preemptions=busy(4)), USUAL,
        Verdict.INCONCLUSIVE, "more minutes of engines would prove it"),
    "fewer hits, and a limit of it": (
        make_window(answers(2000, cached=10), answers(2000, cached=60),
                    cells=cells(answers(cached=10), answers(cached=60))),
        limits_of({"cache_points": 0.2}), Verdict.FAIL,
        "prompt tokens from the cache 10.00%, at least 40.00%, stable 60.00%"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_judges(case):
    window, limits, want, words = CASES[case]
    gate = read_gate(window, 100, limits)
    assert gate.verdict is want, gate.why
    assert words in gate.why


def test_what_has_no_limit_is_shown_and_not_judged():
    none = limits_of({name: None for name, choice in CHOICES.items() if choice.optional})
    bad = answers(gpu=90, abort=100, length=100)
    gate = read_gate(make_window(bad, preemptions=busy(8)), 100, none)
    assert gate.verdict is Verdict.PASS
    shown = {s.metric: s for s in gate.shown}
    apart = {"aborted", "length", "gpu_p50", "preemptions", "cache_hits"}
    assert apart <= shown.keys() and apart.isdisjoint(c.metric for c in gate.checks)
    assert "no limit" in shown["gpu_p50"].why
    assert shown["length"].canary == 0.5


def test_what_replicas_cost_is_shown():
    held = (Held(3000, 100.0), Held(9000, 100.0))
    gate = read_gate(make_window(answers(), held=held), 100, USUAL)
    (row,) = [s for s in gate.shown if s.metric == "held"]
    assert (row.canary, row.stable) == (30.0, 90.0)
    assert Held().rate is None


def divided(**parts):
    """By application: canary and stable; the empty name is the rest of their tenant."""
    rows = [
        Cell(canary, stable, 1, "interactive", number)
        for number, (canary, stable) in enumerate(parts.values())
    ]
    names = {n: f"acme/{name}" for n, name in enumerate(parts) if n}
    both = summed(c.canary for c in rows), summed(c.stable for c in rows)
    return make_window(*both, cells=rows, names={1: "acme"}, applications=names)


def test_an_application_is_judged_alone():
    window = divided(
        rest=(answers(900), answers(900)), chat=(answers(40, failed=20), answers(100)),
    )  # fmt: skip
    gate = read_gate(window, 100, USUAL)
    assert gate.verdict is Verdict.FAIL
    assert "application acme/chat: error ratio 33.33% of 60" in gate.why
    assert found(window, "gpu_p50", group="application acme/chat").verdict is Verdict.PASS


def test_one_application_alone_is_all_there_is():
    window = make_window(
        answers(), cells=[Cell(answers(), answers(), 1, "batch", 7)], applications={7: "acme/chat"}
    )
    assert {c.group for c in read_gate(window, 100, USUAL).checks} == {""}


counts = st.integers(0, 60)
sides = st.builds(
    lambda n, bad, gpu, stop, more, abort: replace(
        answers(n, gpu=gpu, failed=bad, stop=stop, length=more, abort=abort), refused=bad
    ),
    st.integers(0, 120), counts, st.floats(1, 500), counts, counts, counts,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(sides, sides, st.integers(0, 8), st.sampled_from([0, 1, 2, 9]))
def test_a_fail_is_beyond_the_limit_and_beyond_noise(canary, stable, marked, cached):
    canary = replace(canary, cached_tokens=cached * canary.prompt_tokens // 10)
    limits = limits_of({"cache_points": 0.05})
    both = cells(canary, stable, 6)
    gate = read_gate(make_window(canary, stable, cells=both, preemptions=busy(marked)), 50, limits)
    for check in gate.checks:
        if check.verdict is Verdict.FAIL:
            assert check.p is not None and check.p <= gate.alpha
            if check.metric != "output_p50":
                sign = -1 if check.is_floor else 1
                assert sign * check.canary > sign * check.limit
        if check.p is None and check.canary is not None and check.samples:
            assert check.verdict is not Verdict.FAIL
    assert gate.alpha * gate.tests <= limits.alpha / 2 + 1e-12


WRONG = {
    "unknown": ({"speed": 2}, "There is no limit 'speed'"),
    "nothing where a number must be": ({"ttft_ratio": None}, "ttft_ratio is a number"),
    "a text": ({"ttft_ratio": "2"}, "ttft_ratio is a number"),
    "true": ({"error_points": True}, "error_points is a number"),
    "too much": ({"error_points": 1.5}, "error_points is 1.5: between 0 and 1"),
    "better than stable": ({"itl_ratio": 0.5}, "itl_ratio is 0.5: between 1 and 100"),
    "no number at all": ({"itl_ratio": float("nan")}, "itl_ratio is nan"),
}


@pytest.mark.parametrize("case", WRONG)
def test_it_refuses_limits_that_make_no_sense(case):
    given_limits, words = WRONG[case]
    with pytest.raises(ValueError, match=words):
        read_limits(given_limits)


def test_it_reads_them_from_a_terminal():
    assert limits_in(["ttft_ratio=2", "cache_points = none"]) == {
        "ttft_ratio": 2.0, "cache_points": None}  # fmt: skip
    for line in ("ttft_ratio", "ttft_ratio=fast"):
        with pytest.raises(ValueError, match="ttft_ratio"):
            limits_in([line])


def test_it_says_them_in_words():
    limits = {"error_points": 0.02, "gpu_ratio": None}
    numbers = {"gpus_new": 1, "gpus_old": 1, "limits": asdict(limits_of(limits))}
    assert unusual(numbers) == {
        "Failed requests": "2 points", "GPU time of a token": "shown, not judged"}  # fmt: skip
    assert unusual(numbers | {"limits": asdict(limits_of({}))}) == {}
    assert unusual({"limits": {}}) == {}  # of an older program
    assert told(asdict(limits_of({}, 4, 1)))["GPU time of a token"] == "5 times stable's"


FINISHED = {
    "stop": 0,
    "length": 1,
    "abort": 2,
    "error": 2,
    "tool_calls": 3,
    "content_filter": 3,
    "": None,
}


@pytest.mark.parametrize("reason", FINISHED)
def test_it_knows_how_answers_end(reason):
    sample = TrafficSample(START, 1, 2, 3, "batch", "served", finish=reason, gpu_ms=60,
                           completion_tokens=3)  # fmt: skip
    assert sample.finished == FINISHED[reason]
    assert sample.measured[-1] == 20.0
    assert replace_outcome(sample, "failed").measured[-1] is None


def replace_outcome(sample, outcome):
    return TrafficSample(sample.at, 1, 2, 3, "batch", outcome, gpu_ms=60, completion_tokens=3)
