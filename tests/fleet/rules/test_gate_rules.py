"""Gates: too few samples are never a pass, one failure is no rate, noise is no regression."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fleet.rules.comparison import Cell, Window
from fleet.rules.gate_limits import GateLimits
from fleet.rules.gates import Look, arrears, bounds_of, read_gate, share_of
from fleet.rules.histogram import of_values
from fleet.rules.phases import Verdict
from fleet.rules.traffic import ReleaseWindow, summed

START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LIMITS = GateLimits()


def answers(
    served=100, failed=0, ttft=200.0, itl=30.0, output=50.0, queue=None, refused=0, **outcomes
):
    return ReleaseWindow(
        {"served": served, "failed": failed} | outcomes,
        ttft=of_values([ttft] * served),
        itl=of_values([itl] * served),
        output=of_values([output] * served),
        queue=of_values([] if queue is None else [queue] * served),
        refused=refused,
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
    "errors": (answers(110, 9), answers(), Verdict.FAIL, "error ratio 7.56% of 119, limit 1.00%"),
    "errors that few samples do not prove": (
        answers(110, 5), answers(), Verdict.INCONCLUSIVE, "more samples would prove it, about"),
    "both have errors": (answers(110, 5), answers(110, 5), Verdict.PASS, "Inside"),
    "two failures are no rate": (answers(110, 2), answers(), Verdict.PASS, "within noise (p ="),
    "time-outs count": (answers(110, timed_out=9), answers(), Verdict.FAIL, "error ratio"),
    "refused by the engine": (
        answers(110, refused=20), answers(), Verdict.FAIL, "refused by the engine 15.38% of 130"),
    "refused and left do not": (
        answers(100, rejected=50, cancelled=50), answers(), Verdict.PASS, "Inside"),
    "slow first tokens": (answers(ttft=300), answers(), Verdict.FAIL, "TTFT p95"),
    "slow later tokens": (answers(itl=60), answers(), Verdict.FAIL, "ITL p95"),
    "waiting longer for a seat": (
        answers(queue=400), answers(queue=100), Verdict.FAIL, "Queue p95 403 ms"),
    "a little slower": (answers(ttft=230), answers(), Verdict.PASS, "Inside"),
    "slow, in too few samples to tell": (
        answers(19, ttft=900), answers(), Verdict.INCONCLUSIVE, "81 of 100 requests"),
    "tiny times differ": (answers(itl=3), answers(itl=1), Verdict.PASS, "Inside"),
    "longer answers": (answers(output=70), answers(), Verdict.FAIL, "median length of answers"),
    "shorter answers": (answers(output=30), answers(), Verdict.FAIL, "median length of answers"),
    "about as long": (answers(output=56), answers(), Verdict.PASS, "Inside"),
    "no latencies": (
        ReleaseWindow({"served": 100}), answers(), Verdict.INCONCLUSIVE, "TTFT p95 samples"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_judges(case):
    canary, stable, want_verdict, want_words = CASES[case]
    found = read_gate(make_window(canary, stable), 100, LIMITS)
    assert found.verdict is want_verdict, found.why
    assert want_words in found.why


def test_it_says_about_how_long_missing_samples_take():
    found = read_gate(make_window(answers(50), seconds=50), 100, LIMITS)
    assert "about 50 s at this rate" in found.why
    found = read_gate(make_window(answers(1), seconds=60), 100, LIMITS)
    assert "about 99 min" in found.why


def test_it_keeps_what_it_saw():
    kept = read_gate(make_window(answers(110, 9)), 100, LIMITS).as_json()
    errors, evidence = kept["checks"][0], kept["evidence"]
    assert (errors["metric"], errors["samples"], errors["verdict"]) == ("error_ratio", 119, "fail")
    assert errors["p"] < evidence["alpha"] == LIMITS.alpha / 2 / evidence["tests"]


def test_it_fails_only_at_looks_that_are_due():
    bad = make_window(answers(100, 20))
    early = read_gate(bad, 100, LIMITS, Look(2, 3, is_due=False))
    assert early.verdict is Verdict.INCONCLUSIVE
    assert "judged at the next look" in early.why
    assert read_gate(bad, 100, LIMITS, Look(2, 3)).verdict is Verdict.FAIL


def cells(**tenants):
    """By tenant: canary and stable; ids in the order of their names."""
    return [
        Cell(canary, stable, number, "interactive" if number % 2 else "batch")
        for number, (canary, stable) in enumerate(tenants.values(), 1)
    ]


def divided(**tenants):
    found = cells(**tenants)
    window = make_window(summed(c.canary for c in found), summed(c.stable for c in found))
    return replace(window, cells=found, names=dict(enumerate(tenants, 1)))


def test_a_hurt_tenant_fails_the_gate_though_the_total_looks_good():
    window = divided(
        acme=(answers(2000), answers(2000)), globex=(answers(22, 10), answers(200)),
    )  # fmt: skip
    found = read_gate(window, 100, LIMITS)
    assert all(c.verdict is not Verdict.FAIL for c in found.checks if not c.group)
    assert found.verdict is Verdict.FAIL
    assert "tenant globex: error ratio 31.25% of 32" in found.why


def test_a_class_is_judged_alone():
    window = divided(acme=(answers(400), answers(400)), globex=(answers(60, ttft=900), answers()))
    assert "class batch: TTFT p95" in read_gate(window, 100, LIMITS).why


def test_small_tenants_do_not_vanish():
    window = divided(acme=(answers(), answers()), globex=(answers(7), answers(50)))
    found = read_gate(window, 100, LIMITS)
    assert found.verdict is Verdict.PASS
    assert "Judged alone too: class interactive, tenant acme" in found.why
    assert "(of 20): class batch 7, tenant globex 7" in found.why


def test_a_mix_of_slow_and_fast_tenants_is_no_regression():
    window = divided(
        slow=(answers(90, ttft=2000), answers(30, ttft=2000)),
        fast=(answers(30), answers(900)),
    )  # fmt: skip
    assert read_gate(window, 100, LIMITS).verdict is not Verdict.FAIL


def test_it_does_not_judge_while_gateways_hold_requests_back():
    assert arrears([("w1", 3, 2.0), ("w2", 0, 99.0)]) == ""
    assert "lack 40 requests" in arrears([("w1", 40, 31.0)])


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
