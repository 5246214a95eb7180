"""Whole rollouts, played on a cluster in memory: where they end, and why."""

from dataclasses import replace
from datetime import timedelta

import pytest

from fleet.rules.phases import FINAL, Cause, Phase, PlanKind, Wish
from fleet.rules.state import Approval
from tests.fleet.rules.walk import Walk, make_spec, make_state


def test_it_moves_everything_to_a_good_release_and_removes_the_old_one():
    walk = Walk(make_state()).run()
    assert walk.state.phase is Phase.SUCCEEDED, walk.state.why
    assert walk.cluster.serving(walk.names["new"]) == 4
    assert list(walk.cluster.deployments) == [walk.manifests["new"]["metadata"]["name"]]
    assert (walk.state.weight_old, walk.state.weight_new) == (0, 100)


def test_it_names_every_phase_on_the_way():
    walk = Walk(make_state()).run()
    assert walk.phases == [
        Phase.AWAITING_APPROVAL,
        Phase.PREPARING,
        Phase.CANARY_STARTING,
        Phase.CANARY_VERIFYING,
        Phase.SHIFTING,
        Phase.ANALYZING,
        Phase.SHIFTING,
        Phase.ANALYZING,
        Phase.PROMOTING,
        Phase.SOAKING,
        Phase.SUCCEEDED,
    ]


def test_it_replaces_in_place_when_no_gpu_is_free():
    state = make_state(kind=PlanKind.REPLACE, surge=0, min_replicas=3, gpus_new=2, gpus_old=2)
    two = replace(make_spec().resources, gpus=2)
    walk = Walk(state, gpus=8, old=make_spec(resources=two), new=make_spec("b" * 40, resources=two))
    walk.run()
    assert walk.state.phase is Phase.SUCCEEDED, walk.state.why
    assert walk.cluster.serving(walk.names["new"]) == 4


def test_it_replaces_the_only_replica_on_a_full_node():
    state = make_state(
        kind=PlanKind.REPLACE, replicas=1, old_replicas=1, min_replicas=0, surge=0, gpus_new=1
    )
    walk = Walk(state, gpus=1).run()
    assert walk.state.phase is Phase.SUCCEEDED, walk.state.why


def test_it_places_the_first_release_of_a_service():
    state = make_state(has_old=False, old_replicas=0, min_replicas=0, surge=2, replicas=2, steps=())
    walk = Walk(replace(state, weight_old=0)).run()
    assert walk.state.phase is Phase.SUCCEEDED, walk.state.why
    assert walk.state.weight_new == 100


FAULTS = {
    "crash": Cause.CRASH_LOOP,
    "oom": Cause.OUT_OF_MEMORY,
    "pull": Cause.IMAGE_PULL,
    "never_ready": Cause.NEVER_READY,
    "wrong_fingerprint": Cause.WRONG_ANSWER,
    "short_answers": Cause.WRONG_ANSWER,
    "quota": Cause.QUOTA,
    "hangs": Cause.NEVER_READY,
}
PLANS = {
    "surge": {},
    "in place": {"kind": PlanKind.REPLACE, "surge": 0, "min_replicas": 3},
    "the only one": {
        "kind": PlanKind.REPLACE,
        "surge": 0,
        "min_replicas": 0,
        "replicas": 1,
        "old_replicas": 1,
    },
    "blue green": {"kind": PlanKind.BLUE_GREEN, "surge": 4},
    "recreate": {"kind": PlanKind.RECREATE, "surge": 0, "min_replicas": 0},
    "first": {"has_old": False, "old_replicas": 0, "min_replicas": 0, "surge": 4, "weight_old": 0},
}


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("fault", FAULTS)
def test_it_goes_back_and_names_the_cause(fault, plan):
    walk = Walk(make_state(**PLANS[plan]), gpus=1 if plan == "the only one" else 8)
    walk.cluster.behave(walk.names["new"], fault)
    walk.run()
    assert walk.state.phase is Phase.ROLLED_BACK, walk.state.why
    assert walk.state.cause is FAULTS[fault]
    assert walk.cluster.serving(walk.names["old"]) == walk.state.old_replicas
    assert walk.manifests["new"]["metadata"]["name"] not in walk.cluster.deployments
    if walk.state.has_old:
        assert (walk.state.weight_old, walk.state.weight_new) == (100, 0)


def test_it_goes_back_when_the_canary_finds_no_place():
    walk = Walk(make_state(), gpus=4).run()
    assert walk.state.cause is Cause.UNSCHEDULABLE
    assert "Insufficient nvidia.com/gpu" in walk.state.why


def test_it_does_not_take_a_drain_for_a_fault():
    state = make_state(
        kind=PlanKind.REPLACE, surge=0, min_replicas=3, patience=timedelta(seconds=30)
    )
    walk = Walk(state, gpus=4)
    walk.cluster.drain_ticks = 12  # a minute, twice the patience
    walk.state = replace(walk.state, drain=timedelta(seconds=90))
    walk.run()
    assert walk.state.phase is Phase.SUCCEEDED, walk.state.why


def test_it_fails_the_gate_on_errors():
    walk = Walk(make_state(), errors=0.05).run()
    assert walk.state.cause is Cause.GATE_FAILED
    assert "error ratio" in walk.state.why


def test_it_fails_the_gate_on_slow_answers():
    walk = Walk(make_state(), slow=3).run()
    assert walk.state.cause is Cause.GATE_FAILED
    assert "TTFT p95" in walk.state.why


def test_it_pauses_without_traffic_and_says_how_many_samples_are_missing():
    walk = Walk(make_state(), per_second=0).run(until={Phase.PAUSED} | FINAL)
    assert walk.state.phase is Phase.PAUSED
    assert "20 of 20 requests of the canary are missing" in walk.state.why


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"counted": False}, "The traffic statistics cannot be read"),
        ({"late": "Usage is 300 s behind"}, "Usage is 300 s behind"),
    ],
)
def test_broken_monitoring_pauses_and_is_neither_a_pass_nor_a_bad_release(fault, told):
    walk = Walk(make_state(), **fault)
    walk.run(until={Phase.PAUSED} | FINAL)
    assert (walk.state.phase, walk.state.cause) == (Phase.PAUSED, None)
    assert f"The gate cannot be judged. {told}" in walk.state.why
    walk.counted, walk.late = True, ""
    walk.state = replace(walk.state, wish=Wish.RUN, wish_at=walk.now)
    assert walk.run().state.phase is Phase.SUCCEEDED, walk.state.why


def test_it_goes_on_when_a_person_resumes_and_samples_came():
    walk = Walk(make_state(), per_second=0).run(until={Phase.PAUSED})
    walk.per_second = 20
    walk.state = replace(walk.state, wish=Wish.RUN, wish_at=walk.now)
    walk.run()
    assert walk.state.phase is Phase.SUCCEEDED, walk.state.why


def test_it_skips_a_gate_that_a_person_answers_for():
    walk = Walk(make_state(), per_second=0).run(until={Phase.PAUSED})
    walk.state = replace(walk.state, skip_step=0, skip_by="olga")
    walk.step()
    assert (walk.state.phase, walk.state.step) == (Phase.SHIFTING, 1)


def test_it_aborts_by_itself_when_nobody_decides_about_a_pause():
    walk = Walk(make_state(longest_pause=timedelta(minutes=5)), per_second=0).run()
    assert walk.state.phase is Phase.ROLLED_BACK
    assert walk.state.cause is Cause.GATE_FAILED


ENDS = {
    "rejected": Phase.REJECTED,
    "expired": Phase.EXPIRED,
    "withdrawn": Phase.CANCELLED,
}


@pytest.mark.parametrize("answer", ENDS)
def test_it_ends_before_the_first_write_without_an_approval(answer):
    walk = Walk(make_state(approval=Approval(answer, "vic")))
    walk.cluster.calls.clear()
    walk.run()
    assert walk.state.phase is ENDS[answer]
    assert not [c for c in walk.cluster.calls if c[0] in ("apply", "delete")]


def test_it_keeps_the_phase_while_the_cluster_cannot_be_asked():
    walk = Walk(make_state()).run(until={Phase.ANALYZING})
    walk.cluster.down = True
    for _ in range(100):
        walk.step()
    assert walk.state.phase is Phase.ANALYZING
    assert "does not answer" in walk.state.why
    walk.cluster.down = False
    assert walk.run().state.phase is Phase.SUCCEEDED


def test_it_moves_traffic_back_even_while_the_cluster_cannot_be_asked():
    walk = Walk(make_state()).run(until={Phase.ANALYZING})
    walk.cluster.down = True
    walk.state = replace(walk.state, wish=Wish.ABORT, wish_by="olga")
    walk.step()
    assert (walk.state.weight_old, walk.state.weight_new) == (100, 0)
    walk.cluster.down = False
    assert walk.run().state.phase is Phase.ROLLED_BACK


def test_it_blocks_and_tries_on_when_the_old_release_does_not_come_back():
    walk = Walk(make_state(kind=PlanKind.REPLACE, surge=0, min_replicas=3), gpus=4)
    walk.run(until={Phase.PROMOTING})
    walk.step()
    walk.cluster.behave(walk.names["old"], "crash")
    walk.state = replace(walk.state, wish=Wish.ABORT)
    walk.run(until={Phase.ROLLBACK_BLOCKED})
    assert "r1 crashes" in walk.state.why
    walk.cluster.behave(walk.names["old"], "good")
    for pod in walk.cluster.pods.values():
        pod["status"].pop("containerStatuses", None)
    assert walk.run().state.phase is Phase.ROLLED_BACK


def test_a_number_that_somebody_gave_back_on_the_way_back_is_what_is_declared_at_its_end():
    """Noted while theirs was lower; nothing was left to write when it was as before again."""
    walk = Walk(make_state()).run(until={Phase.ANALYZING})
    walk.state = replace(walk.state, wish=Wish.ABORT)
    while walk.state.phase is not Phase.ROLLING_BACK or not walk.see().new.gone:
        walk.step()
    walk.state = replace(walk.state, declared_old=1)
    walk.run()
    assert walk.state.phase is Phase.ROLLED_BACK, walk.state.why
    assert walk.state.declared_old == 4


def test_it_goes_back_when_the_new_release_crashes_during_the_soak():
    walk = Walk(make_state(soak=timedelta(minutes=30))).run(until={Phase.SOAKING})
    walk.cluster.behave(walk.names["new"], "crash")
    walk.run()
    assert walk.state.phase is Phase.ROLLED_BACK
    assert walk.state.cause is Cause.CRASH_LOOP


MOVING = (
    Phase.PREPARING,
    Phase.CANARY_STARTING,
    Phase.CANARY_VERIFYING,
    Phase.SHIFTING,
    Phase.ANALYZING,
    Phase.PROMOTING,
    Phase.SOAKING,
)
TAKEN = [(phase, "old") for phase in MOVING] + [(phase, "new") for phase in MOVING[1:]]


@pytest.mark.parametrize(("phase", "which"), TAKEN)
def test_what_somebody_deletes_is_made_again_and_it_goes_on(phase, which):
    walk = Walk(make_state(soak=timedelta(seconds=60))).run(until={phase})
    walk.step()
    walk.delete(which)
    assert walk.step().mends
    walk.run()
    assert walk.state.phase is Phase.SUCCEEDED, walk.state.why
    assert walk.cluster.serving(walk.names["new"]) == 4


def test_a_step_whose_replicas_were_deleted_begins_anew():
    walk = Walk(make_state()).run(until={Phase.ANALYZING})
    walk.delete("new")
    decision = walk.step()
    assert (decision.phase, decision.step) == (Phase.SHIFTING, 0)
    assert decision.why == "Somebody deleted r2 in the cluster: it is made again"


def test_what_somebody_scales_down_is_applied_again():
    walk = Walk(make_state()).run(until={Phase.ANALYZING})
    name = walk.manifests["new"]["metadata"]["name"]
    walk.cluster.deployments[name]["spec"]["replicas"] = 0
    assert walk.step().why == "Somebody scaled r2 to 0: 1 are declared"
    assert walk.cluster.deployments[name]["spec"]["replicas"] == 1


def test_it_resumes_where_it_was_paused():
    walk = Walk(make_state()).run(until={Phase.CANARY_VERIFYING})
    walk.state = replace(walk.state, wish=Wish.PAUSE, wish_by="olga")
    walk.step()
    assert walk.state.phase is Phase.PAUSED
    walk.state = replace(walk.state, wish=Wish.RUN, wish_at=walk.now)
    walk.step()
    assert walk.state.phase is Phase.CANARY_VERIFYING


def held_until(walk, until):
    """Passes until a phase; answers the pairs of replicas (old, new) that had pods meanwhile."""
    found = []
    while walk.state.phase not in until:
        walk.step()
        seen = walk.see()
        found.append((len(seen.old.pods), len(seen.new.pods)))
    return found


def test_blue_green_brings_all_new_replicas_up_before_any_traffic_moves():
    walk = Walk(make_state(**PLANS["blue green"], steps=())).run(until={Phase.CANARY_VERIFYING})
    assert (walk.state.weight_old, walk.state.weight_new) == (100, 0)
    assert len(walk.see().new.pods) == 4
    walk.run(until={Phase.SOAKING})
    assert walk.cluster.serving(walk.names["old"]) == 4
    assert (walk.state.weight_old, walk.state.weight_new) == (0, 100)


def test_blue_green_goes_back_within_one_pass_as_long_as_the_window_is_open():
    walk = Walk(make_state(**PLANS["blue green"], soak=timedelta(minutes=30)))
    walk.run(until={Phase.SOAKING})
    walk.state = replace(walk.state, wish=Wish.ABORT, wish_by="olga")
    walk.step()
    assert (walk.state.weight_old, walk.state.weight_new) == (100, 0)
    assert walk.cluster.serving(walk.names["old"]) == 4
    assert walk.run().state.phase is Phase.ROLLED_BACK
    assert walk.state.memory.least_serving == 4


def test_recreate_never_has_replicas_of_both_releases():
    walk = Walk(make_state(**PLANS["recreate"]), gpus=8)
    pairs = held_until(walk, FINAL)
    assert walk.state.phase is Phase.SUCCEEDED, walk.state.why
    assert not [pair for pair in pairs if all(pair)]
    assert (0, 4) in pairs
    assert walk.state.memory.least_serving == 0


def test_recreate_takes_the_new_replicas_away_before_the_old_ones_come_back():
    walk = Walk(make_state(**PLANS["recreate"], soak=timedelta(minutes=30)), gpus=8)
    walk.run(until={Phase.SOAKING})
    walk.state = replace(walk.state, wish=Wish.ABORT, wish_by="olga")
    pairs = held_until(walk, FINAL)
    assert walk.state.phase is Phase.ROLLED_BACK, walk.state.why
    assert not [pair for pair in pairs if all(pair)]
    assert walk.cluster.serving(walk.names["old"]) == 4


def test_it_remembers_what_the_plan_is_compared_with():
    walk = Walk(make_state()).run()
    assert (walk.state.memory.most_gpus, walk.state.memory.least_serving) == (5, 4)
