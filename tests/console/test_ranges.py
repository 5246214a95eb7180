from datetime import UTC, datetime, timedelta

import pytest

from console.ranges import read_range
from tenants.errors import Invalid

NOW = datetime(2026, 11, 23, 14, 32, tzinfo=UTC)


def test_it_takes_the_last_hour_when_nothing_is_said():
    span = read_range({}, NOW)
    assert (span.start, span.end) == (NOW - timedelta(hours=1), NOW)
    assert (span.label, span.text) == ("Last 1 hour", "13:32–14:32 UTC")
    assert span.query == "from=now-1h&to=now"


def test_it_reads_an_absolute_range_as_utc_and_converts_a_zone():
    span = read_range({"from": "2026-11-23T10:00", "to": "2026-11-23T13:00+02:00"}, NOW)
    assert span.start == datetime(2026, 11, 23, 10, tzinfo=UTC)
    assert span.end == datetime(2026, 11, 23, 11, tzinfo=UTC)


@pytest.mark.parametrize(
    "query",
    [
        {"from": "yesterday"},
        {"from": "now-1h; drop table"},
        {"from": "now", "to": "now"},
        {"from": "now", "to": "now-1h"},
        {"from": "now-9999d"},
        {"to": "2026-13-01"},
    ],
)
def test_it_refuses_what_is_no_range_with_a_sentence(query):
    with pytest.raises(Invalid) as refusal:
        read_range(query, NOW)
    assert len(refusal.value.message) > 20


@pytest.mark.parametrize(
    ("first", "want"), [("now-1h", 30), ("now-6h", 300), ("now-7d", 3600), ("now-30d", 21600)]
)
def test_it_chooses_a_step_that_keeps_charts_small(first, want):
    assert read_range({"from": first}, NOW).bucket().total_seconds() == want
