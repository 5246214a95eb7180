"""GPU time of rollouts: what is held on top of what served before, and only while they move."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.actions.rollout_time import add_rollout_time
from fleet.models import Rollout, RolloutGpuTime
from fleet.rules.observation import read_nodes, read_pods
from fleet.rules.rollout_time import held_by, on_top, seen_hours
from tests.fleet.fake_cluster import NOW, make_node, make_pod
from tests.fleet.makers import make_cluster, make_release, make_service

counts = st.dictionaries(st.sampled_from(["H100", "L40S"]), st.integers(0, 50))


@given(held=counts, before=counts, anywhere=st.integers(0, 50))
def test_on_top_is_never_below_zero_nor_more_than_held(held, before, anywhere):
    found = on_top(held, before | {"": anywhere})
    assert all(0 < found[p] <= held[p] for p in found)
    assert sum(found.values()) >= sum(held.values()) - sum(before.values()) - anywhere


def test_it_takes_off_what_had_no_product_wherever_it_is():
    assert on_top({"H100": 3, "L40S": 2}, {"": 4}) == {"L40S": 1}
    assert on_top({"H100": 3, "L40S": 2}, {"H100": 2}) == {"H100": 1, "L40S": 2}


def test_time_is_cut_at_full_hours_and_gaps_are_left_out():
    hour = NOW.replace(minute=0)
    assert seen_hours(hour - timedelta(seconds=2), hour + timedelta(seconds=1)) == [
        (hour - timedelta(hours=1), 2_000), (hour, 1_000),
    ]  # fmt: skip
    assert seen_hours(NOW, NOW + timedelta(seconds=3)) == [(hour, 3_000)]
    assert seen_hours(None, NOW) == seen_hours(NOW - timedelta(minutes=5), NOW) == []


@pytest.fixture
def moving(db):
    cluster = make_cluster(observed_at=NOW - timedelta(seconds=3))
    service = make_service("chat")
    old = make_release(service, 1, "a" * 64, resources={"gpus": 1})
    new = make_release(service, 2, "b" * 64, resources={"gpus": 1})
    rollout = Rollout.objects.create(
        service=service, cluster=cluster, from_release=old, to_release=new,
        plan_kind="surge_canary", plan={"numbers": {"old_replicas": 2}}, steps=[], replicas=2,
        phase="shifting", phase_since=NOW, started_at=NOW - timedelta(minutes=1),
    )  # fmt: skip
    return cluster, rollout


def look(cluster, pods, now=NOW):
    nodes = read_nodes([make_node()], pods)
    add_rollout_time(cluster, nodes, read_pods(pods, now), now)
    return nodes


def pods(number):
    return [make_pod(name=f"chat-{n}") for n in range(number)]


def test_it_adds_up_what_is_held_on_top(moving):
    cluster, rollout = moving
    nodes = look(cluster, pods(3))
    look(cluster, pods(3))
    row = RolloutGpuTime.objects.get()
    assert (row.rollout, row.gpu_ms) == (rollout, 6_000)
    assert row.gpu_product == next(iter(held_by("chat", nodes, read_pods(pods(1), NOW))))
    look(cluster, pods(2))
    row.refresh_from_db()
    assert row.gpu_ms == 6_000


@pytest.mark.parametrize("change", [{"phase": "succeeded"}, {"started_at": None}])
def test_a_rollout_that_does_not_move_holds_nothing(moving, change):
    cluster, rollout = moving
    Rollout.objects.filter(pk=rollout.pk).update(**change)
    look(cluster, pods(5))
    assert not RolloutGpuTime.objects.exists()
