"""What people ask of a rollout in the wrong moment: a gate skipped in a pause, an abort while the
cluster refuses to admit replicas.
"""

from dataclasses import replace

import pytest

from fleet.clients.errors import Permanent, Temporary
from fleet.rules.phases import FINAL, GOING_BACK, Cause, Phase, Wish
from tests.fleet.rules.walk import Walk, make_state


def paused(at):
    walk = Walk(make_state()).run(until={at})
    walk.state = replace(walk.state, wish=Wish.PAUSE, wish_at=walk.now)
    return walk.run(until={Phase.PAUSED})


@pytest.mark.parametrize("at", [Phase.PREPARING, Phase.CANARY_STARTING, Phase.CANARY_VERIFYING])
def test_a_gate_skipped_in_a_pause_before_traffic_skips_no_verification(at):
    walk = paused(at)
    walk.state = replace(walk.state, skip_step=0, skip_by="olga", wish=Wish.RUN, wish_at=walk.now)
    walk.run(until=FINAL | {Phase.SHIFTING, Phase.PROMOTING, Phase.CANARY_VERIFYING})
    assert walk.state.phase is Phase.CANARY_VERIFYING, walk.state.why


@pytest.mark.parametrize("at", [Phase.PROMOTING, Phase.SOAKING])
def test_a_gate_skipped_in_a_pause_after_the_last_step_means_nothing(at):
    walk = paused(at)
    walk.state = replace(walk.state, skip_step=walk.state.step, skip_by="olga")
    walk.step()
    assert walk.state.phase is Phase.PAUSED
    walk.state = replace(walk.state, wish=Wish.RUN, wish_at=walk.now)
    assert walk.run().state.phase is Phase.SUCCEEDED


@pytest.mark.parametrize(
    "error",
    [
        Temporary("Too many requests", status=429),
        Permanent("may not patch pods/status", status=403),
    ],
)
def test_an_abort_moves_traffic_though_no_replica_can_be_admitted(error, monkeypatch):
    walk = Walk(make_state()).run(until={Phase.PROMOTING})
    while not any(p.loaded and not p.admitted for p in walk.side("new").live):
        walk.step()
    assert walk.state.phase is Phase.PROMOTING

    def refuse(*_):
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(walk.cluster, "set_condition", refuse)
        walk.state = replace(walk.state, wish=Wish.ABORT, wish_at=walk.now, wish_by="olga")
        walk.step()
        assert walk.state.phase in GOING_BACK, walk.state.why
        assert walk.state.weight_old > 0
        assert walk.state.cause is Cause.OPERATOR
    assert walk.run().state.phase is Phase.ROLLED_BACK, walk.state.why
    assert walk.state.cause is Cause.OPERATOR
