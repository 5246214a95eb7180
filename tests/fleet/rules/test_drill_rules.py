"""When a drill is taken back, and what it has to keep."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.rules.drill import (
    DrillVerdict,
    Limits,
    Measured,
    Moment,
    Promise,
    is_stale,
    judge,
    reached,
    refuse_limits,
    refuse_moment,
    sentence,
)
from fleet.rules.phases import BEFORE_WRITES, FINAL, GOING_BACK, Phase

WAY = [
    (Phase.PREPARING, 0), (Phase.CANARY_STARTING, 0), (Phase.CANARY_VERIFYING, 0),
    (Phase.SHIFTING, 0), (Phase.ANALYZING, 0), (Phase.SHIFTING, 1), (Phase.ANALYZING, 1),
    (Phase.PROMOTING, 2), (Phase.SOAKING, 2),
]  # fmt: skip
FIRST = {
    (Moment.CANARY, 0): 2,
    (Moment.STEP, 1): 4,
    (Moment.STEP, 2): 6,
    (Moment.PROMOTING, 0): 7,
    (Moment.SOAKING, 0): 8,
}


@pytest.mark.parametrize("moment", FIRST)
def test_a_moment_comes_once_and_stays(moment):
    found = [reached(phase, step, *moment) for phase, step in WAY]
    assert found == [index >= FIRST[moment] for index in range(len(WAY))]


@given(st.sampled_from(Moment), st.integers(0, 9), st.integers(0, 9))
def test_what_is_paused_goes_back_or_has_not_begun_is_left_alone(moment, step, number):
    still = BEFORE_WRITES | GOING_BACK | FINAL | {Phase.PAUSED, Phase.PREPARING}
    assert not any(reached(phase, step, moment, number) for phase in still)


def test_a_moment_that_never_comes_is_refused():
    assert refuse_moment(Moment.STEP, 3, 2, gated=True) == "There is no step 3: the plan has 2"
    assert refuse_moment(Moment.STEP, 2, 2, gated=True) == ""
    assert "neither canary nor steps" in refuse_moment(Moment.CANARY, 0, 0, gated=False)
    assert refuse_moment(Moment.SOAKING, 0, 0, gated=False) == ""


def test_limits_that_nothing_keeps_are_refused():
    assert refuse_limits(Limits()) == ""
    assert "more than 0 seconds" in refuse_limits(Limits(traffic_back_seconds=0))
    for strange in (float("nan"), float("inf"), 86_401):
        assert "a day at most" in refuse_limits(Limits(full_back_seconds=strange))
    assert "counted from 0" in refuse_limits(Limits(requests_lost=-1))


GOOD = Measured(
    started=True, asked_in="analyzing", phase=Phase.ROLLED_BACK, traffic_back=1.0, full_back=30.0,
    lost=0,
)  # fmt: skip
PROMISE = Promise(2.0, 40.0)
BAD = {
    "too slow": {"traffic_back": 10.1},
    "not seen": {"traffic_back": None},
    "everything too slow": {"full_back": 601.0},
    "one lost": {"lost": 1},
    "another end": {"phase": Phase.SUCCEEDED},
}


def test_it_passes_within_its_limits():
    verdict, checks = judge(GOOD, Limits(), PROMISE)
    assert verdict is DrillVerdict.PASSED
    assert [c.promised for c in checks] == [None, 2.0, 40.0, None]
    assert sentence(verdict, checks, "") == (
        "All traffic was back after 1.0 s, everything after 30.0 s, and 0 requests were lost"
    )


@pytest.mark.parametrize("case", BAD)
def test_one_limit_that_is_not_kept_fails_it(case):
    verdict, checks = judge(replace(GOOD, **BAD[case]), Limits(), PROMISE)
    assert verdict is DrillVerdict.FAILED
    assert sum(not c.passed for c in checks) == 1
    assert sentence(verdict, checks, "So it ended").endswith("So it ended")


def test_one_that_was_never_taken_back_proves_nothing():
    verdict, checks = judge(replace(GOOD, asked_in=""), Limits(), PROMISE)
    assert verdict is DrillVerdict.NOT_RUN and checks
    assert judge(replace(GOOD, asked_in="", started=False), Limits(), PROMISE)[1] == []


def test_a_proof_grows_old():
    now = datetime(2026, 7, 1, tzinfo=UTC)
    assert is_stale(None, now, 90)
    assert not is_stale(now - timedelta(days=90), now, 90)
    assert is_stale(now - timedelta(days=90, seconds=1), now, 90)
