"""Pods of an engine together and alone: what is refused, rendered, counted and said of it."""

import json
from dataclasses import replace

import pytest

from fleet.queries.plans import topology_check
from fleet.rules.answers import Answer, judge
from fleet.rules.fit import Need, NodeRoom, fit
from fleet.rules.manifests import deployments_of, render, workload
from fleet.rules.members import EXCLUSIVE, SUBGROUP_EXCLUSIVE
from fleet.rules.pinning import Limits, refuse_release
from fleet.rules.release import Resources, canonical, digest_of, spec_from
from fleet.rules.topology import CLIQUE, refuse_placement
from tests.fleet.rules.walk import make_spec

LIMITS = Limits(max_model_len=4096, largest_node=4, largest_clique=16)
SIXTEEN = ("--tensor-parallel-size=4", "--pipeline-parallel-size=4")


def make_together(topology=CLIQUE, subgroup=0, size=4):
    resources = Resources(
        "NVIDIA-L40S", 4, group_size=size, topology=topology, subgroup_size=subgroup
    )
    return make_spec(resources=resources, arguments=SIXTEEN)


def made(spec, sets="v1"):
    (found,) = deployments_of(workload(render(spec, "models", 4096, sets)))
    return found


def test_it_is_part_of_the_digest_only_where_it_is_asked_for():
    plain = make_together(topology="")
    assert "topology" not in json.dumps(canonical(plain))
    assert digest_of(make_together()) != digest_of(plain)
    assert spec_from(**canonical(make_together(subgroup=2))) == make_together(subgroup=2)


def test_the_whole_engine_has_a_clique_of_its_own():
    found = made(make_together())
    assert found["metadata"]["annotations"][EXCLUSIVE] == "nvidia.com/gpu.clique"
    assert SUBGROUP_EXCLUSIVE not in found["metadata"]["annotations"]
    assert "subGroupPolicy" not in found["spec"]["leaderWorkerTemplate"]
    plain = made(make_together(topology=""))
    assert not {EXCLUSIVE, SUBGROUP_EXCLUSIVE} & plain["metadata"]["annotations"].keys()


def test_parts_of_an_engine_have_one_each():
    found = made(make_together("example.com/rack", 2))
    assert found["metadata"]["annotations"][SUBGROUP_EXCLUSIVE] == "example.com/rack"
    assert EXCLUSIVE not in found["metadata"]["annotations"]
    assert found["spec"]["leaderWorkerTemplate"]["subGroupPolicy"] == {"subGroupSize": 2}


REFUSED = {
    "no label": (make_together("not a label"), "is not a label of nodes"),
    "parts of nothing": (make_together("", 2), "say by which label of nodes"),
    "unequal parts": (make_together(subgroup=3), "is not divided into equal parts"),
    "the whole as a part": (make_together(subgroup=4), "is not divided into equal parts"),
    "one pod": (
        make_spec(resources=Resources("NVIDIA-L40S", 4, topology=CLIQUE), arguments=SIXTEEN[:1]),
        "an engine of one pod is on one node anyway",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_sense_is_refused(case):
    spec, sentence = REFUSED[case]
    assert any(sentence in said for _, said in refuse_release(spec, LIMITS))


def test_what_no_clique_can_hold_is_refused_with_the_numbers():
    assert not list(refuse_release(make_together(), LIMITS))
    small = replace(LIMITS, largest_clique=8)
    ((_, said),) = refuse_release(make_together(), small)
    assert said == (
        "4 pods of 4 GPUs have to be in one fabric clique: 16 GPUs, the largest has 8"
    )  # fmt: skip
    assert not list(refuse_release(make_together(subgroup=2), small))
    assert not list(refuse_release(make_together("example.com/rack"), small))


def test_a_cluster_without_leader_worker_sets_cannot_keep_it():
    assert refuse_placement(make_together(topology=""), "") == ""
    assert refuse_placement(make_together(), "v1") == ""
    assert "the cluster has no LeaderWorkerSet" in refuse_placement(make_together(), "")
    assert EXCLUSIVE not in str(render(make_together(), "models", 4096))


@pytest.mark.parametrize(
    ("spec", "sets", "verdict", "words"),
    [
        (make_together(), "", "fail", "no LeaderWorkerSet"),
        (make_together(), "v1", "pass", "all pods of an engine on nodes of one nvidia.com/gpu.cli"),
        (make_together(subgroup=2), "v1", "pass", "each 2 pods on nodes of one"),
        (make_together("example.com/rack"), "v1", "warn", "which nodes have it is not counted"),
    ],
)
def test_the_plan_says_it(spec, sets, verdict, words):
    row = topology_check(spec, sets)
    assert (row.verdict, words in row.text) == (verdict, True)


def rooms(*, leaving=0, used=0):
    """Two cliques of two nodes with 4 GPUs, one node without a clique."""
    names = (("a1", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b"), ("c1", ""))
    return [
        NodeRoom(n, "L40S", 4, used if n == "b1" else leaving if n == "a1" else 0, clique=c,
                 leaving=leaving if n == "a1" else 0) for n, c in names
    ]  # fmt: skip


WHOLE = Need("L40S", 8, 1, (4, 4), together=2)


def test_each_clique_is_a_place_for_one_group():
    assert fit(rooms(), WHOLE).places == 2
    assert fit(rooms(), replace(WHOLE, together=0)).places == 2
    parts = Need("L40S", 16, 1, (4, 4, 4, 4), together=2)
    assert fit(rooms(), parts).places == 1
    assert fit(rooms(), replace(parts, together=4)).places == 0


def test_a_clique_of_the_old_release_is_none_before_it_has_left():
    held = rooms(leaving=4)
    assert fit(held, WHOLE).places == 1
    assert fit(held, WHOLE, vacated=True).places == 2


def test_the_answer_names_cliques():
    two = replace(WHOLE, replicas=2)
    answer, why = judge([two], [fit(rooms(used=1), two)])
    assert answer is Answer.NOT_NOW
    assert why == (
        "1 of 2 replicas find no fabric clique that is free for 2 pods of 4 L40S alone in one"
        " clique: 2 cliques, 19 GPUs free in all"
    )
    many = replace(WHOLE, replicas=3)
    answer, why = judge([many], [fit(rooms(), many)])
    assert (answer, "2 cliques have room for 2" in why) == (Answer.NEVER, True)
