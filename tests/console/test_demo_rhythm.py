"""The demo's past: the same again, in the shape of working days, acceptable to the door."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest

from billing.rules.events import Accepted, read_event
from console.demo.cast import TENANTS
from console.demo.history import _counted, _envelope
from console.demo.rhythm import DAYS, Caller, days_before, events_of_day, rate
from gateway.contract.outcomes import ANSWERED, Outcome

END = datetime(2026, 3, 18, 15, tzinfo=UTC)  # a Wednesday
WEDNESDAY, SUNDAY = END.replace(hour=0), END.replace(hour=0) - timedelta(days=3)
SHOP = Caller(1, 2, 3, "Europe/Berlin", TENANTS[0].applications[0], {"chat-small": 7})
REPORTS = Caller(4, 5, 6, "America/New_York", TENANTS[1].applications[1], {})


@pytest.fixture(scope="module")
def day():
    return list(events_of_day(SHOP, WEDNESDAY - timedelta(days=1), END))


def test_it_makes_the_same_events_again(day):
    assert list(events_of_day(SHOP, WEDNESDAY - timedelta(days=1), END)) == day
    assert len({event.request_id for event in day}) == len(day) > 300


def test_it_is_taken_by_the_ingest_door_event_by_event(day):
    for event in day:
        judged = read_event(msgspec.json.encode(_envelope(event)), END)
        assert isinstance(judged, Accepted), judged
        assert event.demo


def test_its_engines_counted_what_its_gateway_metered():
    callers, days = [SHOP, REPORTS], days_before(END)[:3]
    counted = _counted(callers, days, END)
    events = [e for d in days for c in callers for e in events_of_day(c, d, END) if e.service_id]
    assert all(hour.minute == hour.second == 0 and service == 7 for hour, service in counted)
    sums = [sum(of) for of in zip(*counted.values(), strict=True)]
    assert sums == [sum(e.prompt_tokens for e in events), sum(e.completion_tokens for e in events)]
    assert sums[1] > 0


def test_it_has_ids_that_sort_by_time(day):
    first, last = min(day, key=lambda e: e.started_at), max(day, key=lambda e: e.started_at)
    assert UUID(first.request_id).version == 7
    assert first.request_id < last.request_id


def test_it_ends_before_the_hour_in_which_it_was_made():
    today = list(events_of_day(SHOP, WEDNESDAY, END))
    assert today
    assert max(event.finished_at for event in today) < END.timestamp() * 1e6


def test_it_is_quiet_at_night_and_at_weekends_and_grows():
    noon, night = WEDNESDAY.replace(hour=12), WEDNESDAY.replace(hour=2)
    assert rate(SHOP, noon, END) > 5 * rate(SHOP, night, END)
    assert rate(SHOP, noon, END) > 2 * rate(SHOP, SUNDAY.replace(hour=12), END)
    assert rate(SHOP, noon, END) > 1.2 * rate(SHOP, noon - timedelta(days=49), END)
    assert rate(REPORTS, WEDNESDAY.replace(hour=7), END) > rate(REPORTS, noon, END)  # 3 at night


def test_it_charges_nothing_for_what_nobody_answered(day):
    outcomes = Counter(event.outcome for event in day)
    assert outcomes[Outcome.SERVED] > 0.9 * len(day)
    for event in day:
        unanswered = event.outcome not in ANSWERED and event.outcome is not Outcome.CANCELLED
        assert (event.completion_tokens == 0) == unanswered
        assert 0 <= event.cached_tokens <= event.prompt_tokens


def test_it_has_a_bounded_number_of_days_and_requests():
    days = days_before(END)
    assert len(days) == DAYS
    assert days[0] == WEDNESDAY
    callers = [
        Caller(1, n, n, t.time_zone, a, {}) for t in TENANTS for n, a in enumerate(t.applications)
    ]
    total = sum(len(list(events_of_day(c, WEDNESDAY - timedelta(days=1), END))) for c in callers)
    assert 1_500 < total < 3_500
