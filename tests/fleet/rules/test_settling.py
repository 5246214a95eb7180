"""Gateways confirm a weight before replicas go, and none holds a way back up for ever."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fleet.rules.phases import Phase, PlanKind
from fleet.rules.settling import quiet, settled
from fleet.rules.state import Applied, Memory, Seen, State, Told

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
STATE = State(
    kind=PlanKind.SURGE_CANARY, phase=Phase.ROLLING_BACK, phase_since=NOW, steps=(), replicas=2,
    old_replicas=2, has_old=True, min_replicas=2, surge=1, old="r1", new="r2",
)  # fmt: skip


def asked(seconds, told, version=7, **changes):
    shifted = (NOW - timedelta(seconds=seconds)).isoformat()
    state = replace(STATE, memory=Memory(shifted_at=shifted, told=version), **changes)
    return settled(state, Seen(gateways=told), NOW)


BOTH = (Applied("gw-0", 7), Applied("gw-1", 8))
LAGS = (Applied("gw-0", 7), Applied("gw-1", 6))
SILENT = (Applied("gw-0", 7), Applied("gw-1", 6, age_seconds=9))


@pytest.mark.parametrize(
    ("seconds", "told", "version", "done", "words"),
    [
        (1, Told(7, BOTH), 7, True, "All 2 gateway workers apply routing 7"),
        (20, Told(7, LAGS), 7, False, "1 of 2 gateway workers do not apply routing 7: gw-1 (routi"),
        (20, Told(7, SILENT), 7, False, "silent for 9 s"),
        (31, Told(7, LAGS), 7, True, "Not waited for beyond 30 s"),
        (5, Told(0, BOTH), 0, False, "not published yet"),
        (1, Told(7, ()), 7, False, "Gateways take the new weights"),
        (3, Told(7, ()), 7, True, ""),
        (3, None, 0, True, ""),
        (3, Told(trouble="Redis does not answer"), 0, False, "cannot be asked: Redis does not an"),
        (6, Told(trouble="Redis does not answer"), 0, True, "None asks the console"),
        (5, Told(7, BOTH, trouble="no Redis"), 7, False, "Goes on after 6 s"),
        (6, Told(7, BOTH, trouble="no Redis"), 7, True, "no Redis. All 2 that ask the console: g"),
        (9, Told(7, LAGS, trouble="no Redis"), 7, False, "Waits for gateways. 1 of 2 gateway wo"),
        (30, Told(7, LAGS, trouble="no Redis"), 7, True, "Not waited for beyond 30 s"),
    ],
)
def test_it_waits_for_every_gateway_and_not_for_ever(seconds, told, version, done, words):
    found = asked(seconds, told, version)
    assert found.done is done
    assert words in found.why


def ago(seconds):
    return NOW - timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("left", "last", "arrears", "done", "words"),
    [
        (None, None, "", True, "r2 got no traffic"),
        (4, None, "", False, "got its last request 4 s ago"),
        (40, 3, "", False, "got its last request 3 s ago"),
        (40, 12, "", True, "r2 got 0 requests for 12 s"),
        (11, None, "", True, "r2 got 0 requests for 11 s"),
        (40, 12, "3 requests wait in gw-0", False, "not all known"),
        (60, 12, "3 requests wait in gw-0", True, "as far as known. 3 requests wait in gw-0"),
    ],
)
def test_a_window_without_a_request_ends_a_way_back(left, last, arrears, done, words):
    state = replace(STATE, new_left=None if left is None else ago(left))
    seen = Seen(gateways=Told(arrears=arrears), last_new=None if last is None else ago(last))
    found = quiet(state, seen, NOW)
    assert found.done is done
    assert words in found.why
