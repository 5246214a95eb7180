"""Tests of shares: known values, exactness against counting, and the promised error rates."""

from itertools import product
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.rules import statistics
from fleet.rules.statistics import (
    Table,
    alpha_of_look,
    binomial_tail,
    exact_tail,
    more_needed,
    worse,
)

side = st.integers(0, 7)


def test_it_agrees_with_fishers_tea_tasting():
    assert exact_tail([Table(3, 4, 1, 4)]) == pytest.approx(17 / 70)
    assert exact_tail([Table(4, 4, 0, 4)]) == pytest.approx(1 / 70)


@given(st.lists(st.tuples(side, side, side, side), min_size=1, max_size=3))
def test_it_is_the_share_of_all_divisions_that_are_as_bad(rows):
    tables = [Table(min(a, n), n, min(b, m), m) for a, n, b, m in rows]
    ways = [
        [
            (k, comb(t.marked + t.other_marked, k)
             * comb(t.total + t.other_total - t.marked - t.other_marked, t.total - k))
            for k in range(t.total + 1)
        ]
        for t in tables
    ]  # fmt: skip
    seen = sum(t.marked for t in tables)
    bad = everything = 0
    for pick in product(*ways):
        weight = 1
        for _, w in pick:
            weight *= w
        everything += weight
        bad += weight if sum(k for k, _ in pick) >= seen else 0
    assert exact_tail(tables) == pytest.approx(bad / everything)


@settings(max_examples=40)
@given(st.integers(0, 40), st.integers(1, 40), st.floats(0.001, 0.999))
def test_it_sums_the_binomial_tail(seen, draws, share):
    summed = sum(
        comb(draws, k) * share**k * (1 - share) ** (draws - k) for k in range(seen, draws + 1)
    )
    assert binomial_tail(seen, draws, share) == pytest.approx(summed, abs=1e-9)


def test_it_never_claims_more_for_many_than_the_exact_test(monkeypatch):
    tables = [Table(6, 60, 20, 540)] * 8
    exact = exact_tail(tables)
    monkeypatch.setattr(statistics, "MOST_TERMS", 10)
    assert exact <= exact_tail(tables) <= 3 * exact


def test_it_says_nothing_of_strata_with_one_side_only():
    assert exact_tail([Table(5, 5, 0, 0), Table(0, 0, 3, 90)]) == 1.0


def test_it_is_not_misled_by_a_mix():
    """Two tenants, each treated alike; the canary got more of the slow one."""
    slow, fast = Table(45, 90, 5, 10), Table(0, 10, 0, 90)
    merged = Table(45, 100, 5, 100)
    assert exact_tail([merged]) < 1e-9
    assert exact_tail([slow, fast]) > 0.3


def test_it_needs_both_proofs():
    different = Table(40, 1000, 60, 4000)  # 4 % against 1.5 %, and 5 % are allowed
    assert exact_tail([different]) < 1e-5
    assert worse([different], 0.05) > 0.9


def test_it_says_how_many_more_would_prove_it():
    table = Table(3, 50, 0, 450)
    more = more_needed([table], 0.01, 1e-4)
    assert more is not None and worse([table], 0.01) > 1e-4
    assert more_needed([Table(1, 100, 10, 1000)], 0.01, 1e-4) is None


def test_looks_never_spend_more_than_there_is():
    assert sum(alpha_of_look(0.05, k) for k in range(1, 1000)) < 0.05
