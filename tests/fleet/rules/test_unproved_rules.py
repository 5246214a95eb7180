"""What nobody could judge is no success, and what waits for a person is judged on."""

from dataclasses import replace

import pytest

from fleet.rules.phases import Cause, Phase, PlanKind, Wish
from tests.fleet.rules.walk import Walk, make_state


def test_what_paused_for_want_of_samples_goes_back_when_its_answers_fail():
    walk = Walk(make_state(), per_second=0).run(until={Phase.PAUSED})
    walk.per_second, walk.errors = 50, 1.0
    walk.run()
    assert (walk.state.phase, walk.state.cause) == (Phase.ROLLED_BACK, Cause.GATE_FAILED)
    assert "was paused: " in walk.state.memory.reason


def test_what_paused_for_want_of_samples_waits_for_a_person_while_its_answers_are_good():
    walk = Walk(make_state(), per_second=0).run(until={Phase.PAUSED})
    walk.per_second = 50
    for _ in range(100):
        walk.step()
    assert walk.state.phase is Phase.PAUSED


def test_a_soak_is_judged_to_its_end_before_the_warm_release_goes():
    walk = Walk(make_state()).run(until={Phase.SOAKING})
    walk.late = "Usage is 300 s behind"
    for _ in range(400):
        if now_over(walk):
            break
        walk.step()
    assert walk.state.phase is Phase.SOAKING
    walk.step()
    assert "not judged to its end. Usage is 300 s behind" in walk.state.why
    walk.late = ""
    assert walk.run().state.phase is Phase.SUCCEEDED


def now_over(walk):
    return walk.now > walk.state.phase_since + walk.state.soak


def test_a_soak_that_nobody_could_judge_calls_a_person_and_keeps_the_warm_release():
    walk = Walk(make_state()).run(until={Phase.SOAKING})
    walk.late, walk.errors = "Usage is 300 s behind", 1.0
    walk.run(until={Phase.PAUSED}, most=2_000)
    assert walk.state.resume_phase is Phase.SOAKING
    assert walk.state.memory.paused_by == "gate"  # so a person is called
    assert walk.state.declared_old > 0


@pytest.mark.parametrize("kind", [PlanKind.SURGE_CANARY, PlanKind.REPLACE])
def test_a_release_without_a_replica_is_no_success(kind):
    more = {} if kind is PlanKind.SURGE_CANARY else {"kind": kind, "surge": 0, "min_replicas": 3}
    walk = Walk(make_state(**more)).run(until={Phase.SOAKING})
    walk.cluster.dark = True
    walk.cluster.tick(0)
    walk.run(until={Phase.PAUSED, Phase.ROLLED_BACK}, most=2_000)
    assert walk.state.phase is Phase.PAUSED
    assert "no replica that answers" in walk.state.why
    walk.cluster.dark = False
    walk.step()
    walk.state = replace(walk.state, wish=Wish.RUN, wish_at=walk.now)
    assert walk.run(most=2_000).state.phase is Phase.SUCCEEDED, walk.state.why
