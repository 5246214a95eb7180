"""The change calendar's arithmetic: zones, weeks, time changes."""

from datetime import UTC, datetime, time, timedelta

import pytest

from fleet.rules.freeze import Window, frozen_by, held_until, next_start, refuse_window, words_of

START = datetime(2026, 1, 1, tzinfo=UTC)


def window(**changes):
    return Window(**{"title": "Night", "reason": "nobody is up", "starts_at": START} | changes)


def weekly(*days, at="22:00", minutes=480, zone="Europe/Berlin", **more):
    return window(
        weekdays=days, from_time=time.fromisoformat(at), minutes=minutes, zone=zone, **more
    )


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_one_time_holds_from_its_start_to_its_end():
    once = window(starts_at=at("2026-12-24T12:00"), ends_at=at("2026-12-27T00:00"))
    assert held_until(once, at("2026-12-24T11:59")) == (False, None)
    assert held_until(once, at("2026-12-24T12:00")) == (True, once.ends_at)
    assert held_until(once, at("2026-12-27T00:00")) == (False, None)


def test_a_hold_has_no_end():
    assert held_until(window(), at("2030-01-01")) == (True, None)


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-11-27T20:59", None),  # Friday, 21:59 in Berlin
        ("2026-11-27T21:00", "2026-11-28T05:00"),
        ("2026-11-28T04:59", "2026-11-28T05:00"),  # Saturday still belongs to Friday's night
        ("2026-11-28T05:00", None),
        ("2026-07-03T20:00", "2026-07-04T04:00"),  # summer time
    ],
)
def test_a_weekly_window_follows_the_clocks_of_its_zone(now, until):
    held = held_until(weekly(4), at(now))
    assert held == ((True, at(until)) if until else (False, None))


def test_a_night_of_a_time_change_ends_by_the_clock_on_the_wall():
    # 24 to 25 October 2026: clocks go back at 03:00, the night has an hour more.
    assert held_until(weekly(5), at("2026-10-24T21:00"))[1] == at("2026-10-25T05:00")
    began = next_start(weekly(5), at("2026-10-24T10:00"))
    assert at("2026-10-25T05:00") - began == timedelta(hours=9)


@pytest.mark.parametrize(
    ("days", "ends_at", "until"),
    [
        ((5, 6), None, "2026-11-29T23:00"),  # Saturday and Sunday, to midnight in Berlin
        ((5, 6), "2026-11-29T12:00", "2026-11-29T12:00"),
        (range(7), None, None),
        (range(7), "2027-01-10T00:00", "2027-01-10T00:00"),
    ],
)
def test_days_that_follow_each_other_are_one_freeze(days, ends_at, until):
    """It said that rollouts may begin at midnight, and they waited on."""
    whole = weekly(*days, at="00:00", minutes=24 * 60, ends_at=at(ends_at) if ends_at else None)
    assert held_until(whole, at("2026-11-28T12:00")) == (True, at(until) if until else None)


def test_of_several_the_longest_is_named():
    short = window(title="Short", ends_at=at("2026-03-01"))
    found = frozen_by([short, window(title="Hold")], at("2026-02-01"))
    assert (found.window.title, found.until) == ("Hold", None)
    assert "until somebody ends it: nobody is up" in found.sentence
    assert "until Sun 01 Mar 00:00 UTC" in frozen_by([short], at("2026-02-01")).sentence
    assert frozen_by([], at("2026-02-01")) is None


def test_the_next_time_is_told():
    assert next_start(weekly(4), at("2026-11-25T12:00")) == at("2026-11-27T21:00")
    assert next_start(weekly(4, ends_at=at("2026-11-26")), at("2026-11-25T12:00")) is None
    assert words_of(weekly(5, 6)) == "Saturday, Sunday from 22:00 for 8 h, Europe/Berlin"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"title": " "}, "title"),
        ({"reason": ""}, "reason"),
        ({"zone": "Berlin"}, "zone"),
        ({"ends_at": START}, "ends_at"),
        # As "for ever" is written: no rollout could begin, and its passes failed at the sentence.
        ({"ends_at": at("9999-12-31T23:59")}, "ends_at"),
        ({"starts_at": at("9999-12-31T00:00")}, "starts_at"),
        ({"weekdays": (7,), "from_time": time(1), "minutes": 5}, "weekdays"),
        ({"weekdays": (1,), "minutes": 5}, "from_time"),
        ({"weekdays": (1,), "from_time": time(1), "minutes": 0}, "minutes"),
    ],
)
def test_it_says_what_is_wrong(changes, field):
    assert list(refuse_window(window(**changes))) == [field]
