"""The sentence about an observation that is too old to count."""

from datetime import UTC, datetime, timedelta

import pytest

from fleet.rules.freshness import stale_because

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def test_it_counts_while_it_is_young():
    assert stale_because(NOW - timedelta(seconds=15), "", NOW) == ""


@pytest.mark.parametrize(
    ("age", "told"),
    [
        (timedelta(seconds=20), "20 s"),
        (timedelta(minutes=13), "13 min"),
        (timedelta(hours=5, minutes=50), "5 h"),
    ],
)
def test_it_says_the_age_in_the_unit_that_people_use(age: timedelta, told: str):
    assert stale_because(NOW - age, "refused", NOW) == f"Last observed {told} ago: refused"
