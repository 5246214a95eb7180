"""Whatever happens in whichever order: what a rollout promises holds at every pass."""

import pickle
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fleet.rules.answers import Answer
from fleet.rules.audience import DIVIDED
from fleet.rules.contract.prompts import read_contract
from fleet.rules.fit import NodeRoom
from fleet.rules.phases import BEFORE_WRITES, FINAL, GOING_BACK, Phase, PlanKind, Wish
from fleet.rules.plan import plan_of
from fleet.rules.release import Resources, Role
from fleet.rules.situation import Situation, StepPlan
from tests.fleet.rules.checked import Checked
from tests.fleet.rules.happenings import (
    HAPPENINGS,
    WISHES,
    happen,
    lose_pod,
)
from tests.fleet.rules.test_rollout_walks import PLANS
from tests.fleet.rules.walk import make_spec, make_state

OPEN = sorted(set(Phase) - FINAL)
H = "NVIDIA-H100-80GB-HBM3"

PROMPT = {"name": "greets", "kind": "text", "prompt": "Say hello", "contains": ["hello"]}
CONTRACTS = ((), read_contract([PROMPT]))
SHADOWED = {"steps": (StepPlan(20, 10, 20, shadow=True), StepPlan(50, 10, 20))}
GROUPED = {
    "replicas": 2, "old_replicas": 2, "min_replicas": 2, "gpus_new": 3, "gpus_old": 3,
    "mixes": ({H: 3}, {H: 3}), "budget": {H: 9}, "lease": timedelta(seconds=30),
}  # fmt: skip
MOVES = PLANS | {"shadow first": SHADOWED, "prefill and decode": GROUPED}
GPUS = {"the only one": 1, "blue green": 8, "recreate": 4, "prefill and decode": 9}
PAIR = (Role("prefill", 1), Role("decode", 2))
NIXL = '--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_both"}'
EVENTS = ("nothing", *WISHES, *HAPPENINGS)
FORWARD = [Phase.VALIDATING, Phase.CANARY_VERIFYING, Phase.ANALYZING, Phase.PROMOTING,
           Phase.SOAKING, Phase.SUCCEEDED]  # fmt: skip
STARTS = [*FORWARD[:-1], Phase.ABORTING]


# Of prefill and decode: GPUs were held for ever, by decodes without prefill and by what was left of
# a release whose prefill somebody deleted.
MANY_DECODES = [(12, "gpu_lost"), (12, "heal"), (5, "nodes_lost"), (1, "twice"), (2, "resume")]
TORN = [
    (8, "breaks_contract"), (4, "gateway_lags"), (11, "slow_end"), (12, "answer_lost"),
    (0, "field_taken"), (8, "new_deleted"), (5, "gateway_follows"), (7, "gpu_lost"),
]  # fmt: skip


def begin(plan, contract):
    more = {"arguments": (NIXL,), "roles": PAIR} if plan == "prefill and decode" else {}
    specs = [make_spec(commit * 40, **more) for commit in "ab"]
    return Checked(make_state(**MOVES[plan], contract=contract), GPUS.get(plan, 6), *specs)


@pytest.mark.parametrize("plan", sorted(MOVES))
@settings(max_examples=250)  # thousands of walks in all
@given(
    start=st.sampled_from(STARTS),
    contract=st.sampled_from(CONTRACTS),
    events=st.lists(st.tuples(st.integers(0, 12), st.sampled_from(EVENTS)), min_size=1, max_size=8),
)
@example(start=Phase.VALIDATING, contract=(), events=MANY_DECODES)
@example(start=Phase.VALIDATING, contract=(), events=TORN)
@example(start=Phase.SOAKING, contract=(), events=[(1, "nodes_lost"), (1, "workers_away")])
@example(start=Phase.VALIDATING, contract=(), events=[(6, "abort"), (1, "nothing")])
def test_it_keeps_its_promises_whatever_happens(plan, start, contract, events):
    walk = begin(plan, contract)
    lead_to(walk, start)
    for passes, event in events:
        for _ in range(passes):
            if walk.state.phase not in FINAL:
                walk.step()
        happen(walk, event)
    heal(walk)
    see_through(walk)
    walk.keep()
    assert_declared(walk)


def lead_to(walk, start):
    """Nothing befalls it before; of a phase that its plan leaves out the next one counts."""
    if start in GOING_BACK:
        lead_to(walk, Phase.PROMOTING)
        happen(walk, "abort")
        walk.step()
        return
    walk.run(until={start, *(p for p in FORWARD if FORWARD.index(p) > FORWARD.index(start))})


COUNTS = st.integers(1, 5)


def planned_walk(kind, gpus, replicas, old_replicas, product=H):
    """As planned on a cluster that has what the plan asks for, and no GPU more. The old release
    is on H100.
    """
    new, old = gpus
    held = old_replicas * old
    nodes = [NodeRoom("n", H, 1000, held, leaving=held), NodeRoom("l", "NVIDIA-L40S", 1000, 0)]
    situation = Situation(
        product, new, old, replicas, old_replicas, nodes, mix_old={H: old},
        steps=(StepPlan(10, 10, 20), StepPlan(50, 10, 20)),
    )  # fmt: skip
    plan = plan_of(situation, kind)
    assert plan.answer in (Answer.POSSIBLE, Answer.NEEDS_CONSENT)
    state = make_state(
        kind=kind, replicas=replicas, old_replicas=old_replicas, surge=plan.surge,
        min_replicas=plan.min_replicas, gpus_new=new, gpus_old=old, budget=plan.budget,
        mixes=(situation.exchange.new, situation.exchange.old),
        steps=situation.steps if plan.gated else (),
    )  # fmt: skip
    both = (("a", Resources(H, old)), ("b", Resources(product, new)))
    specs = [make_spec(commit * 40, resources=resources) for commit, resources in both]
    there = Counter({H: held}) + Counter(plan.on_top)
    return Checked(state, dict(there), *specs)


@pytest.mark.parametrize("kind", [PlanKind.SURGE_CANARY, PlanKind.BLUE_GREEN, PlanKind.REPLACE])
@settings(max_examples=150, deadline=None)
@given(
    gpus=st.tuples(COUNTS, COUNTS),
    replicas=COUNTS,
    old_replicas=COUNTS,
    product=st.sampled_from([H, "NVIDIA-L40S"]),
    stop=st.integers(0, 60),
)
def test_a_plan_is_kept_with_exactly_the_gpus_that_it_asks_for(
    kind, gpus, replicas, old_replicas, product, stop
):
    """Of any GPUs a replica: it moves to its end, and back from wherever it is."""
    walk = planned_walk(kind, gpus, replicas, old_replicas, product)
    for _ in range(stop):
        if walk.state.phase not in FINAL:
            walk.step()
    stopped = pickle.loads(pickle.dumps(walk))
    walk.run()
    assert walk.state.phase is Phase.SUCCEEDED, walk.state.why
    if stopped.state.phase not in FINAL:
        happen(stopped, "abort")
        stopped.run()
        assert stopped.state.phase in (Phase.CANCELLED, Phase.ROLLED_BACK)
    assert_declared(stopped)


def test_it_goes_on_to_replicas_of_more_gpus_than_old_ones_free():
    """It waited in the promotion until its deadline: no old replica could go, no new one come."""
    walk = planned_walk(PlanKind.SURGE_CANARY, (3, 1), 4, 4)
    assert (walk.state.min_replicas, walk.cluster.gpus) == (4, {H: 13})
    walk.run()
    assert walk.state.phase is Phase.SUCCEEDED, walk.state.why


def test_it_compares_again_when_the_old_release_is_back():
    """Its Deployment was deleted while a step shifted: the other one carried everything."""
    walk = Checked(make_state(**MOVES["blue green"]), gpus=GPUS["blue green"])
    walk.run(until={Phase.SHIFTING})
    walk.cluster.load_ticks = 12
    happen(walk, "old_deleted")
    walk.run(until={Phase.ANALYZING})
    assert (walk.state.phase, walk.state.weight_new) == (Phase.ANALYZING, 100)
    walk.run(until={Phase.SHIFTING})
    assert "r1 answers again: 10 % of the traffic" in walk.state.why
    walk.run()
    assert walk.state.phase is Phase.SUCCEEDED, walk.state.why


def test_what_is_over_and_was_deleted_by_hand_is_not_made_again():
    """Its row still declared replicas when the rollout ended, and `keep` brought it back."""
    walk = Checked(make_state(**MOVES["surge"]))
    walk.run(until={Phase.CANARY_VERIFYING})
    walk.delete("new")
    walk.cluster.down = True
    happen(walk, "abort")
    walk.step()
    walk.step()
    lose_pod(walk)
    walk.cluster.down = False
    walk.run()
    walk.keep()
    assert walk.state.phase is Phase.ROLLED_BACK
    assert_declared(walk)


def heal(walk):
    """The outside becomes well, and whoever paused it goes on."""
    happen(walk, "cluster_up")
    happen(walk, "heal")
    happen(walk, "found_again")
    walk.errors, walk.per_second = 0.0, 20
    if walk.state.wish is Wish.PAUSE or walk.state.phase is Phase.PAUSED:
        happen(walk, "resume")


def see_through(walk):
    """To its end: a person resumes what pauses because requests came too late."""
    walk.step()  # what was resumed has moved on
    for _ in range(5):
        walk.run({*FINAL, Phase.PAUSED}, most=1500)
        if walk.state.phase in FINAL:
            return
        happen(walk, "resume")
        walk.step()
    raise AssertionError(f"paused again and again: {walk.state.why}")


def assert_declared(walk):
    """A final phase means: the cluster's spec is the recorded release, and nothing else."""
    assert walk.is_even()
    there = {k for k in walk.names if walk.wanted(k)}
    if walk.state.phase is Phase.SUCCEEDED:
        assert there == {"new"}
        assert walk.wanted("new") == walk.state.replicas
        assert walk.state.weight_new == 100
    else:
        assert there == ({"old"} if walk.state.has_old else set())
        assert walk.wanted("old") == walk.state.old_replicas
        assert walk.state.weight_new == 0
    gone = "old" if walk.state.phase is Phase.SUCCEEDED else "new"
    assert not walk.replicas(gone)


# None has steps: the first release has nothing to be compared with, or the old one is gone.
STEPLESS = {"first", "the only one", "recreate"}
CASES = [
    (plan, phase)
    for plan in sorted(PLANS)
    for phase in OPEN
    if not (plan in STEPLESS and phase in DIVIDED)
]


@pytest.mark.parametrize(("plan", "phase"), CASES)
def test_it_accepts_an_abort_in_every_phase(plan, phase):
    walk = Checked(make_state(**PLANS[plan]), gpus=GPUS.get(plan, 8))
    reach(walk, phase)
    walk.state = replace(walk.state, wish=Wish.ABORT, wish_by="olga", wish_at=walk.now)
    walk.run()
    assert walk.state.phase is (Phase.CANCELLED if phase in BEFORE_WRITES else Phase.ROLLED_BACK)
    assert_declared(walk)


def reach(walk, phase):
    if phase is Phase.AWAITING_STEP_APPROVAL:
        asking = tuple(replace(step, approval=True) for step in walk.state.steps)
        walk.state = replace(walk.state, steps=asking)
    if phase is Phase.PAUSED:
        walk.run(until={Phase.CANARY_VERIFYING})
        walk.state = replace(walk.state, wish=Wish.PAUSE)
    if phase in GOING_BACK:
        walk.run(until={Phase.CANARY_STARTING})
        walk.step()
        walk.state = replace(walk.state, wish=Wish.ABORT)
        if phase is Phase.ROLLBACK_BLOCKED:
            walk.state = replace(walk.state, phase=phase)
            return
    walk.run(until={phase})
    if phase is Phase.PREPARING:
        walk.step()


def test_it_cancels_while_nothing_was_written():
    walk = Checked(make_state()).run(until={Phase.PREPARING})
    walk.state = replace(walk.state, wish=Wish.ABORT)
    walk.run()
    assert walk.state.phase is Phase.CANCELLED


def test_it_takes_away_what_a_dead_worker_wrote_and_did_not_record():
    walk = Checked(make_state()).run(until={Phase.PREPARING})
    before = walk.state
    walk.step()
    walk.state = replace(before, wish=Wish.ABORT)
    walk.run()
    assert walk.state.phase is Phase.ROLLED_BACK
    assert_declared(walk)


def test_it_holds_no_more_gpus_than_planned():
    walk = Checked(make_state(kind=PlanKind.SURGE_CANARY, surge=2, replicas=6, old_replicas=6,
                              min_replicas=6), gpus=20)  # fmt: skip
    most = 0
    while walk.state.phase not in FINAL:
        walk.step()
        most = max(most, walk.held())
    assert most <= 8
