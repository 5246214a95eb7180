"""Thousands of seeded gates: false alarms stay below what is stated, real regressions are found."""

import random
from dataclasses import replace

import pytest

from fleet.rules.comparison import Cell, Preemptions
from fleet.rules.gates import read_gate
from fleet.rules.histogram import Histogram, of_values
from fleet.rules.phases import Verdict
from fleet.rules.statistics import Table
from fleet.rules.traffic import ReleaseWindow, summed
from tests.fleet.rules.test_gate_rules import LIMITS, make_window


def cluster_of_noise(dice, requests, slow=1.0):
    """A noisy machine: long tails, a stall now and then that hits whoever answers meanwhile."""
    cells = []
    for _ in range(4):
        stall = 4.0 if dice.random() < 0.3 else 1.0
        for tenant in (1, 2, 3):
            sides = []
            for share, pace in ((0.1, slow), (0.9, 1.0)):
                n = max(int(dice.gauss(1, 0.2) * requests * share / 12), 0)
                bad = sum(dice.random() < 0.02 for _ in range(n))
                ttft = [dice.lognormvariate(5, 0.8) * pace * stall * tenant for _ in range(n - bad)]
                sides.append(
                    ReleaseWindow(
                        {"served": n - bad, "failed": bad},
                        ttft=of_values(ttft),
                        itl=of_values([dice.lognormvariate(3, 0.5) for _ in range(n - bad)]),
                        output=of_values([dice.lognormvariate(4, 0.7) for _ in range(n - bad)]),
                        gpu=of_values([dice.lognormvariate(3.5, 0.6) for _ in range(n - bad)]),
                        finish=ends(dice, n),
                    )
                )
            cells.append(Cell(*sides, tenant, "interactive"))
    whole = make_window(summed(c.canary for c in cells), summed(c.stable for c in cells), 240)
    return replace(whole, cells=cells, preemptions=bursts(dice, requests))


def ends(dice, n):
    """Most stop, many reach the limit, a few are given up."""
    drawn = dice.choices(range(4), (0.7, 0.25, 0.02, 0.03), k=n)
    return Histogram({i: drawn.count(i) for i in set(drawn)})


def bursts(dice, requests):
    """Of one engine and three others, each preempts in one minute of three, up to 400 times."""
    ours, theirs, tables = 0, 0, []
    for _ in range(4):
        first, *others = (dice.randrange(1, 400) * (dice.random() < 0.3) for _ in range(4))
        ours, theirs = ours + first, theirs + sum(others)
        tables.append(Table(int(first > 0), 1, sum(n > 0 for n in others), 3))
    return Preemptions(ours, theirs, (requests // 10, requests * 9 // 10), tables)


def tried(requests, trials, slow=1.0):
    dice = random.Random(f"{requests} {slow}")
    found = [read_gate(cluster_of_noise(dice, requests, slow), 20, LIMITS) for _ in range(trials)]
    return {v: sum(r.verdict is v for r in found) / trials for v in Verdict}


@pytest.mark.parametrize(("requests", "trials"), [(300, 1600), (1200, 400)])
def test_it_raises_fewer_false_alarms_than_it_states(requests, trials):
    rates = tried(requests, trials)
    assert rates[Verdict.FAIL] <= LIMITS.alpha / 2  # one look spends half
    assert rates[Verdict.INCONCLUSIVE] <= 0.1


def test_it_finds_a_release_that_is_three_times_slower():
    assert tried(1000, 100, slow=3.0)[Verdict.FAIL] > 0.9
