"""The stand-in of LeaderWorkerSet makes the pods that the real one was seen to make."""

import pytest

from tests.fixtures.group_set_pods import CLIQUE, EXAMPLES, RECORDED, example, facts_of, pod_of


@pytest.mark.parametrize("kind", EXAMPLES)
def test_the_stand_in_makes_the_recorded_pods(kind):
    owner = example(kind, "NVIDIA-L40S", "registry.local/none@sha256:" + "0" * 64)
    place = next(iter(RECORDED["alone"][1]["places"].values()))
    made = [
        facts_of(pod_of(owner, "models", 0, rank, place))
        for rank in range(owner["spec"]["leaderWorkerTemplate"]["size"])
    ]
    assert made == RECORDED[kind]


def test_workers_alone_with_their_leader_go_where_it_is():
    leader, worker = RECORDED["alone"]
    assert (leader["places"], list(worker["places"])) == ({}, [CLIQUE])
