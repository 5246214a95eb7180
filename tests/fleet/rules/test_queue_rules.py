"""Whose turn it is where GPUs do not suffice for two rollouts at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.rules.answers import Answer, Quota
from fleet.rules.fit import Need, NodeRoom
from fleet.rules.queue import Ahead, turn, waits

H = "NVIDIA-H100-80GB-HBM3"


def node(free: int, product: str = H) -> NodeRoom:
    return NodeRoom("n", product, 8, 8 - free)


def ahead(gpus: int, *, began: bool = False, product: str = H) -> Ahead:
    return Ahead("RO-5 of chat", (Need(product, 1, gpus),), began)


TURNS = {
    "room for both": (4, 2, (ahead(2),), Answer.POSSIBLE),
    "room for one": (4, 3, (ahead(2),), Answer.QUEUED),
    "what began gives back": (1, 3, (ahead(2, began=True),), Answer.QUEUED),
    "and that is not enough": (1, 4, (ahead(2, began=True),), Answer.NOT_NOW),
    "nobody is ahead": (1, 2, (), Answer.NOT_NOW),
    "others want another product": (1, 2, (ahead(4, product="NVIDIA-L40S"),), Answer.NOT_NOW),
    "it never fits": (8, 9, (ahead(2),), Answer.NEVER),
}


@pytest.mark.parametrize("case", TURNS)
def test_it_says_whose_turn_it_is(case):
    free, wanted, before, want = TURNS[case]
    answer, why = turn([node(free)], [Need(H, 1, wanted)], (), before)
    assert answer is want, why
    assert ("It waits for RO-5 of chat" in why) is (want is Answer.QUEUED)


def test_a_quota_that_nobody_gives_back_is_no_queue():
    spent = (Quota("gpus", 10, 10),)
    assert turn([node(0)], [Need(H, 1, 2)], spent, (ahead(1, began=True),))[0] is Answer.NOT_NOW
    assert turn([node(0)], [Need(H, 1, 2)], spent, (ahead(2, began=True),))[0] is Answer.QUEUED


def test_who_needs_nothing_on_top_waits_for_nobody():
    assert waits([node(0)], [Need(H, 1, 0)], (), (ahead(2),)) == ""


@given(
    st.integers(0, 8),
    st.lists(st.tuples(st.integers(1, 8), st.booleans()), max_size=4),
    st.integers(1, 8),
)
def test_somebody_always_has_the_turn(free, others, wanted):
    """The oldest of those that did not begin waits only for what began."""
    queue = [ahead(n, began=began) for n, began in others]
    first = waits([node(free)], [Need(H, 1, wanted)], (), [a for a in queue if a.began])
    assert not first or any(a.began for a in queue)
