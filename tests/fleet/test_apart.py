"""Requests for adapters that one of two releases has: counted, and left out where both compare."""

from datetime import UTC, datetime, timedelta

import pytest

from fleet.actions.traffic import record
from fleet.actions.trimming import trim
from fleet.models import AdapterLatencySlot, AdapterSlot, Rollout, TrafficSlot
from fleet.queries.adapters import apart_of
from fleet.queries.comparison import compare
from fleet.queries.rollout_traffic import traffic_of
from fleet.rules.adapters import apart
from fleet.rules.comparison import judged
from fleet.rules.gate_limits import GateLimits
from fleet.rules.gates import read_gate, share_of
from fleet.rules.pins import pins_from
from fleet.rules.traffic import TrafficSample
from fleet.rules.whole_measures import preemptions
from tenants.base.scope import fleet_scope
from tests.fleet.makers import make_release
from tests.fleet.test_pins import A, service

__all__ = ["service"]

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
OLD, NEW, SERVICE = 3, 4, 2
BOUNDS = NOW, NOW + timedelta(seconds=60)


def answer(n, release, adapter="", **changes):
    fields = {
        "at": NOW + timedelta(seconds=11), "tenant_id": 1, "service_id": SERVICE,
        "release_id": release, "traffic_class": "interactive", "outcome": "served",
        "ttft_ms": 40.0, "itl_ms": 8.0, "prompt_tokens": 10, "completion_tokens": 5,
        "adapter": adapter,
    }  # fmt: skip
    with fleet_scope():
        record([TrafficSample(**(fields | changes))] * n, now=NOW)


def compared(names=("polite",), **more):
    return compare(SERVICE, NEW, OLD, BOUNDS, lambda *_: True, apart=names, **more)


def test_the_share_is_of_requests_that_both_can_answer():
    answer(90, OLD)
    answer(10, NEW)
    answer(400, NEW, "polite")
    seen = share_of(compared(()), 10)
    assert (seen.observed, seen.inside) == (410 / 500, False)
    seen = share_of(compared(), 10)
    assert (seen.observed, seen.requests, seen.inside) == (0.1, 100, True)


def test_adapters_of_both_are_compared_like_all_others():
    answer(90, OLD, "shared")
    answer(10, NEW, "shared")
    answer(5, NEW, "polite")
    assert share_of(compared(), 10).observed == 0.1


def test_a_gate_judges_like_with_like_and_says_what_it_left_out():
    """The adapter is slow: its requests are all of the canary, and say nothing about the rest."""
    answer(400, OLD)
    answer(400, NEW)
    answer(300, NEW, "polite", ttft_ms=4000.0)
    answer(60, NEW, "polite", outcome="failed", tenant_id=9)
    limits = GateLimits()
    assert read_gate(compared(()), 100, limits).verdict == "fail"
    window = compared()
    found = read_gate(window, 100, limits)
    assert found.verdict == "pass", found.why
    assert "Requests for polite are not compared: 360 of the canary" in found.why
    assert any("AND adapter = ANY(ARRAY['polite'])" in s for s in found.sources)
    assert window.canary.outcomes == {"served": 400}
    assert (window.canary.ttft.total, window.canary.prompt_tokens) == (400, 4000)


def test_it_leaves_out_of_stable_what_the_new_release_lacks():
    answer(100, OLD)
    answer(100, NEW)
    answer(900, OLD, "polite", itl_ms=1.0)
    window = compared()
    assert (judged(window.stable), judged(window.canary)) == (100, 100)
    assert window.apart.told() == "Requests for polite are not compared: 900 of stable"


def test_a_shadow_is_compared_with_what_it_could_copy():
    answer(100, OLD)
    answer(300, OLD, "polite")
    assert judged(compared(shadow=True).stable) == 100


def test_those_who_take_no_part_are_not_left_out_twice():
    answer(100, OLD)
    answer(30, NEW, "polite", tenant_id=9)
    window = compare(SERVICE, NEW, OLD, BOUNDS, lambda tenant, *_: tenant == 1, apart=("polite",))
    assert (judged(window.canary), window.apart) == (0, None)


def test_preemptions_are_of_all_requests_of_the_engines():
    answer(100, OLD)
    answer(10, NEW)
    answer(90, NEW, "polite")
    window = compared()
    assert window.preemptions.of == (100, 100)
    assert preemptions(window, GateLimits()).canary is None  # the engines said nothing


def test_nothing_else_counts_them_apart():
    answer(3, NEW, "polite")
    answer(2, NEW)
    with fleet_scope():
        rows = [TrafficSlot.objects.get(seconds=s).requests for s in (10, 300)]
        apart = [AdapterSlot.objects.get(seconds=s).requests for s in (10, 300)]
    assert (rows, apart) == ([5, 5], [3, 3])


def test_it_knows_the_adapters_of_one_release_only():
    old, new = (pins_from({"adapters": [pin(n) for n in names]}) for names in ("ab", "bc"))
    assert apart(old, new) == ("a", "c")
    assert apart(new, new) == ()


def pin(name):
    return {"name": name, "path": f"/adapters/{name}", "digest": A}


def test_the_chart_shows_the_share_that_the_gate_sees(service, olga):
    old = make_release(service, digest="e" * 64)
    new = make_release(service, 2, digest="f" * 64, pins={"adapters": [pin("polite")]})
    rollout = Rollout.objects.create(
        service=service, cluster=service.cluster, from_release=old, to_release=new,
        plan_kind="surge_canary", plan={}, steps=[], replicas=1, phase="analyzing",
        phase_since=NOW, look_again=NOW, why="", started_at=NOW,
    )  # fmt: skip
    for release, n, adapter in ((old, 9, ""), (new, 1, ""), (new, 50, "polite")):
        answer(n, release.pk, adapter, service_id=service.pk)
    assert apart_of(rollout) == ("polite",)
    (point,) = traffic_of(olga.viewer, rollout, NOW + timedelta(minutes=1))
    assert (point.share, point.requests_new, point.requests_old) == (0.1, 1, 9)


def test_slots_end_as_those_of_all_requests_do():
    answer(3, NEW, "polite")
    told = trim(NOW + timedelta(hours=9))
    assert (told["adapter_traffic"], told["adapter_latency"]) == (1, 3)
    with fleet_scope():
        assert {row.seconds for row in AdapterSlot.objects.all()} == {300}
        assert AdapterLatencySlot.objects.filter(seconds=10).count() == 0
