"""The cluster does not answer, or does not do what was decided: what holds meanwhile, what then."""

from dataclasses import replace

import pytest

from fleet.clients.errors import Temporary
from fleet.rules.phases import FINAL, GOING_BACK, Phase, Wish
from fleet.rules.situation import StepPlan
from tests.fleet.rules.happenings import lose_pod
from tests.fleet.rules.walk import Walk, make_state

ENDS = FINAL | {Phase.PAUSED}


def test_a_gate_that_passes_while_a_replica_cannot_be_admitted_passes_once_it_can():
    """It stood in its step without a beginning: its statistics could never be read again."""
    walk = Walk(make_state(steps=(StepPlan(50, 30, 20),)), gpus=6).run(until={Phase.ANALYZING})
    lose_pod(walk)
    walk.cluster.admits_none = Temporary("Too many requests", status=429)
    for _ in range(8):
        walk.step()
    assert walk.state.phase is Phase.ANALYZING, walk.state.why
    assert "Tries again. Too many requests" in walk.state.why
    walk.cluster.admits_none = None
    assert walk.run(until=ENDS).state.phase is Phase.SUCCEEDED, walk.state.why


@pytest.mark.parametrize("which", ["new", "old"])
def test_a_deleted_release_is_made_again_though_the_answer_is_lost(which):
    """The step begins anew as it does otherwise."""
    walk = Walk(make_state(), gpus=6).run(until={Phase.ANALYZING})
    walk.delete(which)
    walk.cluster.loses = 1
    assert walk.run(until=ENDS).state.phase is Phase.SUCCEEDED, walk.state.why


def paused_walk():
    """By a gate, for want of samples."""
    walk = Walk(make_state(), gpus=6, per_second=0)
    return walk.run(until={Phase.PAUSED})


def test_a_pause_says_again_why_it_pauses_once_the_cluster_is_back():
    """People decide by it: it said for the rest of the pause that the cluster does not answer."""
    walk = paused_walk()
    because = walk.state.why
    assert "Gate inconclusive" in because
    walk.cluster.down = True
    assert walk.step().hindered
    assert walk.state.why.startswith("Waits for the cluster")
    walk.cluster.down = False
    assert not walk.step().hindered
    assert (walk.state.phase, walk.state.why) == (Phase.PAUSED, because)


def test_a_gate_pauses_though_a_replica_cannot_be_admitted():
    walk = Walk(make_state(), gpus=6, per_second=0).run(until={Phase.ANALYZING})
    lose_pod(walk)
    walk.cluster.admits_none = Temporary("Too many requests", status=429)
    walk.run(until={Phase.PAUSED})
    assert "Gate inconclusive" in walk.state.why
    assert "Too many requests" in walk.state.why
    walk.cluster.admits_none = None
    walk.step()
    walk.step()
    assert "Too many requests" not in walk.state.why
    assert walk.state.why.startswith("Gate inconclusive")


def test_what_answers_and_may_not_be_admitted_is_not_called_silent():
    """It went back as one that does not answer, which its probes had proved."""
    walk = Walk(make_state(), gpus=6).run(until={Phase.ANALYZING})
    walk.cluster.admits_none = Temporary("Too many requests", status=429)
    decisions = [walk.step() for _ in range(80)]
    assert walk.state.phase is Phase.SHIFTING, walk.state.why
    assert all(d.hindered for d in decisions[-50:])
    walk.cluster.admits_none = None
    assert walk.run(until=ENDS).state.phase is Phase.SUCCEEDED, walk.state.why


@pytest.mark.parametrize("phase", [Phase.CANARY_STARTING, Phase.PROMOTING, Phase.ROLLING_BACK])
def test_what_the_account_may_not_do_for_now_is_no_fault_of_the_release(phase):
    """An API server that began anew answered 403 for seconds, and a good release went back."""
    walk = Walk(make_state(), gpus=6)
    if phase in GOING_BACK:
        walk.run(until={Phase.SHIFTING})
        walk.state = replace(walk.state, wish=Wish.ABORT)
    walk.run(until={phase})
    walk.cluster.forbids, walk.cluster.denies = "may not patch deployments", True
    decisions = [walk.step() for _ in range(40)]
    assert walk.state.phase is phase, walk.state.why
    assert decisions[-1].hindered and "Tries again. may not" in walk.state.why
    walk.cluster.forbids = ""
    ends = Phase.ROLLED_BACK if phase in GOING_BACK else Phase.SUCCEEDED
    assert walk.run(until=ENDS).state.phase is ends, walk.state.why


class Blind(Walk):
    """The observer has not seen a replica of the new release."""

    def see(self):
        return replace(super().see(), routed=frozenset())


@pytest.mark.parametrize("phase", [Phase.SHIFTING, Phase.PROMOTING])
def test_an_observer_that_does_not_come_hinders_it(phase):
    """It waited for ever, and nobody was called."""
    steps = () if phase is Phase.PROMOTING else (StepPlan(50, 30, 20),)
    walk = Blind(make_state(steps=steps), gpus=6).run(until={phase})
    decisions = [walk.step() for _ in range(12)]
    assert walk.state.phase is phase
    assert all(d.hindered for d in decisions[-5:])
    assert "not known to gateways yet" in walk.state.why


def test_what_is_undone_at_each_write_hinders_it():
    """As a webhook does, which owns nothing that a write could meet."""
    walk = Walk(make_state(), gpus=6).run(until={Phase.ANALYZING})
    for _ in range(5):
        walk.delete("new")
        assert walk.step().hindered, walk.state.why
    assert walk.run(until=ENDS).state.phase is Phase.SUCCEEDED, walk.state.why
