"""The output contract inside the state machine, on rules alone."""

from dataclasses import replace

import pytest

from fleet.rules.contract.prompts import read_contract
from fleet.rules.phases import Cause, Phase, Wish
from fleet.rules.situation import StepPlan
from tests.fleet.rules.walk import Walk, make_state

GREETS = {"name": "greets", "kind": "text", "prompt": "Say hello", "contains": ["hello"]}
CITY = {"name": "city", "kind": "json", "prompt": "Capital?", "schema": {"type": "object"}}
CONTRACT = read_contract([GREETS, CITY])


@pytest.fixture
def walk():
    return Walk(make_state(contract=CONTRACT, steps=(StepPlan(50, 10, 20),)))


def asked(walk):
    return [c for c in walk.cluster.calls if c[0] == "put"]


def test_it_asks_every_prompt_before_traffic_and_goes_on(walk):
    walk.run(until={Phase.SHIFTING})
    assert [c[2] for c in asked(walk)] == ["greets", "city"]
    assert "Output contract kept: 2 of 2 answers as expected" in walk.state.why
    assert walk.state.weight_new == 0
    assert walk.state.memory.contract == ()
    walk.run()
    assert walk.state.phase is Phase.SUCCEEDED
    assert len(asked(walk)) == 2


def test_it_asks_nothing_where_the_service_has_no_set():
    walk = Walk(make_state())
    walk.run()
    assert asked(walk) == []


def test_it_asks_three_replicas_of_many_a_few_at_a_time():
    many = read_contract([GREETS | {"name": str(i)} for i in range(5)])
    walk = Walk(make_state(contract=many, surge=4, replicas=4))
    walk.run(until={Phase.SHIFTING})
    calls = asked(walk)
    assert len(calls) == len({c[1:] for c in calls}) == 15
    assert len({c[1] for c in calls}) == 3
    assert "15 of 15 answers as expected" in walk.state.why


def test_a_broken_contract_goes_back_with_its_own_cause_and_got_no_traffic(walk):
    walk.cluster.behave(walk.names["new"], "breaks_contract")
    walk.run(until={Phase.ABORTING})
    assert walk.state.cause is Cause.OUTPUT_CONTRACT
    assert "The output contract is broken by r2: " in walk.state.why
    assert (
        "on “greets” expected it to contain 'hello', got 'goodbye' (and 1 more)" in walk.state.why
    )
    walk.run()
    assert walk.state.phase is Phase.ROLLED_BACK
    assert walk.state.weight_new == 0


def test_what_is_kept_names_each_prompt_and_its_answer(walk):
    walk.cluster.behave(walk.names["new"], "breaks_contract")
    while not (decision := walk.step()).contract:
        pass
    assert decision.contract.verdict == "fail"
    kept = {a["name"]: (a["verdict"], a["shown"]) for a in decision.contract.answers}
    assert kept == {"greets": ("fail", "goodbye"), "city": ("fail", "goodbye")}


def test_silence_is_asked_again_and_is_no_broken_contract(walk):
    walk.cluster.behave(walk.names["new"], "mute")
    walk.run(until={Phase.CANARY_VERIFYING})
    for _ in range(4):
        walk.step()
    assert walk.state.phase is Phase.CANARY_VERIFYING
    assert "Output contract: 0 of 2 answers as expected; asks again" in walk.state.why
    walk.cluster.behave(walk.names["new"], "good")
    walk.run()
    assert walk.state.phase is Phase.SUCCEEDED


@pytest.mark.parametrize(
    ("behaviour", "cause"), [("mute", Cause.NEVER_READY), ("fails_prompts", Cause.OUTPUT_CONTRACT)]
)
def test_it_goes_back_when_no_answer_comes_until_the_deadline(walk, behaviour, cause):
    walk.cluster.behave(walk.names["new"], behaviour)
    walk.run()
    assert (walk.state.phase, walk.state.cause) == (Phase.ROLLED_BACK, cause)
    assert "2 prompts of the output contract got no answer of r2 for 2 min 0 s" in walk.state.why


def test_an_abort_wins_over_open_questions(walk):
    walk.cluster.behave(walk.names["new"], "mute")
    walk.run(until={Phase.CANARY_VERIFYING})
    walk.step()
    walk.state = replace(walk.state, wish=Wish.ABORT)
    walk.run()
    assert (walk.state.phase, walk.state.cause) == (Phase.ROLLED_BACK, Cause.OPERATOR)
