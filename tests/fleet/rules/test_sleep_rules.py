"""When a service with a minimum of 0 sleeps and wakes, and the sentences that it gives."""

from dataclasses import replace
from datetime import timedelta

import pytest

from fleet.rules.scaling import Load, Policy, Room, Seen, decide, refuse_policy
from fleet.rules.schedule import Bounds, read_hours
from fleet.rules.situation import Starts
from fleet.rules.sleep import Quiet, Rest, Sleep, State, idle_of, state_of, too_impatient
from tests.fleet.rules.test_scaling_rules import NOW, calm, load, seen

MINUTE = timedelta(minutes=1)
POLICY = Policy(Bounds(0, 8), target=10, sleep=Sleep(idle=10 * MINUTE))
LONG_AGO = Quiet(since=NOW - 11 * MINUTE)
IDLE = seen(0, declared=1, serving=1, load=load(0, asked=1), history=calm(0), quiet=LONG_AGO)
ASLEEP = Seen(declared=0, serving=0, load=Load(), starts=Starts(3, 30, 40), room=Room(4))


def given(found, policy=POLICY):
    decision = decide(policy, found, NOW)
    return decision.given, decision.why


def test_it_sleeps_when_nobody_asked_long_enough():
    assert given(IDLE) == (0, "No request for 10 min 0 s or longer: 1 → 0. The first one wakes it")
    assert given(replace(IDLE, quiet=Quiet()))[0] == 0  # nobody ever asked


def test_all_replicas_go_at_once_when_nobody_asks():
    assert given(replace(IDLE, declared=3, serving=3, load=load(0, asked=3)))[0] == 0


def test_load_alone_never_takes_the_last_replica():
    """What fits into none was asked for lately."""
    lately = replace(IDLE, quiet=Quiet(since=NOW - MINUTE))
    assert given(lately)[0] == 1
    assert "it sleeps in 9 min 0 s if nobody asks" in given(lately)[1]
    three = replace(lately, declared=3, serving=3, load=load(0, asked=3))
    assert given(three)[0] == 2


STAYS = {
    "a minimum": ({}, Policy(Bounds(1, 8), 10), "the bounds are 1 to 8"),
    "hours with a minimum": (
        {},
        replace(POLICY, hours=read_hours("Mon-Sun 00:00-24:00 min 1")),
        "the bounds are 1 to 8 (Mon-Sun",
    ),
    "requests in flight": (
        {"load": load(1, asked=1)},
        POLICY,
        "it does not sleep with requests in flight",
    ),
    "requests in gateways": (
        {"quiet": replace(LONG_AGO, in_flight=3)},
        POLICY,
        "gateways have 3 requests for it",
    ),
    "gateways unknown": (
        {"quiet": Quiet(in_flight=None)},
        POLICY,
        "not known whether gateways have requests",
    ),
    "late usage": ({"quiet": replace(LONG_AGO, late="3 are late")}, POLICY, "3 are late"),
    "a freeze": ({"frozen": "Holidays"}, POLICY, "while “Holidays” holds"),
    "a budget": ({"floor": 1}, POLICY, "a disruption budget asks for 1"),
    "a rollout": ({"rollout": "RO-7"}, POLICY, "Waits for RO-7"),
    "an autoscaler": ({"owner": "KEDA owns it"}, POLICY, "Left alone. KEDA owns it"),
    "old knowledge": ({"stale": "Last observed 3 min ago"}, POLICY, "old knowledge"),
    "engines that said nothing": (
        {"declared": 2, "load": Load(asked=2, answered=1)},
        POLICY,
        "1 of 2 replicas gave no metrics lately",
    ),
    "slow starts": (
        {"starts": Starts(3, 300.0, 400.0), "history": calm(0, 20)},
        POLICY,
        "it sleeps in 2 min 20 s",
    ),
}


@pytest.mark.parametrize("case", STAYS)
def test_it_stays_awake_with(case):
    changes, policy, words = STAYS[case]
    found = replace(IDLE, **changes)
    number, why = given(found, policy)
    assert number == found.declared
    assert words in why


def test_a_start_that_nobody_waits_for_any_more_is_given_up():
    starting = replace(IDLE, serving=0, load=Load())
    assert given(starting)[0] == 0
    assert given(replace(starting, quiet=Quiet(since=NOW - MINUTE)))[0] == 1
    assert given(replace(starting, load=Load(queued=1.0)))[0] == 1


def test_it_says_how_it_is_woken():
    assert given(ASLEEP) == (0, "Sleeps. The first request wakes it; a start takes 40 s, p95 of 3")
    unknown = replace(ASLEEP, starts=Starts(), load=Load(queued=None))
    assert given(unknown)[1] == "Sleeps. Whether requests wait for it in gateways is not known"


WAKES = {
    "a request": ({"load": Load(queued=1.0)}, POLICY, 1, "gateways have 1 request for it"),
    "many requests": ({"load": Load(queued=25.0)}, POLICY, 3, "gateways have 25 requests for it"),
    "a person": ({"called": True}, POLICY, 1, "A person wakes it. 0 → 1"),
    "bounds": ({}, Policy(Bounds(2, 8), 10), 2, "the bounds have a minimum now. 0 → 2"),
    "hours": (
        {},
        replace(POLICY, hours=read_hours("Mon-Sun 00:00-24:00 min 1")),
        1,
        "the bounds have a minimum now",
    ),
}


@pytest.mark.parametrize("case", WAKES)
def test_it_is_woken_by(case):
    changes, policy, want, words = WAKES[case]
    number, why = given(replace(ASLEEP, **changes), policy)
    assert number == want
    assert words in why


def test_it_says_which_gpus_are_missing_to_wake():
    full = replace(ASLEEP, load=Load(queued=1.0), room=Room(0, "0 H100 are free", 2, "H100"))
    assert given(full)[0] == 0
    assert "1 wanted, 0 given: 2 H100 missing. 0 H100 are free" in given(full)[1]


def test_nothing_wakes_it_on_old_knowledge_or_against_an_owner():
    for changes in ({"stale": "Last observed 3 min ago"}, {"owner": "KEDA"}, {"rollout": "RO-1"}):
        assert given(replace(ASLEEP, load=Load(queued=1.0), **changes))[0] == 0


def test_its_state_is_told_by_two_moments():
    assert state_of(None, None) is State.AWAKE
    assert state_of(NOW, None) is State.SLEEPING
    assert state_of(NOW, NOW) is State.WAKING


def test_it_is_never_put_to_sleep_sooner_than_two_starts():
    assert idle_of(Sleep(idle=MINUTE), timedelta(seconds=10)) == MINUTE
    assert idle_of(Sleep(idle=MINUTE), timedelta(seconds=50)) == timedelta(seconds=100)


def test_people_read_what_happens_next():
    rest = Rest(NOW, None, 5 * MINUTE, 64, 0, 34.0)
    assert rest.words == (
        "Sleeps since 26 Nov 12:00 UTC at 0 replicas and holds no GPU. The first request wakes it"
        " and waits for it, 5 min 0 s at most; a start takes 34 s (p95)."
    )
    assert "2 requests wait: its first replica is not ordered yet" in replace(rest, waiting=2).words
    waking = replace(rest, woken_at=NOW, waiting=1, start=None)
    assert waking.words == (
        "Wakes since 26 Nov 12:00:00 UTC; what a start takes was never measured. 1 request waits"
        " for it, of 64 at most, each 5 min 0 s at most."
    )
    assert "How many requests wait for it is not known" in replace(waking, waiting=None).words


def test_it_warns_of_requests_that_wait_less_than_a_start_takes():
    assert too_impatient(MINUTE, None) == too_impatient(MINUTE, 59.0) == ""
    assert "A start takes 90 s (p95), and a request may wait 60 s" in too_impatient(MINUTE, 90.0)


def test_it_refuses_numbers_that_make_no_sense():
    wrong = Sleep(timedelta(seconds=3), timedelta(hours=2), 0)
    found = refuse_policy(replace(POLICY, sleep=wrong))
    assert found.keys() == {"idle_seconds", "wait_seconds", "max_waiting"}
    assert "from 1 to 10,000, not 0" in found["max_waiting"]
