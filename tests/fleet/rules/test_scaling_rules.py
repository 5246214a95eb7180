"""What decides a number of replicas: each check, and the sentence that it gives."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fleet.rules.scaling import Load, Policy, Room, Sample, Seen, decide
from fleet.rules.schedule import Bounds, read_hours
from fleet.rules.situation import Starts

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)  # a Thursday
POLICY = Policy(Bounds(1, 8), target=10)


def load(total, *, waiting=0.0, asked=4, **changes):
    return Load(running=total - waiting, waiting=waiting, asked=asked, answered=asked, **changes)


def calm(demand, minutes=12):
    """The same load all the time, every 15 s."""
    return tuple(Sample(NOW - timedelta(seconds=15 * i), demand) for i in range(4 * minutes, 0, -1))


def grown(first, last, minutes=2):
    steps = 4 * minutes
    return tuple(
        Sample(NOW - timedelta(seconds=15 * (steps - i)), first + (last - first) * i / steps)
        for i in range(steps)
    )


def seen(total=30.0, **changes):
    usual = {
        "declared": 4,
        "serving": 4,
        "load": load(total),
        "history": calm(total),
        "starts": Starts(12, 50.0, 60.0, of="r7"),
        "room": Room(8, "8 H100 are free", 1, "NVIDIA-H100"),
    }
    return Seen(**usual | changes)


def move(found, policy=POLICY):
    decision = decide(policy, found, NOW)
    return decision.wanted, decision.given, decision.why


def test_it_keeps_what_is_enough_and_says_how_full_it_is():
    wanted, given, why = move(seen(30))
    assert (wanted, given) == (4, 4)
    assert "30 requests in flight (30 running, 0 waiting in engines) on 4 replicas, 75%" in why
    assert "one less would be more than 90% full" in why


def test_it_orders_what_the_load_needs():
    wanted, given, why = move(seen(55, load=load(55, waiting=15)))
    assert (wanted, given) == (6, 6)
    assert "55 requests in flight (40 running, 15 waiting in engines): 6 replicas" in why
    assert why.endswith("4 → 6")


def test_requests_that_wait_in_gateways_count():
    _, given, why = move(seen(history=(), load=load(40, queued=15.0)))
    assert given == 6
    assert "15 in gateways" in why


def test_it_orders_what_will_be_needed_when_a_replica_has_started():
    """Half a request a second on top, 75 s until one that is ordered now is seen to answer."""
    found = seen(40, history=grown(10, 40, minutes=1))
    wanted, given, why = move(found)
    assert (wanted, given) == (8, 8)
    assert "30 more a minute, so 78 when a replica has started (60 s, p95 of 12)" in why


def test_it_says_that_a_start_was_never_measured():
    found = seen(40, history=grown(0, 40), starts=Starts())
    assert "(2 min 0 s, assumed)" in move(found)[2]


def test_growth_is_believed_up_to_twice_what_is_in_flight():
    found = seen(30, history=grown(0, 30, minutes=10), starts=Starts(3, 500.0, 6000.0))
    decision = decide(replace(POLICY, always=Bounds(1, 100)), found, NOW)
    assert decision.forecast == 60


def test_a_step_is_no_growth():
    steps = (*calm(10)[:-1], Sample(NOW - timedelta(seconds=15), 40.0))
    assert move(seen(40, history=steps))[:2] == (4, 4)


def test_it_says_how_many_are_starting_already():
    _, given, why = move(seen(60, serving=3, load=load(60)))
    assert given == 6
    assert "1 of 4 are starting already" in why


def test_it_gives_what_there_are_gpus_for_and_names_the_number_missing():
    room = Room(1, "3 H100 are free, 1 of them claimed already", 2, "NVIDIA-H100")
    wanted, given, why = move(seen(70, room=room))
    assert (wanted, given) == (7, 5)
    assert "7 wanted, 5 given: 4 H100 missing. 3 H100 are free, 1 of them claimed" in why
    none = move(seen(70, room=replace(room, replicas=0)))
    assert none[:2] == (7, 4)


def test_it_never_orders_more_than_the_maximum():
    wanted, given, why = move(seen(500))
    assert (wanted, given) == (8, 8)
    assert "50 replicas at 10 each, and 8 at most" in why


def test_it_gives_one_back_after_a_whole_window_of_less():
    wanted, given, why = move(seen(17))
    assert (wanted, given) == (2, 3)
    assert "at most 17 in the last 5 min 0 s: that needs 2 replicas. 4 → 3, one at a time" in why


def test_the_highest_load_of_the_window_counts():
    history = (*calm(17)[:-8], Sample(NOW - timedelta(minutes=2), 34.0), *calm(17)[-7:])
    assert move(seen(17, history=history))[:2] == (4, 4)


def test_the_window_is_never_shorter_than_a_start_takes():
    starts = Starts(9, 500.0, 600.0)
    history = (Sample(NOW - timedelta(minutes=13), 34.0), *calm(17)[1:])
    assert move(seen(17, starts=starts, history=history))[:2] == (2, 3)
    peak = tuple(replace(s, demand=38.0) if i == 12 else s for i, s in enumerate(history))
    assert peak[12].at > NOW - timedelta(minutes=10)
    assert move(seen(17, starts=starts, history=peak))[:2] == (4, 4)


HELD = {
    "a window that was not seen": ({"history": calm(17)[-8:]}, "without a gap for 5 min 0 s"),
    "a hole in it": ({"history": (*calm(17)[:30], *calm(17)[-4:])}, "without a gap"),
    "a step down a moment ago": (
        {"changed_at": NOW - timedelta(seconds=20)},
        "the next step down is in 40 s",
    ),
    "growth": ({"history": grown(10, 17, minutes=10)}, "it grows"),
    "a freeze": ({"frozen": "Holidays"}, "“Holidays” holds: nothing is taken away"),
}


@pytest.mark.parametrize("case", HELD)
def test_it_gives_nothing_back_after(case):
    changes, words = HELD[case]
    wanted, given, why = move(seen(17, **changes))
    assert (wanted, given) == (2, 4)
    assert words in why


def test_a_freeze_does_not_keep_it_from_answering():
    assert move(seen(60, frozen="Holidays"))[:2] == (6, 6)


def test_somebodys_disruption_budget_is_kept():
    assert move(seen(5, floor=3))[:2] == (3, 3)
    _, given, why = move(seen(5, declared=3, serving=3, floor=3))
    assert given == 3
    assert "a disruption budget asks for 3" in why


UNKNOWN = {
    "an open rollout": ({"rollout": "RO-12"}, "Waits for RO-12"),
    "somebody who owns the number": ({"owner": "An autoscaler owns it"}, "Left alone. An auto"),
    "a cluster that is not seen": ({"stale": "Last observed 3 min ago"}, "old knowledge. Last"),
    "engines that say nothing": ({"load": Load(asked=4)}, "None of 4 replicas gave metrics"),
}


@pytest.mark.parametrize("case", UNKNOWN)
@pytest.mark.parametrize("total", [2.0, 200.0])
def test_it_changes_nothing_on(case, total):
    changes, words = UNKNOWN[case]
    _, given, why = move(seen(total, **changes))
    assert given == 4
    assert words in why


def test_a_part_of_the_engines_is_enough_for_more_and_not_for_less():
    some = replace(load(45), answered=3)
    assert move(seen(45, load=some))[:2] == (5, 5)
    _, given, why = move(seen(5, load=replace(load(5), answered=3)))
    assert given == 4
    assert "1 of 4 replicas gave no metrics lately: at least 5 requests" in why
    _, given, why = move(seen(5, load=load(5, queued=None)))
    assert given == 4
    assert "The gateways' queues are not known" in why


def test_while_nothing_answers_it_waits_for_the_first():
    _, given, why = move(seen(0, serving=0, load=Load()))
    assert given == 4
    assert "No replica takes traffic yet, 4 are starting" in why


def test_bounds_that_changed_are_applied_at_once():
    tight = replace(POLICY, always=Bounds(1, 2))
    wanted, given, why = move(seen(60), tight)
    assert (wanted, given) == (2, 2)
    assert "The bounds are 1 to 2: 4 → 2" in why
    wide = replace(POLICY, always=Bounds(6, 8))
    wanted, given, why = move(seen(1), wide)
    assert (wanted, given) == (6, 6)
    assert "The bounds are 6 to 8: at least 6 replicas. 4 → 6" in why


def test_hours_change_the_bounds():
    hours = replace(POLICY, hours=read_hours("Mon-Fri 08:00-20:00 min 5"), zone="Europe/Berlin")
    wanted, given, why = move(seen(1), hours)
    assert (wanted, given) == (5, 5)
    assert "5 to 8 (Mon-Fri 08:00-20:00 min 5, Europe/Berlin)" in why
    assert "the bounds are 5 to 8" in move(seen(1, declared=5, serving=5), hours)[2]


def test_replicas_have_started_when_the_hours_that_want_them_begin():
    noon = replace(POLICY, hours=read_hours("Thu 12:01-20:00 min 5"))
    wanted, given, why = move(seen(1), noon)  # a start takes 60 s, a look comes every 15
    assert (wanted, given) == (5, 5)
    assert "5 to 8 (75 s ahead of Thu 12:01-20:00 min 5, UTC)" in why
    later = replace(POLICY, hours=read_hours("Thu 12:02-20:00 min 5"))
    assert move(seen(30), later)[:2] == (4, 4)


def test_it_wakes_before_hours_with_a_minimum_and_exceeds_no_maximum_before_its_hour():
    always = Bounds(0, 2)
    hours = read_hours("Thu 12:01-20:00 min 5 max 8")
    sleeps = seen(0, declared=0, serving=0, load=load(0, asked=0))
    wanted, given, why = move(sleeps, Policy(always, target=10, hours=hours))
    assert (wanted, given) == (2, 2)
    assert "It slept, and the bounds have a minimum now" in why
