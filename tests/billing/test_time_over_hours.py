"""GPU time of requests that run over the end of an hour is caused in both, and charged in one."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db.models import Sum

from billing.actions.allocation import allocate_due
from billing.models import Allocation, AllocationRun, Charge, UsageHour
from billing.queries.checks import run_checks
from billing.rules.prices import read_line
from billing.rules.token_work import Use
from fleet.models import GpuTime
from tenants.base.scope import fleet_scope
from tests.billing.factories import HOUR, load, make_prices, usage
from tests.billing.test_allocation import fleet

pytestmark = pytest.mark.django_db
__all__ = ["fleet"]
BEFORE = HOUR - timedelta(hours=1)
FIVE_PAST = HOUR + timedelta(minutes=5)
LATER = HOUR + timedelta(hours=1, minutes=5)
MINUTE = 60_000  # milliseconds


@pytest.fixture
def service(fleet):
    """In the hour before, too, GPUs served."""
    with fleet_scope():
        GpuTime.objects.create(
            hour=BEFORE, cluster=fleet.cluster, gpu_product="H100", state="serving", service=fleet,
            gpu_ms=3_600_000,
        )  # fmt: skip
    return fleet


def long_one(tenant, service, minutes, *, at=FIVE_PAST, waited=0, **changes):
    """It was in an engine until it ended; before that it waited."""
    took = (minutes + waited) * MINUTE * 1000
    ended = round(at.timestamp() * 1_000_000)
    return usage(
        tenant, at=at, service_id=service.pk, gpu_ms=minutes * MINUTE, started_at=ended - took,
        **changes,
    )  # fmt: skip


def caused():
    """Minutes of GPUs by hour, of tenants."""
    with fleet_scope():
        rows = Allocation.objects.filter(pool__run__is_current=True, kind="tenant")
        sums = rows.values_list("hour").annotate(ms=Sum("weight"))
        return {hour: ms / MINUTE for hour, ms in sums}


@pytest.mark.parametrize(
    ("minutes", "waited", "gpus", "before"),
    [
        (4, 0, 1, 0),
        (5, 30, 1, 0),
        (15, 0, 1, 10),
        (15, 120, 2, 20),
        (65, 0, 1, 60),
        (200, 0, 1, 60),  # what is older than the hour before counts in the last one
    ],
)
def test_an_hour_knows_what_was_before_it(acme, gateway, service, minutes, waited, gpus, before):
    load(gateway, long_one(acme, service, minutes, waited=waited, gpus=gpus), now=LATER)
    with fleet_scope():
        row = UsageHour.objects.get()
    assert (row.gpu_ms, row.before_ms) == (minutes * gpus * MINUTE, before * MINUTE)


def test_each_hour_bears_its_part_and_one_is_charged(acme, gateway, service):
    make_prices(more=[read_line("chat", "gpu_second", "0.001")])
    assert allocate_due(FIVE_PAST + timedelta(seconds=1)) == 2
    load(gateway, long_one(acme, service, 15), now=LATER)
    assert allocate_due(LATER) == 2
    assert caused() == {BEFORE: 10, HOUR: 5}
    with fleet_scope():
        charge = Charge.objects.get(meter="gpu_second")
        assert (charge.hour, charge.quantity) == (HOUR, Decimal(900))
        assert [c for c in run_checks(BEFORE) if not c.holds] == []
    assert allocate_due(LATER + timedelta(minutes=10)) == 0


def test_what_comes_late_is_shared_anew_in_both(acme, gateway, service):
    load(gateway, long_one(acme, service, 15), now=LATER)
    allocate_due(LATER)
    load(gateway, long_one(acme, service, 9), now=LATER + timedelta(hours=1))
    assert allocate_due(LATER + timedelta(hours=2)) == 2
    assert caused() == {BEFORE: 14, HOUR: 10}
    with fleet_scope():
        assert AllocationRun.objects.filter(is_current=True).count() == 2


def test_an_hour_whose_requests_began_in_it_leaves_the_one_before_alone(acme, gateway, service):
    load(gateway, long_one(acme, service, 2), now=LATER)
    allocate_due(LATER)
    load(gateway, long_one(acme, service, 3), now=LATER + timedelta(hours=1))
    assert allocate_due(LATER + timedelta(hours=2)) == 1


def test_hours_in_a_row_read_at_once_know_it_too(acme, gateway, service, monkeypatch):
    """Many tenants of an hour are summed in another way."""
    load(gateway, *(long_one(acme, service, 15) for _ in range(2)), now=LATER)
    with fleet_scope():
        single = UsageHour.objects.get().before_ms
    monkeypatch.setattr("billing.actions.rollup.CROWDED", 1)
    load(gateway, long_one(acme, service, 15), now=LATER)
    with fleet_scope():
        assert (single, UsageHour.objects.get().before_ms) == (20 * MINUTE, 30 * MINUTE)


def test_the_parts_of_a_use_are_the_whole():
    whole = Use(900_000, 1_001, 77, 13)
    part = whole.part(333_333)
    assert part == Use(333_333, 370, 28, 4)
    assert whole.less(part).more(part) == whole
    assert Use(0, 5, 5, 5).part(0) == Use(0)
