"""What a pass noted for the next phase counts only once it is there: the cluster may not answer."""

import pytest

from fleet.clients.errors import Temporary
from fleet.rules.phases import FINAL, Phase
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
