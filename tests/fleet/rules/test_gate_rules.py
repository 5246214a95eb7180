"""Gates: too few samples are never a pass, one failure is no rate, noise is no regression."""

from datetime import UTC, datetime, timedelta

import pytest

from fleet.rules.gates import GateLimits, Window, bounds_of, read_gate, share_of
from fleet.rules.histogram import of_values
from fleet.rules.phases import Verdict
from fleet.rules.traffic import ReleaseWindow

START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LIMITS = GateLimits()


def answers(served=100, failed=0, ttft=200.0, itl=30.0, **outcomes):
    return ReleaseWindow(
        {"served": served, "failed": failed} | outcomes,
        ttft=of_values([ttft] * served),
        itl=of_values([itl] * served),
    )


def make_window(canary, stable=None, seconds=100):
    return Window(START, START + timedelta(seconds=seconds), canary, stable or answers())


CASES = {
    "both alike": (answers(), answers(), Verdict.PASS, "Inside all limits"),
    "too few samples": (
        answers(40), answers(), Verdict.INCONCLUSIVE, "60 of 100 requests of the canary"),
    "no samples at all": (answers(0), answers(), Verdict.INCONCLUSIVE, "none came yet"),
    "stable has too few": (
        answers(), answers(5), Verdict.INCONCLUSIVE, "15 of 20 requests of stable"),
    "errors": (answers(95, 5), answers(), Verdict.FAIL, "error ratio 5.00% of 100, limit 1.00%"),
    "both have errors": (answers(100, 5), answers(100, 5), Verdict.PASS, "Inside"),
    "one failure is no rate": (
        answers(49, 1), answers(), Verdict.INCONCLUSIVE, "from a single failure"),
    "time-outs count": (answers(95, timed_out=5), answers(), Verdict.FAIL, "error ratio"),
    "refused and left do not": (
        answers(100, rejected=50, cancelled=50), answers(), Verdict.PASS, "Inside"),
    "slow first tokens": (answers(ttft=300), answers(), Verdict.FAIL, "TTFT p95"),
    "slow later tokens": (answers(itl=60), answers(), Verdict.FAIL, "ITL p95"),
    "a little slower": (answers(ttft=230), answers(), Verdict.PASS, "Inside"),
    "tiny times differ": (answers(itl=3), answers(itl=1), Verdict.PASS, "Inside"),
    "no latencies": (
        ReleaseWindow({"served": 100}), answers(), Verdict.INCONCLUSIVE, "TTFT p95 samples"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_judges(case):
    canary, stable, want_verdict, want_words = CASES[case]
    needed = 50 if case == "one failure is no rate" else 100
    found = read_gate(make_window(canary, stable), needed, LIMITS)
    assert found.verdict is want_verdict, found.why
    assert want_words in found.why


def test_it_says_about_how_long_missing_samples_take():
    found = read_gate(make_window(answers(50), seconds=50), 100, LIMITS)
    assert "about 50 s at this rate" in found.why
    found = read_gate(make_window(answers(1), seconds=60), 100, LIMITS)
    assert "about 99 min" in found.why


def test_it_keeps_what_it_saw():
    kept = read_gate(make_window(answers(95, 5)), 100, LIMITS).as_json()
    errors = kept["checks"][0]
    assert (errors["metric"], errors["samples"], errors["verdict"]) == ("error_ratio", 100, "fail")


def test_it_drops_the_slot_of_the_change_and_what_has_not_arrived():
    start, end = bounds_of(START + timedelta(seconds=4), START + timedelta(seconds=32))
    assert (start, end) == (START + timedelta(seconds=10), START + timedelta(seconds=20))
    start, end = bounds_of(START, START)
    assert start == end


SHARES = {
    "as wanted": (50, 50, 50, True),
    "within five points": (54, 46, 50, True),
    "far away": (10, 190, 50, False),
    "few samples vary": (2, 28, 20, True),
    "too few to say": (5, 5, 50, False),
    "none": (0, 0, 50, False),
}


@pytest.mark.parametrize("case", SHARES)
def test_it_proves_a_share_from_answers(case):
    canary, stable, percent, want = SHARES[case]
    window = make_window(answers(canary), answers(stable))
    assert share_of(window, percent).inside is want
