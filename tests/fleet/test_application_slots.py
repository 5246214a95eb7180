"""Applications that an open rollout lets go first: counted apart, compared among themselves."""

import random
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from fleet.actions.traffic import record, record_copies
from fleet.actions.trimming import trim
from fleet.models import (
    ApplicationLatencySlot,
    ApplicationSlot,
    EngineSample,
    ObservedPod,
    Rollout,
    TrafficSlot,
)
from fleet.queries.comparison import compare, everybody
from fleet.rules.audience import Audience, Named
from fleet.rules.comparison import judged
from fleet.rules.gate_limits import GateLimits
from fleet.rules.gates import read_gate
from fleet.rules.traffic import TrafficSample
from tenants.base.scope import fleet_scope
from tests.fleet.makers import make_release
from tests.fleet.test_pins import service

__all__ = ["service"]

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
BOUNDS = NOW, NOW + timedelta(seconds=60)
CHAT, SEARCH = 71, 72
NAMES = {CHAT: "acme/chat"}
FIRST = Audience(first_applications=(Named(CHAT, "acme/chat", 1),))


@pytest.fixture
def rollout(service):
    old, new = make_release(service, digest="e" * 64), make_release(service, 2, digest="f" * 64)
    return Rollout.objects.create(
        service=service, cluster=service.cluster, from_release=old, to_release=new,
        plan_kind="surge_canary", plan={"audience": FIRST.as_json()}, steps=[], replicas=1,
        phase="analyzing", phase_since=NOW, look_again=NOW, why="", started_at=NOW,
    )  # fmt: skip


def answer(rollout, n, *, new=False, application=CHAT, copies=False, **changes):
    release = rollout.to_release_id if new else rollout.from_release_id
    fields = {
        "at": NOW + timedelta(seconds=11), "tenant_id": 1, "service_id": rollout.service_id,
        "release_id": release, "traffic_class": "interactive", "outcome": "served",
        "ttft_ms": 40.0, "itl_ms": 8.0, "prompt_tokens": 10, "completion_tokens": 5,
        "application_id": application, "gpu_ms": 100, "finish": "stop",
    }  # fmt: skip
    with fleet_scope():
        (record_copies if copies else record)([TrafficSample(**(fields | changes))] * n, now=NOW)


def compared(rollout, takes_part=everybody, applications=NAMES, **more):
    pair = rollout.to_release_id, rollout.from_release_id
    return compare(rollout.service_id, *pair, BOUNDS, takes_part, applications=applications, **more)


def test_only_those_that_an_open_rollout_names_are_counted_apart(rollout):
    answer(rollout, 3)
    answer(rollout, 4, application=SEARCH)
    Rollout.objects.update(ended_at=NOW)
    answer(rollout, 5)
    with fleet_scope():
        assert [r.requests for r in ApplicationSlot.objects.all()] == [3]
        assert ApplicationLatencySlot.objects.filter(metric="finish", bucket=0).count() == 1
        assert sum(r.requests for r in TrafficSlot.objects.filter(seconds=10)) == 12


def test_the_first_step_is_compared_among_the_application_alone(rollout):
    """The rest of its tenant is slow on the old release, and asks a hundred times as much."""
    answer(rollout, 100)
    answer(rollout, 50, new=True)
    answer(rollout, 900, application=SEARCH, ttft_ms=900.0)
    window = compared(rollout, partial(FIRST.takes_part, 0))
    assert (judged(window.canary), judged(window.stable)) == (50, 100)
    assert window.stable.ttft.quantile(0.95) < 50
    assert read_gate(window, 50, GateLimits()).verdict == "pass"


def test_an_application_that_is_hurt_fails_the_gate_by_name(rollout):
    answer(rollout, 60)
    answer(rollout, 60, new=True, outcome="failed", finish="abort")
    answer(rollout, 2000, application=SEARCH)
    answer(rollout, 6000, new=True, application=SEARCH)
    gate = read_gate(compared(rollout), 50, GateLimits())
    assert gate.verdict == "fail"
    assert "application acme/chat: error ratio 100.00% of 60" in gate.why
    assert "application acme/chat: given up by the engine 100.00% of 60" in gate.why
    assert any("application_slot" in source for source in gate.sources)


def test_copies_are_compared_with_what_could_be_copied(rollout):
    answer(rollout, 30)
    answer(rollout, 70, application=SEARCH)
    answer(rollout, 10, new=True, copies=True)
    window = compared(rollout, partial(FIRST.takes_part, 0), shadow=True)
    assert (judged(window.canary), judged(window.stable)) == (10, 30)


def test_cells_of_applications_take_nothing_away_from_the_whole(rollout):
    dice = random.Random(5)
    for _ in range(60):
        answer(
            rollout,
            dice.randrange(1, 9),
            new=dice.random() < 0.5,
            application=dice.choice([CHAT, SEARCH]),
            adapter=dice.choice(["", "polite", "shared"]),
            traffic_class=dice.choice(["batch", "interactive"]),
            outcome=dice.choice(["served", "failed"]),
            ttft_ms=dice.uniform(1, 900),
        )
    for apart in ((), ("polite",)):
        cut = compared(rollout, apart=apart)
        whole = compared(rollout, applications=None, apart=apart)
        assert {c.application_id for c in cut.cells} == {0, CHAT}
        assert {c.application_id for c in whole.cells} == {0}
        assert (cut.canary, cut.stable) == (whole.canary, whole.stable)
        assert cut.apart == whole.apart
        assert all(min(c.canary.outcomes.values(), default=0) >= 0 for c in cut.cells)
        own = compared(rollout, partial(FIRST.takes_part, 0), apart=apart)
        assert judged(own.canary) == sum(judged(c.canary) for c in cut.cells if c.application_id)


def test_engines_are_read_by_minute_and_by_what_they_held(rollout):
    new, old = rollout.to_release_id, rollout.from_release_id
    for uid, release, gpus, steps in (("n", new, 2, (0, 5, 5, 9)), ("o", old, 1, (3, 3, 3, 3))):
        ObservedPod.objects.create(
            cluster=rollout.cluster, uid=uid, name=uid, gpus=gpus, created_at=NOW, observed_at=NOW
        )
        for i, preempted in enumerate(steps):
            EngineSample.objects.create(
                pod_uid=uid, service=rollout.service, release_id=release,
                at=NOW + timedelta(seconds=10 * i), preemptions=preempted,
                generation_tokens=300 * i,
            )  # fmt: skip
    answer(rollout, 10, new=True)
    answer(rollout, 20)
    window = compared(rollout, partial(FIRST.takes_part, 0))
    found = window.preemptions
    assert (found.canary, found.stable, found.of) == (9, 0, (10, 20))
    (minute,) = found.tables
    assert (minute.marked, minute.total, minute.other_marked, minute.other_total) == (1, 1, 0, 1)
    assert [side.rate for side in window.held] == [900 / 60, 900 / 30]


def test_its_slots_end_as_all_fine_ones_do(rollout):
    answer(rollout, 3)
    told = trim(NOW + timedelta(hours=9))
    assert (told["application_traffic"], told["application_latency"]) == (1, 5)
