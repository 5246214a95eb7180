"""Thousands of seeded gates: false alarms stay below what is stated, real regressions are found."""

import random
from dataclasses import replace

import pytest

from fleet.rules.comparison import Cell
from fleet.rules.gates import read_gate
from fleet.rules.histogram import of_values
from fleet.rules.phases import Verdict
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
                    )
                )
            cells.append(Cell(*sides, tenant, "interactive"))
    whole = make_window(summed(c.canary for c in cells), summed(c.stable for c in cells), 240)
    return replace(whole, cells=cells)


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
