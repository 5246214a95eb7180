"""When a stage of a sequence may begin: its own time, then the change calendar of its cluster."""

from datetime import UTC, datetime, time, timedelta

import pytest

from fleet.rules.freeze import Window
from fleet.rules.stage_times import Opening, opening, read_times

NOW = datetime(2026, 11, 27, 14, 0, tzinfo=UTC)  # a Friday
# Frankfurt's day: nothing begins there from 08:00 to 22:00 by its own clocks.
DAY = Window("Day", "clients work", NOW - timedelta(days=9), weekdays=tuple(range(7)),
             from_time=time(8), minutes=14 * 60, zone="Europe/Berlin")  # fmt: skip
HOLD = Window("Incident", "GPU errors", NOW - timedelta(hours=1))


@pytest.mark.parametrize(
    ("begins_from", "windows", "found"),
    [
        (None, (), Opening()),
        (NOW - timedelta(hours=1), (), Opening()),
        (NOW + timedelta(hours=1), (), Opening(NOW + timedelta(hours=1), "as it was approved")),
        (None, (DAY,), Opening(datetime(2026, 11, 27, 21, tzinfo=UTC),
                               "“Day” lets no rollout begin before")),
        (datetime(2026, 11, 28, 3, tzinfo=UTC), (DAY,),
         Opening(datetime(2026, 11, 28, 3, tzinfo=UTC), "as it was approved")),
        (datetime(2026, 11, 28, 12, tzinfo=UTC), (DAY,),
         Opening(datetime(2026, 11, 28, 21, tzinfo=UTC), "“Day” lets no rollout begin before")),
        (None, (DAY, HOLD), Opening(None, "when somebody ends “Incident”")),
    ],
)  # fmt: skip
def test_the_first_moment_that_both_allow(begins_from, windows, found):
    assert opening(begins_from, windows, NOW) == found


def test_times_are_read_on_the_clock_of_their_zone():
    found = read_times(["chat-us 2026-11-28 22:00 America/New_York", "", "chat 2026-11-28T22:00"])
    assert found == {
        "chat-us": datetime(2026, 11, 29, 3, tzinfo=UTC),
        "chat": datetime(2026, 11, 28, 22, tzinfo=UTC),
    }
    assert read_times(["chat 2026-11-28T22:00Z"]) == {"chat": found["chat"]}


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["chat"], "'chat' is not like: chat-us 2026"),
        (["chat tomorrow"], "'tomorrow' is no IANA zone"),
        (["chat 2026-13-01 22:00"], "is not like"),
        (["chat 2026-11-28 22:00 Moon/Base"], "'Moon/Base' is no IANA zone"),
        (["chat 2026-11-28 22:00", "chat 2026-11-29 22:00"], "twice"),
    ],
)
def test_what_is_no_time_is_refused_with_a_sentence(lines, told):
    with pytest.raises(ValueError, match=told):
        read_times(lines)
