"""Between the choice of a replica and its end: the worker may have died, the cluster may refuse."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fleet.rules.pod_loss import (
    PATIENCE,
    USUAL,
    LossPhase,
    LossSeen,
    LossState,
    decide,
)
from fleet.rules.seen import Pod, Side

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
PODS = tuple(
    Pod(f"u{n}", f"chat-{n}", NOW, node="n", loaded=True, ready=True, admitted=True, gpus=1)
    for n in range(2)
)
CHOSEN = LossState(LossPhase.KILLING, NOW, USUAL, uid="u1", pod="chat-1", node="n", before=2)


def seen(pods=PODS, **more):
    side = Side(exists=True, wanted=2, pods=pods, shape={"serve": 1})
    return LossSeen(side=side, routed=frozenset({"u0", "u1"}), **more)


@pytest.mark.parametrize(
    "found",
    [
        seen(pods=(replace(PODS[0], ready=False), PODS[1])),
        seen(moving="RO-3"),
        seen(frozen="“Night” lets no rollout begin"),
    ],
    ids=["the other one is lost", "a rollout began", "a freeze began"],
)
def test_what_was_chosen_is_not_killed_once_the_service_is_not_well(found):
    """A worker chose it and died: the next one killed what alone was left."""
    decision = decide(CHOSEN, found, NOW + timedelta(minutes=9))
    assert (decision.state.phase, decision.kills) == (LossPhase.CHOOSING, False)
    assert decision.state.uid == ""


def test_it_is_killed_while_all_is_well():
    decision = decide(CHOSEN, seen(), NOW)
    assert (decision.state.phase, decision.kills) == (LossPhase.WATCHING, True)


@pytest.mark.parametrize("left", [PODS[:1], (PODS[0], replace(PODS[1], terminating=True))])
def test_a_kill_that_was_not_recorded_is_no_second_one(left):
    decision = decide(CHOSEN, seen(pods=left), NOW)
    assert (decision.state.phase, decision.state.uid) == (LossPhase.WATCHING, "u1")


def test_what_the_cluster_never_kills_is_given_up():
    """It was tried every second for ever."""
    decision = decide(CHOSEN, seen(), NOW + PATIENCE + timedelta(seconds=1))
    assert (decision.state.phase, decision.look_again) == (LossPhase.CANCELLED, None)
    assert "did not kill chat-1" in decision.why
