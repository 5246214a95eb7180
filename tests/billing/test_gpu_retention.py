"""Intervals of GPUs go when nobody can ask for them again, and no day earlier."""

from datetime import timedelta
from decimal import Decimal

import pytest

from billing.actions.allocation import LOOK_BACK, allocate_due
from billing.actions.gpu_retention import forget_gpu_intervals
from billing.actions.node_prices import set_gpu_prices
from billing.models import Allocation, BillingPeriod
from billing.rules.periods import PeriodState
from fleet.actions import gpu_intervals
from fleet.models import Cluster, GpuInterval, GpuUnit
from tenants.base.scope import fleet_scope
from tests.billing.factories import HOUR, NOW, SYSTEM, make_tenant

pytestmark = pytest.mark.django_db
DAY, KEPT = timedelta(days=1), timedelta(days=90)


@pytest.fixture
def unit():
    with fleet_scope():
        cluster = Cluster.objects.create(slug="dc1", name="DC 1", region="here", gpus_seen_at=NOW)
        return GpuUnit.objects.create(cluster=cluster, node="n1", slot=0)


def interval(unit, starts_at, ends_at):
    return GpuInterval.objects.create(
        unit=unit, product="H100", state="free", starts_at=starts_at, ends_at=ends_at
    )


def period(slug, starts_at, state):
    ends_at = starts_at + 30 * DAY
    with fleet_scope():
        made = BillingPeriod.objects.create(
            tenant_id=make_tenant(slug).pk, name=f"{starts_at:%Y-%m}", time_zone="UTC",
            starts_at=starts_at, ends_at=ends_at,
        )  # fmt: skip
        for made.state in [PeriodState.CLOSING.value] * (state == "closed") + [state]:
            made.save()
        return made


def left():
    with fleet_scope():
        return set(GpuInterval.objects.values_list("pk", flat=True))


def test_what_ended_long_ago_goes_and_what_goes_on_stays(unit):
    edge = NOW - KEPT
    with fleet_scope():
        interval(unit, edge - 9 * DAY, edge - DAY)
        interval(unit, edge - DAY, edge)
        over = interval(unit, edge, edge + DAY)
        still = interval(unit, edge + DAY, None)
    assert forget_gpu_intervals(NOW) == 2
    assert left() == {over.pk, still.pk}
    assert forget_gpu_intervals(NOW) == 0


def test_one_that_began_long_ago_and_goes_on_stays(unit):
    with fleet_scope():
        interval(unit, NOW - 400 * DAY, None)
    assert forget_gpu_intervals(NOW) == 0


@pytest.mark.parametrize(("state", "gone"), [("open", 0), ("closing", 0), ("closed", 1)])
def test_a_month_that_is_not_closed_keeps_its_own(unit, state, gone):
    start = NOW - 200 * DAY
    period("acme", start, state)
    period("globex", start - 30 * DAY, "closed")
    with fleet_scope():
        interval(unit, start, start + DAY)
    assert forget_gpu_intervals(NOW) == gone


def test_no_setting_takes_what_attribution_reads(unit, settings):
    settings.QM_GPU_INTERVAL_DAYS = 1
    with fleet_scope():
        oldest = HOUR - LOOK_BACK
        interval(unit, oldest, oldest + timedelta(minutes=30))
        set_gpu_prices(
            SYSTEM, currency="USD", hourly={"H100": Decimal(2)}, now=NOW, why="tests",
            starts_at=oldest - DAY,
        )  # fmt: skip
    assert forget_gpu_intervals(NOW) == 0
    assert allocate_due(oldest + timedelta(hours=2)) == 1
    with fleet_scope():
        assert [a.amount for a in Allocation.objects.all()] == [Decimal(1)]


def test_it_goes_in_steps(unit, monkeypatch):
    monkeypatch.setattr(gpu_intervals, "MOST", 2)
    with fleet_scope():
        for n in range(3):
            interval(unit, NOW - (200 - n) * DAY, NOW - (199 - n) * DAY)
    assert [forget_gpu_intervals(NOW) for _ in range(3)] == [2, 1, 0]
