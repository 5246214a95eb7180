"""How fine a dashboard is, by its range and its age."""

from datetime import UTC, datetime, timedelta

import pytest

from fleet.rules.steps import POINTS, grid

NOW = datetime(2026, 11, 20, 12, 3, 7, tzinfo=UTC)
RANGES = {
    "the last hour": (timedelta(hours=1), timedelta(), (10, 60)),
    "an hour of yesterday": (timedelta(hours=1), timedelta(days=1), (300, 300)),
    "six hours": (timedelta(hours=6), timedelta(), (300, 300)),
    "a day": (timedelta(days=1), timedelta(), (300, 900)),
    "a week": (timedelta(days=7), timedelta(), (300, 6 * 3600)),
    "two months": (timedelta(days=60), timedelta(), (300, 86_400)),
}


@pytest.mark.parametrize(("length", "ago", "want"), RANGES.values(), ids=RANGES)
def test_it_draws_at_most_so_many_points_of(length, ago, want):
    end = NOW - ago
    found = grid(end - length, end, NOW)
    assert (found.resolution, found.step) == want
    assert len(found.moments) <= POINTS + 1
    assert found.start <= end - length < found.start + timedelta(seconds=found.step)
    assert found.moments[-1] < end <= found.moments[-1] + timedelta(seconds=found.step)
