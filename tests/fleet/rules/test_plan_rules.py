"""Where replicas fit, which ways there are, and what is said when there is none."""

from dataclasses import replace
from datetime import timedelta

import pytest

from fleet.rules.answers import Answer, Quota
from fleet.rules.fit import Need, NodeRoom, fit
from fleet.rules.phases import PlanKind
from fleet.rules.plan import Situation, Starts, StepPlan, plan_of, plans_of
from fleet.rules.proposal import read_steps, refuse_plan
from fleet.rules.starts import deadline_of, measured

H = "NVIDIA-H100-80GB-HBM3"


def nodes(*free, of=4, product=H):
    return [NodeRoom(f"n{i}", product, of, of - n) for i, n in enumerate(free)]


def make_situation(**changes):
    fields = {
        "product": H,
        "gpus_new": 1,
        "gpus_old": 1,
        "replicas": 4,
        "old_replicas": 4,
        "nodes": nodes(2, 2),
        "starts_new": Starts(5, 60, 90, "r2"),
        "starts_old": Starts(5, 60, 90, "r1"),
        "steps": (StepPlan(10, 60, 50),),
        "soak_seconds": 600,
    }
    return Situation(**fields | changes)


FITS = {
    "whole replicas only": (nodes(4, 4), Need(H, 8, 1), (), 0),
    "one on each node": (nodes(4, 4), Need(H, 4, 2), (), 2),
    "rests do not add up": (nodes(3, 3), Need(H, 2, 3), (), 2),
    "another product": (nodes(4, product="NVIDIA-L40S"), Need(H, 1, 1), (), 0),
    "any product": (nodes(4, product="NVIDIA-L40S"), Need("", 1, 1), (), 4),
    "others claim first": (nodes(2, 2), Need(H, 2, 1), (Need(H, 1, 3),), 0),
    "claims fill the fullest node": (nodes(1, 4), Need(H, 4, 1), (Need(H, 1, 1),), 1),
    "claims that find no room": (nodes(2), Need(H, 1, 1), (Need(H, 4, 9),), 2),
    "claims of another product": (nodes(2), Need(H, 1, 1), (Need("NVIDIA-L40S", 1, 2),), 2),
}


@pytest.mark.parametrize("case", FITS)
def test_it_counts_places(case):
    rooms, need, claims, want_places = FITS[case]
    assert fit(rooms, need, claims).places == want_places


def test_it_uses_no_node_that_is_out():
    out = replace(nodes(4)[0], usable=False)
    found = fit([out], Need(H, 1, 1))
    assert (found.places, found.ever) == (0, 4)


ANSWERS = {
    "room for a canary": ({}, PlanKind.SURGE_CANARY, Answer.POSSIBLE, "1 H100"),
    "full now": (
        {"nodes": nodes(0, 0)}, PlanKind.SURGE_CANARY, Answer.NOT_NOW, "1 H100-80GB-HBM3 missing"),
    "claimed": (
        {"claims": (Need(H, 1, 4),)}, PlanKind.SURGE_CANARY, Answer.NOT_NOW, "claimed by other"),
    "no such product": ({"nodes": []}, PlanKind.SURGE_CANARY, Answer.NEVER, "No node has"),
    "too large": (
        {"gpus_new": 8}, PlanKind.SURGE_CANARY, Answer.NEVER, "fits on no node"),
    "in place": ({}, PlanKind.REPLACE, Answer.POSSIBLE, "3 of 4 replicas answer"),
    "the only one": (
        {"replicas": 1, "old_replicas": 1}, PlanKind.REPLACE, Answer.NEEDS_CONSENT, "No replica"),
    "more than before": (
        {"replicas": 8, "nodes": nodes(0, 0)}, PlanKind.REPLACE, Answer.NOT_NOW, "4 GPUs more"),
}  # fmt: skip


@pytest.mark.parametrize("case", ANSWERS)
def test_it_says_whether_a_way_is_open_and_which_number_is_missing(case):
    changes, kind, want_answer, want_words = ANSWERS[case]
    plan = plan_of(make_situation(**changes), kind)
    assert plan.answer is want_answer, plan.why
    assert want_words in plan.why


def test_it_proposes_what_is_possible_first():
    kinds = [p.kind for p in plans_of(make_situation(nodes=nodes(0, 0)))]
    assert kinds == [PlanKind.REPLACE, PlanKind.SURGE_CANARY]


def test_it_never_fits_where_all_nodes_together_are_too_few():
    plan = plans_of(make_situation(old_replicas=0, replicas=9, nodes=nodes(4, 4)))[0]
    assert plan.answer is Answer.NEVER
    assert "together have room for 8" in plan.why


def test_it_promises_times_from_measured_starts_only():
    known = plan_of(make_situation(), PlanKind.REPLACE)
    assert known.full_back_seconds == 4 * (90 + 120)
    unknown = plan_of(make_situation(starts_new=Starts(), starts_old=Starts()), PlanKind.REPLACE)
    assert (unknown.full_back_seconds, unknown.finish_seconds) == (None, None)
    assert len(unknown.unmeasured) == 2
    borrowed = replace(Starts(5, 60, 90, "r1"), borrowed=True)
    assert plan_of(make_situation(starts_new=borrowed), PlanKind.REPLACE).unmeasured


def test_it_refuses_to_propose_without_consent():
    alone = plan_of(make_situation(replicas=1, old_replicas=1), PlanKind.REPLACE)
    assert "consent" in refuse_plan(alone, consent=False)
    assert refuse_plan(alone, consent=True) == ""


def test_it_measures_percentiles_by_rank():
    found = measured([float(n) for n in range(1, 101)], "r1")
    assert (found.samples, found.p50, found.p95) == (100, 50.0, 95.0)
    assert measured([], "r1").p95 is None


DEADLINES = {
    "never measured": (Starts(), 1800, 1800),
    "ten minutes at least": (Starts(9, 10, 20, "r"), 1800, 600),
    "twice the p95": (Starts(9, 300, 400, "r"), 1800, 800),
    "never above the release's own": (Starts(9, 300, 2000, "r"), 1800, 1800),
    "a release with little patience": (Starts(9, 3, 5, "r"), 30, 30),
}


@pytest.mark.parametrize("case", DEADLINES)
def test_it_learns_deadlines(case):
    starts, own, want = DEADLINES[case]
    assert deadline_of(starts, own) == timedelta(seconds=want)


def test_it_reads_steps_and_refuses_others():
    good = {"percent": 10, "hold_seconds": 60, "min_samples": 5}
    assert read_steps([good]) == (StepPlan(10, 60, 5),)
    for bad, words in (
        ([good, good], "must rise"),
        ([good | {"percent": 100}], "between 1 and 99"),
        ([good | {"hold_seconds": -1}], "hold"),
        ([good | {"min_samples": 0}], "samples"),
        ([good | {"min_samples": True}], "whole numbers"),
        ([good | {"weight": 1}], "no weight"),
        ([good] * 13, "at most 12"),
    ):
        with pytest.raises(ValueError, match=words):
            read_steps(bad)
