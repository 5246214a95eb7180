"""The table of steps: what it plans is what the machine then does."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.rules.audience import Audience, Named
from fleet.rules.phases import Phase, PlanKind
from fleet.rules.situation import StepPlan
from fleet.rules.step_table import Sizes, happened, planned, sizes_from, state_of
from tests.fleet.rules.walk import Walk, make_state

STEPS = (StepPlan(10, 10, 20), StepPlan(50, 10, 20), StepPlan(80, 10, 20))
ACME = Named(1, "acme", 1)


def events_of(walk):
    """As the timeline keeps them: a change of phase or of replicas is an event."""
    found, before = [], (4, 0)
    while not (found and found[-1].phase == Phase.SUCCEEDED):
        walk.step()
        state = walk.state
        now = (state.declared_old, state.declared_new)
        detail = {"replicas_old": now[0], "replicas_new": now[1]} if now != before else {}
        before = now
        found.append(
            SimpleNamespace(at=walk.now, phase=state.phase, step=state.step, detail=detail)
        )
        assert len(found) < 400, state.why
    return found


@pytest.mark.parametrize(
    ("kind", "surge", "gpus", "least"),
    [
        (PlanKind.SURGE_CANARY, 1, 8, 4),
        (PlanKind.SURGE_CANARY, 2, 8, 4),
        (PlanKind.BLUE_GREEN, 4, 8, 4),
        (PlanKind.REPLACE, 0, 4, 3),
    ],
)
def test_each_step_has_the_replicas_that_were_planned(kind, surge, gpus, least):
    changes = {"kind": kind, "surge": surge, "min_replicas": least, "steps": STEPS}
    was = happened(events_of(Walk(make_state(**changes), gpus=gpus)), len(STEPS), 4)
    numbers = {"old_replicas": 4, "surge": surge, "gpus_new": 1, "gpus_old": 1}
    lines = planned(sizes_from(kind, 4, numbers), STEPS, 20, Audience())
    assert sorted(was) == list(range(len(lines)))
    assert [(w.counts.new, w.counts.old) for _, w in sorted(was.items())] == [
        (line.new, line.old) for line in lines
    ]
    ends = [w.ended for _, w in sorted(was.items())]
    assert ends == sorted(ends)
    assert None not in ends


gpus = st.integers(1, 8)


@given(
    kind=st.sampled_from(PlanKind),
    replicas=st.integers(1, 12),
    before=st.integers(0, 12),
    surge=st.integers(0, 12),
    new=gpus,
    old=gpus,
    percents=st.lists(st.integers(1, 99), unique=True, max_size=5).map(sorted),
)
def test_replicas_of_the_new_release_only_grow_and_the_old_ones_only_shrink(
    kind, replicas, before, surge, new, old, percents
):
    whole = max(before * old + surge * new, replicas * new)
    sizes = Sizes(kind, replicas, before, surge, {"": whole}, {"": new}, {"": old})
    steps = [StepPlan(p, 10, 20) for p in percents]
    lines = planned(sizes, steps, 60, Audience())
    assert [s.new for s in lines] == sorted(s.new for s in lines)
    assert [s.old for s in lines] == sorted((s.old for s in lines), reverse=True)
    assert lines[-1].new == replicas
    assert all(0 <= s.old <= before and 1 <= s.new <= replicas for s in lines)
    if kind is not PlanKind.RECREATE:
        assert all(s.old * old + s.new * new <= whole or not s.old for s in lines)


def test_recreate_and_a_first_release_have_nothing_beside():
    numbers = {"old_replicas": 3, "surge": 0, "gpus_new": 1, "gpus_old": 1}
    for kind, old in ((PlanKind.RECREATE, 3), (PlanKind.SURGE_CANARY, 0)):
        sizes = sizes_from(kind, 3, numbers | {"old_replicas": old})
        lines = planned(sizes, (), 60, Audience())
        assert [(s.title, s.new, s.old) for s in lines] == [
            ("First replicas", 3, 0), ("100 %", 3, 0), ("Soak", 3, 0),
        ]  # fmt: skip


def test_it_says_who_takes_part():
    steps = (StepPlan(10, 10, 20, shadow=True), StepPlan(10, 10, 20), StepPlan(50, 10, 20))
    audience = Audience(first_tenants=(ACME,), last_tenants=(Named(2, "globex", 2),), alone=2)
    sizes = Sizes(PlanKind.SURGE_CANARY, 2, 2, 1, {"": 3}, {"": 1}, {"": 1})
    told = [s.takes_part for s in planned(sizes, steps, 60, audience)]
    assert told == [
        "nobody yet", "no client; requests of only acme are copied", "only acme",
        "all but globex", "everybody", "everybody",
    ]  # fmt: skip


def test_it_knows_where_a_rollout_turned_round_and_what_was_not_reached():
    start = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
    phases = [Phase.CANARY_STARTING, Phase.SHIFTING, Phase.PAUSED, Phase.ANALYZING, Phase.ABORTING]
    told = [
        SimpleNamespace(at=start + timedelta(minutes=n), phase=phase, step=0, detail={})
        for n, phase in enumerate(phases)
    ]
    was = happened(told, 2, 4)
    assert sorted(was) == [0, 1]
    assert was[1].begun == start + timedelta(minutes=1)
    assert was[1].ended == start + timedelta(minutes=4)
    states = [state_of(n, was, Phase.ABORTING, going=False) for n in range(3)]
    assert states == ["passed", "went_back", "not_reached"]
    was = happened(told[:-1], 2, 4)
    states = [state_of(n, was, Phase.ANALYZING, going=True) for n in range(3)]
    assert states == ["passed", "now", "next"]


def test_without_kept_numbers_there_is_no_table():
    assert sizes_from("surge_canary", 2, {}) is None
