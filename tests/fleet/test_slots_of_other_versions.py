"""Workers of two versions write and read the same slots for as long as one replaces the other."""

from datetime import UTC, datetime, timedelta

import pytest

from fleet.actions.traffic import record
from fleet.models import LatencySlot
from fleet.queries.comparison import compare
from fleet.queries.traffic import window
from fleet.rules.gate_limits import GateLimits
from fleet.rules.gates import Look, read_gate
from fleet.rules.phases import Verdict
from fleet.rules.soak_gate import baseline_of, read_soak
from fleet.rules.traffic import TrafficSample
from tenants.base.scope import fleet_scope

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
OLD, NEW, SERVICE = 3, 4, 2
BOUNDS = NOW, NOW + timedelta(seconds=60)
LATER = "later"  # a metric that this version does not know


@pytest.fixture(autouse=True)
def answers():
    with fleet_scope():
        for release in (OLD, NEW):
            sample = TrafficSample(
                NOW + timedelta(seconds=11), 1, SERVICE, release, "interactive", "served",
                ttft_ms=40.0, itl_ms=8.0, completion_tokens=5, gpu_ms=50, finish="stop",
            )  # fmt: skip
            record([sample] * 100, now=NOW)


def compared():
    return compare(SERVICE, NEW, OLD, BOUNDS, lambda *_: True)


def test_what_an_older_version_did_not_measure_has_no_samples_and_fails_nothing():
    before = baseline_of(compared(), GateLimits())
    with fleet_scope():
        gone, _ = LatencySlot.objects.filter(metric__in=("gpu", "finish", "waking")).delete()
    assert gone
    found = compared()
    for side in (found.canary, found.stable, window(SERVICE, NEW, *BOUNDS)):
        assert (side.requests, side.ttft.total) == (100, 100)
        assert (side.gpu.total, side.finish.total, side.gpu.quantile(0.5)) == (0, 0, None)
    kept = baseline_of(found, GateLimits())
    assert before[""].keys() - kept[""].keys() == {"gpu_p50", "aborted", "length"}
    for baseline in (before, kept):
        assert read_soak(found, baseline, GateLimits(), Look(1)).verdict is Verdict.PASS


@pytest.mark.parametrize("measured", [(), (OLD,), (NEW,)], ids=["neither", "old", "new"])
def test_a_gate_passes_on_what_both_sides_measured(measured):
    with fleet_scope():
        rows = LatencySlot.objects.filter(metric__in=("gpu", "finish"))
        assert rows.exclude(release_id__in=measured).delete()[0]
    reading = read_gate(compared(), 100, GateLimits())
    assert reading.verdict is Verdict.PASS, reading.why


def test_what_a_newer_version_measures_too_is_passed_over():
    before = compared(), window(SERVICE, NEW, *BOUNDS)
    with fleet_scope():
        for row in LatencySlot.objects.filter(metric="ttft"):
            row.pk, row.metric = None, LATER
            row.save(force_insert=True)
        assert LatencySlot.objects.filter(metric=LATER).exists()
    assert (compared(), window(SERVICE, NEW, *BOUNDS)) == before
