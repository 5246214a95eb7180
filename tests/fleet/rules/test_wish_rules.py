"""What may be wished of rollouts and of sequences, in every phase and after every wish."""

from itertools import product

import pytest

from fleet.rules import phases, sequence
from fleet.rules.wishes import ROLLOUTS, SEQUENCES, ends_unmoved, refuse_wish

REFUSED = {
    "an end": (ROLLOUTS, "succeeded", "run", "abort", "has ended as succeeded"),
    "a pause of the way back": (ROLLOUTS, "aborting", "run", "pause", "is going back"),
    "a return from the way back": (ROLLOUTS, "promoting", "abort", "run", "is going back"),
    "a pause before anything moves": (ROLLOUTS, "validating", "run", "pause", "is validating"),
    "going on unpaused": (ROLLOUTS, "analyzing", "run", "run", "is not paused"),
    "going on before anything moves": (ROLLOUTS, "validating", "run", "run", "is not paused"),
    "a sequence that ended": (SEQUENCES, "expired", "run", "end", "has ended as expired"),
    "a pause of its way back": (SEQUENCES, "rolling_back", "run", "pause", "is going back"),
    "back before its approval": (
        SEQUENCES, "awaiting_approval", "run", "roll_back", "waits for its approval"),
    "a sequence that runs": (SEQUENCES, "running", "run", "run", "is not paused"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_it_refuses(case):
    manner, phase, before, wanted, words = REFUSED[case]
    said = refuse_wish(manner, "It", phase, before, wanted)
    assert said.startswith("It ")
    assert words in said


TAKEN = {
    "an abort of an abort": (ROLLOUTS, "aborting", "abort", "abort"),
    "an abort before anything moves": (ROLLOUTS, "awaiting_approval", "run", "abort"),
    "a pause": (ROLLOUTS, "analyzing", "run", "pause"),
    "going on from a pause that is not there yet": (ROLLOUTS, "shifting", "pause", "run"),
    "going on where a gate paused": (ROLLOUTS, "paused", "run", "run"),
    "an end on the way back": (SEQUENCES, "rolling_back", "roll_back", "end"),
    "an end before its approval": (SEQUENCES, "awaiting_approval", "run", "end"),
    "a way back from a pause": (SEQUENCES, "paused", "pause", "roll_back"),
}


@pytest.mark.parametrize("case", TAKEN)
def test_it_takes(case):
    assert refuse_wish(TAKEN[case][0], "It", *TAKEN[case][1:]) == ""


@pytest.mark.parametrize(("manner", "words"), [(ROLLOUTS, phases), (SEQUENCES, sequence)])
def test_every_open_phase_has_a_way_out_and_every_wish_a_verb(manner, words):
    assert manner.verbs.keys() == set(words.Wish)
    for phase, before in product(words.Phase, words.Wish):
        refused = bool(refuse_wish(manner, "It", phase, before, manner.end))
        assert refused is (phase in words.FINAL)


def test_only_what_never_moved_is_taken_from_its_approvers():
    for phase in phases.Phase:
        assert ends_unmoved(ROLLOUTS, phase, "abort") is (phase in phases.BEFORE_WRITES)
        assert not ends_unmoved(ROLLOUTS, phase, "pause")
