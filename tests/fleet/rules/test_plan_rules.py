"""Where replicas fit, which ways there are, and what is said when there is none."""

from dataclasses import replace
from datetime import timedelta

import pytest

from fleet.rules.answers import Answer, Quota
from fleet.rules.fit import Need, NodeRoom, fit
from fleet.rules.outcome import Happened, compare
from fleet.rules.phases import PlanKind
from fleet.rules.plan import plan_of, plans_of
from fleet.rules.proposal import read_steps, refuse_plan
from fleet.rules.queue import Ahead
from fleet.rules.situation import Situation, Starts, StepPlan
from fleet.rules.starts import deadline_of, measured

H = "NVIDIA-H100-80GB-HBM3"


def nodes(*free, of=4, product=H):
    return [NodeRoom(f"n{i}", product, of, of - n) for i, n in enumerate(free)]


def held(*by_old, of=4, product=H):
    """Nodes on which the old release holds so many GPUs and nobody else any."""
    return [NodeRoom(f"o{i}", product, of, n, leaving=n) for i, n in enumerate(by_old)]


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
        {"ahead": (Ahead("RO-5 of chat", (Need(H, 1, 4),), began=False),)}, PlanKind.SURGE_CANARY,
        Answer.QUEUED, "claimed by other rollouts. It waits for RO-5 of chat"),
    "held by one that began": (
        {"nodes": nodes(0), "ahead": (Ahead("RO-5 of chat", (Need(H, 1, 4),), began=True),)},
        PlanKind.SURGE_CANARY, Answer.QUEUED, "It waits for RO-5 of chat"),
    "no such product": ({"nodes": []}, PlanKind.SURGE_CANARY, Answer.NEVER, "No node has"),
    "too large": (
        {"gpus_new": 8}, PlanKind.SURGE_CANARY, Answer.NEVER, "fits on no node"),
    "in place": ({}, PlanKind.REPLACE, Answer.POSSIBLE, "3 of 4 replicas answer"),
    "the only one": (
        {"replicas": 1, "old_replicas": 1}, PlanKind.REPLACE, Answer.NEEDS_CONSENT, "No replica"),
    "more than before": (
        {"replicas": 8, "nodes": nodes(0, 0)}, PlanKind.REPLACE, Answer.NOT_NOW, "4 GPUs more"),
    "all of it beside the old one": (
        {"nodes": nodes(4, 4)}, PlanKind.BLUE_GREEN, Answer.POSSIBLE, "4 of 4 replicas beside"),
    "half of it": (
        {"nodes": nodes(1, 1)}, PlanKind.BLUE_GREEN, Answer.NOT_NOW, "2 H100-80GB-HBM3 missing"),
    "only where the old one stands": (
        {"nodes": held(4)}, PlanKind.BLUE_GREEN, Answer.NEVER,
        "have room for 0 beside the 4 that the old release holds"),
    "all at once on its own GPUs": (
        {"nodes": held(4)}, PlanKind.RECREATE, Answer.NEEDS_CONSENT, "while all 4 are replaced"),
    "larger than what comes free": (
        {"nodes": held(4), "gpus_new": 2}, PlanKind.RECREATE, Answer.NEVER,
        "Even after the old release has left: 4 replicas of 2"),
    "other GPUs than the old ones": (
        {"nodes": [*held(4), *nodes(0, product="NVIDIA-L40S")], "product": "NVIDIA-L40S"},
        PlanKind.REPLACE, Answer.NOT_NOW, "4 L40S missing"),
    "a quota with too little left": (
        {"quotas": (Quota("gpus", 10, 9),), "nodes": nodes(4, 4)}, PlanKind.BLUE_GREEN,
        Answer.NOT_NOW, "leaves 1 of 10 GPUs, 4 needed: 3 missing"),
    "a quota for a smaller surge": (
        {"quotas": (Quota("gpus", 10, 9),), "steps": (StepPlan(50, 9, 9),)},
        PlanKind.SURGE_CANARY, Answer.POSSIBLE, "1 of 4 replicas at a time"),
    "a quota that is too small for ever": (
        {"quotas": (Quota("gpus", 7, 4),), "nodes": nodes(4, 4)}, PlanKind.BLUE_GREEN,
        Answer.NEVER, "allows 7 GPUs in all, 8 needed at once, 4 of them by the old release"),
    "a quota that the old one fills": (
        {"quotas": (Quota("gpus", 4, 4),), "nodes": held(4)}, PlanKind.REPLACE,
        Answer.POSSIBLE, "No GPU on top"),
    "less than a budget asks for": (
        {"floor": 4}, PlanKind.REPLACE, Answer.NEEDS_CONSENT, "asks for 4 answering replicas, 3"),
    "others want what comes free": (
        {"nodes": held(4), "ahead": (Ahead("RO-5 of chat", (Need(H, 2, 1),), began=False),)},
        PlanKind.REPLACE, Answer.POSSIBLE, "3 of 4"),
    "a clique across nodes": (
        {"gpus_new": 8, "nodes": [replace(n, clique="a.1") for n in nodes(4, 4)]},
        PlanKind.BLUE_GREEN, Answer.NEVER, "clique has 8, but a replica does not span nodes"),
}  # fmt: skip


TIGHT = [*held(4, of=6), *nodes(6, of=6)]
LARGER = {"gpus_new": 3, "nodes": [*held(4), *nodes(*[6, 3], of=6)]}
EXCHANGES = {
    "larger replicas beside smaller ones": (
        LARGER, PlanKind.SURGE_CANARY, Answer.POSSIBLE,
        "9 H100-80GB-HBM3 on top, 9 free: 1 of 4 replicas at a time, never below 100 %. A new"
        " replica takes 3 H100-80GB-HBM3, an old one frees 1", (9, 4)),
    "one GPU less": (
        LARGER | {"nodes": TIGHT}, PlanKind.SURGE_CANARY, Answer.NEVER,
        "have room for 2 beside the 4 that the old release holds. Replace in place fits", (9, 4)),
    "others hold them": (
        LARGER | {"nodes": [*TIGHT, NodeRoom("b", H, 3, 3)]}, PlanKind.SURGE_CANARY, Answer.NOT_NOW,
        "3 H100-80GB-HBM3 missing: 9 needed as whole replicas of 3, 8 free. Replace in place fits",
        (9, 4)),
    "in place it keeps one less": (
        LARGER | {"nodes": TIGHT}, PlanKind.REPLACE, Answer.POSSIBLE,
        "8 H100-80GB-HBM3 on top: 3 of 4 replicas answer meanwhile (75 %)", (8, 3)),
    "smaller replicas": (
        {"gpus_old": 3, "nodes": [*held(12, of=12), *nodes(1)]}, PlanKind.SURGE_CANARY,
        Answer.POSSIBLE, "1 H100-80GB-HBM3 on top", (1, 4)),
    "half as many of twice the size": (
        {"gpus_new": 2, "replicas": 2, "nodes": held(4)}, PlanKind.REPLACE, Answer.POSSIBLE,
        "1 of 4 replicas answer meanwhile (25 %)", (0, 1)),
    "fewer in the end": (
        {"replicas": 2}, PlanKind.SURGE_CANARY, Answer.POSSIBLE,
        "never below the 2 that are wanted in the end", (1, 2)),
    "more in the end": (
        {"replicas": 6, "nodes": nodes(1, of=4)}, PlanKind.SURGE_CANARY, Answer.NOT_NOW,
        "1 H100-80GB-HBM3 missing: 2 needed", (2, 4)),
    "where the old ones stand nobody may start": (
        {"nodes": [replace(*held(4), usable=False), *nodes(2)]}, PlanKind.SURGE_CANARY,
        Answer.NOT_NOW, "Even after the old release has left: 2 H100", (1, 4)),
}  # fmt: skip


@pytest.mark.parametrize("case", EXCHANGES)
def test_it_promises_the_minimum_that_its_gpus_can_keep(case):
    changes, kind, want_answer, want_words, want_numbers = EXCHANGES[case]
    plan = plan_of(make_situation(**changes), kind)
    assert plan.answer is want_answer, plan.why
    assert want_words in plan.why
    assert (plan.gpus_on_top, plan.min_replicas) == want_numbers
    assert not plan.gpus_missing or want_answer in (Answer.NOT_NOW, Answer.NEVER)


L = "NVIDIA-L40S"
# A replica is 2 pods on H and 1 on L; the old one is 2 on H.
MIXED = {
    "product": "", "gpus_new": 3, "gpus_old": 2, "replicas": 2, "old_replicas": 2,
    "mixed_new": {H: (1, 1), L: (1,)}, "mix_old": {H: 2}, "pods_old": (1, 1),
}  # fmt: skip
PRODUCTS = {
    "both are free": (
        [*held(4), *nodes(2), NodeRoom("l", L, 4, 2)], PlanKind.SURGE_CANARY, Answer.POSSIBLE,
        "2 H100-80GB-HBM3 and 2 L40S on top", {H: 2, L: 2}),
    "one is missing": (
        [*held(4), *nodes(4), NodeRoom("l", L, 4, 3)], PlanKind.SURGE_CANARY, Answer.NOT_NOW,
        "1 L40S missing: 2 needed", {H: 2, L: 2}),
    "nobody has it": (
        [*held(4), *nodes(4)], PlanKind.BLUE_GREEN, Answer.NEVER, "No node has L40S",
        {H: 4, L: 2}),
    "in place the new product is on top": (
        [*held(4), NodeRoom("l", L, 4, 2)], PlanKind.REPLACE, Answer.POSSIBLE,
        "2 L40S on top: 1 of 2 replicas answer meanwhile", {L: 2}),
}  # fmt: skip


@pytest.mark.parametrize("case", PRODUCTS)
def test_it_counts_each_gpu_product_for_itself(case):
    found, kind, want_answer, want_words, want_gpus = PRODUCTS[case]
    plan = plan_of(make_situation(**MIXED, nodes=found), kind)
    assert plan.answer is want_answer, plan.why
    assert want_words in plan.why
    assert plan.on_top == want_gpus


def test_a_quota_of_one_product_counts_its_gpus_alone():
    rooms = [*held(4), *nodes(4), NodeRoom("l", L, 4, 0)]
    quotas = (Quota("gpus", 100, 4), Quota("queue", 3, 2, L))
    plan = plan_of(make_situation(**MIXED, nodes=rooms, quotas=quotas), PlanKind.BLUE_GREEN)
    assert "The quota queue leaves 1 of 3 GPUs, 2 needed: 1 missing" in plan.why
    assert (plan.quota, plan.quota_free, plan.quota_needed) == ("queue", 1, 2)


def test_it_says_that_gpus_which_come_free_one_by_one_may_be_on_several_nodes():
    larger = make_situation(**LARGER)
    words = "when 3 GPUs come free on one node: old replicas free 1 each, on whichever nodes"
    assert words in plan_of(larger, PlanKind.SURGE_CANARY).unmeasured
    assert words not in plan_of(larger, PlanKind.BLUE_GREEN).unmeasured
    assert words not in plan_of(make_situation(), PlanKind.SURGE_CANARY).unmeasured


@pytest.mark.parametrize("case", ANSWERS)
def test_it_says_whether_a_way_is_open_and_which_number_is_missing(case):
    changes, kind, want_answer, want_words = ANSWERS[case]
    plan = plan_of(make_situation(**changes), kind)
    assert plan.answer is want_answer, plan.why
    assert want_words in plan.why


def test_it_proposes_what_is_possible_first():
    kinds = [p.kind for p in plans_of(make_situation(nodes=nodes(0, 0)))]
    assert kinds == [
        PlanKind.REPLACE, PlanKind.RECREATE, PlanKind.SURGE_CANARY, PlanKind.BLUE_GREEN,
    ]  # fmt: skip


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


def test_it_says_how_long_nobody_answers_and_how_many_requests_that_is():
    plan = plan_of(make_situation(requests_an_hour=3600), PlanKind.RECREATE)
    assert (plan.min_replicas, plan.min_percent, plan.gated) == (0, 0, False)
    assert (plan.gap_seconds, plan.requests_at_risk) == (90 + 120, 210)
    assert plan.finish_seconds == 90 + 120 + 600
    assert plan.full_back_seconds == 90 + 120
    unknown = plan_of(make_situation(starts_new=Starts()), PlanKind.RECREATE)
    assert (unknown.gap_seconds, unknown.requests_at_risk) == (None, None)


def test_it_counts_for_how_long_gpus_are_held_on_top():
    plan = plan_of(make_situation(nodes=nodes(4, 4)), PlanKind.BLUE_GREEN)
    assert plan.finish_seconds == 90 + 60 + 600
    assert plan.gpu_seconds_on_top == 4 * 750
    assert (plan.full_back_seconds, plan.late_back_seconds) == (5, 5)


def test_a_canary_goes_back_slowly_once_the_old_release_has_shrunk():
    plan = plan_of(make_situation(), PlanKind.SURGE_CANARY)
    assert (plan.full_back_seconds, plan.late_back_seconds) == (5, 3 * (90 + 120))


def test_it_says_that_a_quota_could_not_be_read():
    plan = plan_of(make_situation(quotas=None), PlanKind.SURGE_CANARY)
    assert plan.answer is Answer.POSSIBLE
    assert plan.quota_free is None
    assert "quota of the namespace: it could not be read" in plan.unmeasured


PLANNED = {
    "plan": {"finish_seconds": 100, "gpus_on_top": 2, "min_replicas": 4,
             "gpu_seconds_on_top": 7200,
             "traffic_back_seconds": 5, "full_back_seconds": 5, "late_back_seconds": 200},
    "numbers": {"old_replicas": 4, "gpus_old": 1},
    "starts": {"p95": 60},
}  # fmt: skip
OUTCOMES = {
    "as planned": (
        PLANNED, Happened(109, 6, 4, 2, 61, over=True, gpu_hours=2.1),
        "kept kept kept kept kept open open"),
    "longer, more, less": (
        PLANNED, Happened(111, 7, 3, 1, 90, over=True, gpu_hours=2.3),
        "missed missed missed missed missed open open"),
    "went back at once": (
        PLANNED, Happened(None, 5, 4, 1, 60, 3, 5, over=True, gpu_hours=0.1),
        "open kept kept kept kept kept kept"),
    "went back after everything had moved": (
        PLANNED, Happened(None, 6, 4, 4, 60, 3, 180, late=True, over=True, gpu_hours=2.0),
        "open kept kept kept kept kept kept"),
    "goes on": (
        PLANNED, Happened(None, 6, 4, gpu_hours=0.5), "open kept open kept open open open"),
    "not begun": (PLANNED, Happened(), " ".join(["open"] * 7)),
    "nothing was measured then": (
        {"plan": {}, "numbers": {}}, Happened(1, 1, 1, 1, 1, 1, 1, over=True, gpu_hours=1.0),
        " ".join(["unknown"] * 7)),
}  # fmt: skip


def test_it_says_how_much_was_held_so_far_and_how_starts_began():
    told = {c.name: c.text for c in compare(
        PLANNED, Happened(None, 6, 4, 4, 60, gpu_hours=0.5, warm_starts=3, cold_starts=1)
    )}  # fmt: skip
    assert told["GPU hours on top"] == "0.50 GPU hours so far"
    assert told["Cold start"] == "4 starts seen, 3 with the image there, 1 without it"


@pytest.mark.parametrize("case", OUTCOMES)
def test_it_compares_a_plan_with_what_happened(case):
    plan, found, want = OUTCOMES[case]
    assert " ".join(c.verdict for c in compare(plan, found)) == want


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
