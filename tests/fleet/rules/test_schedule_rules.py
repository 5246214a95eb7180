"""Bounds of replicas and the hours that change them: zones, nights, overlaps, what people write."""

from datetime import UTC, datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.rules.schedule import (
    Bounds,
    Hours,
    bounds_at,
    hours_from,
    hours_text,
    read_hours,
    refuse_bounds,
)

ALWAYS = Bounds(1, 6)
BERLIN = "Europe/Berlin"


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "least"),
    [
        ("2026-11-26T06:59", 1),  # Thursday, 07:59 in Berlin
        ("2026-11-26T07:00", 4),
        ("2026-11-26T18:59", 4),
        ("2026-11-26T19:00", 1),
        ("2026-11-28T12:00", 1),  # Saturday
        ("2026-07-01T06:00", 4),  # summer: two hours before UTC
        ("2026-07-01T05:59", 1),
    ],
)
def test_hours_hold_by_the_clock_on_the_wall_of_their_zone(now, least):
    hours = read_hours("Mon-Fri 08:00-20:00 min 4")
    found = bounds_at(ALWAYS, hours, BERLIN, at(now))
    assert (found.least, found.most) == (least, 6)
    assert ("Mon-Fri 08:00-20:00 min 4, Europe/Berlin" in found.words) == (least == 4)


def test_hours_may_go_over_midnight_and_last_a_whole_day():
    night = read_hours("Fri 22:00-06:00 max 2")
    assert bounds_at(ALWAYS, night, "UTC", at("2026-11-27T21:59")).most == 6
    assert bounds_at(ALWAYS, night, "UTC", at("2026-11-28T05:59")).most == 2
    assert bounds_at(ALWAYS, night, "UTC", at("2026-11-28T06:00")).most == 6
    day = read_hours("Sun 00:00-24:00 max 2")
    assert bounds_at(ALWAYS, day, "UTC", at("2026-11-29T23:59")).most == 2
    assert bounds_at(ALWAYS, day, "UTC", at("2026-11-30T00:00")).most == 6


def test_the_most_capacity_counts_where_hours_overlap():
    hours = read_hours("Mon-Fri 08:00-20:00 min 2 max 3\nThu 10:00-12:00 min 4 max 8")
    assert bounds_at(ALWAYS, hours, "UTC", at("2026-11-26T11:00")).words.startswith("4 to 8 (")
    assert bounds_at(ALWAYS, hours, "UTC", at("2026-11-26T13:00")).words.startswith("2 to 3 (")


def test_days_are_written_as_runs_and_read_back():
    (hours,) = read_hours("sat-mon,Wed 09:30-17:00 max 3")
    assert hours.weekdays == (0, 2, 5, 6)
    assert hours.words == "Mon,Wed,Sat-Sun 09:30-17:00 max 3"


WRONG = {
    "Mon-Fri 08:00-20:00": "is not like",
    "Mon-Fri 8-20 min 4": "no time",
    "Mon-Fri 08:00-25:00 min 4": "no time",
    "Mox 08:00-20:00 min 4": "is no day",
    "Mon-Fri 08:00-20:00 min 4 min 5": "is not like",
    "Mon-Fri 08:00-20:00 min -4": "whole numbers",
    "Mon-Fri 08:00-20:00 least 4": "is not like",
    "Mon 08:00-20:00 min ²": "whole numbers",
}


@pytest.mark.parametrize("line", WRONG)
def test_it_says_what_is_wrong_with_a_line(line):
    with pytest.raises(ValueError, match=WRONG[line]):
        read_hours(line)


REFUSED = {
    "less than nothing": (Bounds(-1, 4), "", "UTC", "min_replicas", "At least 0, not -1"),
    "nothing at any time": (Bounds(0, 0), "", "UTC", "max_replicas", "no request could wake it"),
    "a maximum below": (Bounds(5, 3), "", "UTC", "max_replicas", "raise it by 2"),
    "too many": (Bounds(1, 600), "", "UTC", "max_replicas", "At most 512"),
    "no zone": (Bounds(1, 4), "", "Mars", "zone", "no IANA zone"),
    "hours above the maximum": (Bounds(1, 4), "Mon 08:00-09:00 min 5", "UTC", "hours", "say both"),
    "hours of nothing": (Bounds(0, 4), "Mon 08:00-09:00 max 0", "UTC", "hours", "at most 1 to"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_it_refuses(case):
    always, text, zone, field, words = REFUSED[case]
    wrong = refuse_bounds(always, read_hours(text), zone)
    assert list(wrong) == [field]
    assert words in wrong[field]


def test_it_refuses_hours_of_a_door_that_say_nothing():
    nothing = Hours((0,), time(8), time(9))
    assert "say min, max or both" in refuse_bounds(ALWAYS, [nothing], "UTC")["hours"]
    nowhen = Hours((), time(8), time(9), 2)
    assert "at least one" in refuse_bounds(ALWAYS, [nowhen], "UTC")["hours"]
    many = [Hours((0,), time(8), time(9), 2)] * 25
    assert "at most 24" in refuse_bounds(ALWAYS, many, "UTC")["hours"]


times = st.builds(time, st.integers(0, 23), st.integers(0, 59))
numbers = st.none() | st.integers(1, 512)
hours_of_any = st.builds(
    Hours,
    st.lists(st.integers(0, 6), min_size=1, unique=True).map(lambda days: tuple(sorted(days))),
    times,
    times,
    numbers,
    numbers,
).filter(lambda h: h.least or h.most)


@given(st.lists(hours_of_any, max_size=4))
def test_what_is_written_is_read_back_as_text_and_as_json(hours):
    assert read_hours(hours_text(hours)) == tuple(hours)
    assert hours_from(h.as_json() for h in hours) == tuple(hours)
