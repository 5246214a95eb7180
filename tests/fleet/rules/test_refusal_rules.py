"""What says that pods of a StatefulSet cannot be made, and what says so no more."""

from datetime import timedelta
from types import SimpleNamespace

import pytest

from fleet.rules.causes import Fault
from fleet.rules.phases import Cause, Phase
from fleet.rules.refusals import refusal_in
from fleet.rules.rollout import condemns
from tests.fleet.rules.walk import START

FULL = 'pods "chat-1a-w1-1" is forbidden: exceeded quota: spent'


def at(seconds):
    return (START + timedelta(seconds=seconds)).isoformat()


def make_set(replicas=2, **spec):
    return {
        "kind": "StatefulSet",
        "metadata": {"name": "chat-1a-w1", "creationTimestamp": at(0)},
        "spec": {"replicas": replicas, **spec},
    }


def make_pod(name, seconds=1):
    return {"metadata": {"name": name, "creationTimestamp": at(seconds)}}


def make_event(seconds=5, name="chat-1a-w1", **changes):
    text = f"create Pod {name}-1 in StatefulSet {name} failed error: {FULL}"
    about = {"kind": "StatefulSet", "name": name}
    return {"involvedObject": about, "reason": "FailedCreate", "message": text,
            "lastTimestamp": at(seconds), **changes}  # fmt: skip


ONE = [make_pod("chat-1a-w1-0")]
BOTH = [*ONE, make_pod("chat-1a-w1-1", 9)]
CASES = {
    "one is missing": (make_set(), ONE, [make_event()],
                       f"1 of 2 pods of chat-1a-w1 is missing: {FULL}"),
    "all are missing": (make_set(), [], [make_event()],
                        f"2 of 2 pods of chat-1a-w1 are missing: {FULL}"),
    "pods of another set": (make_set(), [make_pod("chat-1a-0"), make_pod("chat-1a-1")],
                            [make_event()], f"2 of 2 pods of chat-1a-w1 are missing: {FULL}"),
    "a series": (make_set(), ONE, [make_event(series={"lastObservedTime": at(7)})],
                 f"1 of 2 pods of chat-1a-w1 is missing: {FULL}"),
    "no event": (make_set(), ONE, [], ""),
    "all are there": (make_set(), BOTH, [make_event()], ""),
    "none is wanted": (make_set(0), [], [make_event()], ""),
    "before its newest pod": (make_set(3), BOTH, [make_event(8)], ""),
    "of a set that had its name": (make_set(), [], [make_event(-5)], ""),
    "of another set": (make_set(), ONE, [make_event(name="chat-1a")], ""),
    "of another kind": (make_set(), ONE,
                        [make_event(involvedObject={"kind": "Pod", "name": "chat-1a-w1"})], ""),
    "another reason": (make_set(), ONE, [make_event(reason="SuccessfulCreate")], ""),
    "of a group's own set": (
        make_set(leaderWorkerTemplate={"size": 2}),
        [*BOTH, make_pod("chat-1a-w1-0-1")], [make_event(10, "chat-1a-w1-1")],
        f"1 of 4 pods of chat-1a-w1 is missing: {FULL}",
    ),
    "a set that its controller cannot make": (
        make_set(leaderWorkerTemplate={"size": 2}), [],
        [make_event(involvedObject={"kind": "LeaderWorkerSet", "name": "chat-1a-w1"},
                    message="Failed to create leader statefulset chat-1a-w1")],
        "4 of 4 pods of chat-1a-w1 are missing: Failed to create leader statefulset chat-1a-w1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_counts_what_is_missing_and_says_why(case):
    item, pods, events, want = CASES[case]
    assert refusal_in(item, pods, events) == want


BROKEN = [
    (Phase.CANARY_STARTING, None, 0, 0, True),
    (Phase.SHIFTING, None, 0, 2, True),
    (Phase.ANALYZING, None, 2, 1, True),
    (Phase.ANALYZING, None, 1, 1, False),
    (Phase.PROMOTING, None, 1, 0, True),
    (Phase.PROMOTING, None, 1, 2, False),
    (Phase.PAUSED, Phase.PROMOTING, 1, 2, False),
    (Phase.PAUSED, Phase.SHIFTING, 1, 2, True),
    (Phase.SOAKING, None, 2, 0, False),
]


@pytest.mark.parametrize(("phase", "resumes", "old", "new", "want"), BROKEN)
def test_a_broken_group_condemns_a_canary_and_later_where_the_old_release_does_better(
    phase, resumes, old, new, want
):
    state = SimpleNamespace(phase=phase, resume_phase=resumes)
    seen = SimpleNamespace(old=SimpleNamespace(serving=old), new=SimpleNamespace(serving=new))
    assert condemns(Fault(Cause.LOST_REPLICAS, "broken"), state, seen) is want
