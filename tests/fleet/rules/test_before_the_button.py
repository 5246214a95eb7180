"""The earliest start of each way, whom it touches, and what the peak of the week needs."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.queries.situations import Touched
from fleet.rules.answers import Quota
from fleet.rules.begins_within import BeginsWithin, read_begins, refuse_begins
from fleet.rules.earliest import Calendar, earliest
from fleet.rules.fit import Need, NodeRoom
from fleet.rules.freeze import Window
from fleet.rules.peak import Peak, busiest, load_words, scaled
from fleet.rules.phases import PlanKind
from fleet.rules.plan import plan_of, plans_of
from fleet.rules.queue import Ahead
from fleet.rules.touching import Effect, touches
from tests.fleet.rules.test_plan_rules import H, held, make_situation, nodes

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
SURGE, BLUE, RECREATE = PlanKind.SURGE_CANARY, PlanKind.BLUE_GREEN, PlanKind.RECREATE


def freeze(title="Sale", hours=3, after=0):
    end = None if hours is None else NOW + (after + hours) * HOUR
    return Window(title, "as every year", NOW + after * HOUR, end)


def ahead(name="RO-5 of chat", gpus=4, ends=2.0, began=True, takes=1.0):
    return Ahead(
        name, (Need(H, 1, gpus),), began,
        ends=NOW + ends * HOUR if began and ends is not None else None,
        takes=None if takes is None else takes * HOUR,
    )  # fmt: skip


FULL = {"nodes": [*held(4), *nodes(0)]}
BACK = {"nodes": [*held(4), NodeRoom("h100-07", H, 8, 0, usable=False)]}
CASES = {
    "now": ({}, SURGE, {}, 0, "as soon as it is approved"),
    "with consent": (
        {"nodes": held(4)}, RECREATE, {}, 0, "only with explicit consent"),
    "no such GPU": (
        {"nodes": []}, SURGE, {}, None, "never: No node has H100-80GB-HBM3: 1 needed"),
    "GPUs of somebody": (FULL, SURGE, {}, None, "not before 1 H100-80GB-HBM3 are free"),
    "GPUs of a node that is out": (
        BACK, SURGE, {}, None, "free: 8 come back when h100-07 may be used again"),
    "and still too few": (
        {"nodes": [*held(4, of=4), NodeRoom("h100-07", H, 2, 0, usable=False), *nodes(0, of=8)]},
        BLUE, {}, None, "2 come back when h100-07 may be used again; still 2 missing"),
    "a quota": (
        {"quotas": (Quota("gpus", 10, 9),), "nodes": [*held(4), *nodes(4)]}, BLUE, {}, None,
        "leaves 1 of 10 GPUs, 4 needed: 3 missing"),
    "a rollout that ends": (
        FULL | {"ahead": (ahead(),)}, SURGE, {}, 2, "about, when RO-5 of chat gave back GPUs"),
    "one that is late": (FULL | {"ahead": (ahead(ends=-1),)}, SURGE, {}, 0, "RO-5 of chat"),
    "one whose end nobody knows": (
        FULL | {"ahead": (ahead(ends=None),)}, SURGE, {}, None, "nobody knows when"),
    "one behind another": (
        FULL | {"ahead": (ahead(gpus=1), ahead("RO-6 of code", gpus=1, began=False))}, SURGE, {},
        3, "when RO-5 of chat and RO-6 of code gave back GPUs"),
    "a freeze": ({}, SURGE, {"freezes": (freeze(),)}, 3, "“Sale” lets no rollout begin before"),
    "a freeze after another": (
        {}, SURGE, {"freezes": (freeze(), freeze("Audit", 4, after=3))}, 7, "“Audit” lets"),
    "a hold": (
        {}, SURGE, {"freezes": (freeze("Hold", None),)}, None, "when somebody ends “Hold”"),
    "a freeze when its turn comes": (
        FULL | {"ahead": (ahead(),)}, SURGE, {"freezes": (freeze("Night", 6, after=1),)}, 7,
        "“Night” lets"),
    "as asked for": ({}, SURGE, {"opens": NOW + 10 * HOUR}, 10, "as it was asked for"),
    "after its own open one": (
        {}, SURGE, {"after": "RO-9 of this service"}, None, "when RO-9 of this service has ended"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_says_when_a_way_can_begin_or_what_must_come_first(case):
    changes, kind, calendar, hours, words = CASES[case]
    s = make_situation(**changes)
    plan = plan_of(s, kind)
    found = earliest(plan, s.nodes, s.quotas or (), s.ahead, Calendar(NOW, **calendar))
    assert found.at == (None if hours is None else NOW + hours * HOUR), found.text
    assert words in found.text
    assert found.never == found.text.startswith("never")


AHEADS = st.lists(
    st.builds(
        ahead, st.just("RO-1 of x"), st.integers(1, 6), st.none() | st.floats(-2, 9), st.booleans(),
        st.none() | st.floats(0, 9),
    ),
    max_size=4,
)  # fmt: skip
FREEZES = st.lists(
    st.builds(freeze, st.just("F"), st.none() | st.integers(1, 9), st.integers(0, 9)), max_size=3
)


@given(free=st.lists(st.integers(0, 4), max_size=3), aheads=AHEADS, freezes=FREEZES)
def test_no_moment_is_promised_in_the_past_or_within_a_freeze(free, aheads, freezes):
    s = make_situation(nodes=[*held(4), *nodes(*free)], ahead=aheads)
    for plan in plans_of(s):
        found = earliest(plan, s.nodes, (), s.ahead, Calendar(NOW, freezes))
        assert found.text
        if found.at is not None:
            assert found.at >= NOW
            assert not any(
                f.starts_at <= found.at and (f.ends_at is None or found.at < f.ends_at)
                for f in freezes
            )


PEAK = Peak(NOW, 900, 300, 45.0, 12, "--max-num-seqs")
USERS = (Touched(1, "acme", "interactive", 3600), Touched(2, "globex", "batch", 360))
TOUCHED = {
    "nobody": ({}, SURGE, False, Effect.NONE, (0, 0)),
    "cold caches": ({}, SURGE, True, Effect.COLD, (0, 0)),
    "too few at the peak": ({"peak": PEAK}, PlanKind.REPLACE, True, Effect.WAITS, (0, 0)),
    "enough at the peak": ({"peak": PEAK}, SURGE, False, Effect.NONE, (0, 0)),
    "none answers": ({}, RECREATE, False, Effect.REFUSED, (210, 21)),
}


@pytest.mark.parametrize("case", TOUCHED)
def test_it_names_who_is_touched_how_and_with_how_many_requests(case):
    changes, kind, caches, effect, lost = TOUCHED[case]
    found = touches(plan_of(make_situation(**changes), kind), USERS, caches_change=caches)
    assert [(t.tenant, t.traffic_class, t.requests) for t in found] == [
        ("acme", "interactive", 3600), ("globex", "batch", 360),
    ]  # fmt: skip
    assert {t.effect for t in found} == {effect}
    assert tuple(t.at_risk for t in found) == lost


def test_it_says_what_the_peak_needs_or_that_nobody_measured_it():
    assert plan_of(make_situation(peak=PEAK), SURGE).peak_replicas == 45 / 12
    assert plan_of(make_situation(), SURGE).peak_replicas is None
    blind = plan_of(make_situation(peak=replace(PEAK, in_flight=None)), SURGE)
    assert "replicas that the peak needs: no engine told what it had in flight" in blind.unmeasured


def test_what_was_in_flight_grows_with_the_requests():
    slots = [(NOW - 50 * HOUR, 900), (NOW - 2 * HOUR, 300), (NOW - HOUR, 300)]
    assert busiest(slots) == slots[0]
    assert busiest(slots[1:]) == slots[2]
    assert busiest([]) is None
    assert scaled(10.0, slots[2], slots[0]) == 30.0
    assert scaled(10.0, (NOW, 0), slots[0]) is None


WRONG = {
    "nothing": (BeginsWithin(), {}),
    "a window": (BeginsWithin(NOW + HOUR, NOW + 2 * HOUR), {}),
    "over": (BeginsWithin(None, NOW), {"begins_before": "over"}),
    "backwards": (BeginsWithin(NOW + 2 * HOUR, NOW + HOUR), {"begins_before": "after"}),
    "too far": (BeginsWithin(NOW + 31 * 24 * HOUR), {"begins_from": "30 days"}),
}


@pytest.mark.parametrize("case", WRONG)
def test_it_refuses_a_time_in_which_nothing_can_begin(case):
    begins, words = WRONG[case]
    found = refuse_begins(begins, NOW)
    assert found.keys() == words.keys()
    assert all(words[k] in found[k] for k in words)


def test_a_time_is_kept_as_it_was_stated():
    begins = BeginsWithin(NOW, NOW + HOUR)
    assert read_begins({"begins": begins.as_json()}) == begins
    assert read_begins({}) is None
    assert begins.words == "from Fri 27 Nov 12:00 and before Fri 27 Nov 13:00 UTC"
    assert (begins.is_early(NOW - HOUR), begins.is_early(NOW)) == (True, False)
    assert (begins.is_over(NOW + HOUR), begins.is_over(NOW)) == (True, False)


@pytest.mark.parametrize(
    ("needs", "said"),
    [
        (0.0, "next to nothing"),
        (0.04, "next to nothing"),
        (0.3, "0.3 of a replica"),
        (0.97, "1 replica"),
        (1.04, "1 replica"),
        (9.4, "9.4 replicas"),
        (1200.0, "1,200 replicas"),
    ],
)
def test_it_says_what_the_peak_needs(needs, said):
    assert load_words(needs) == said
