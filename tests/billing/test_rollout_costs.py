"""What rollouts and idle GPUs cost, at the prices of their hours."""

from datetime import timedelta
from decimal import Decimal

import pytest

from billing.actions.allocation import allocate_due
from billing.actions.node_prices import set_gpu_prices
from billing.queries.drill_costs import drill_costs
from billing.queries.economics import economics
from billing.queries.idle_costs import idle_costs
from billing.queries.rollout_costs import rollout_cost, rollout_costs
from fleet.models import Drill, GpuTime, Rollout, RolloutGpuTime
from tenants.base.scope import fleet_scope
from tenants.errors import Forbidden, NotFound
from tests.billing.factories import HOUR, NOW, SYSTEM, load, usage, viewer
from tests.fleet.makers import make_cluster, make_release, make_service

pytestmark = pytest.mark.django_db
NEXT = HOUR + timedelta(hours=1)
LATER = HOUR + timedelta(hours=2, minutes=5)


@pytest.fixture
def rollout():
    """Half a GPU hour on top in each of two hours; the GPU got dearer between them."""
    with fleet_scope():
        cluster, service = make_cluster("dc1"), make_service("chat")
        old, new = make_release(service, 1, "a" * 64), make_release(service, 2, "b" * 64)
        for start, hourly in ((HOUR - timedelta(days=3), "2"), (NEXT, "3")):
            set_gpu_prices(
                SYSTEM, currency="USD", hourly={"H100": Decimal(hourly)}, starts_at=start,
                now=NOW, why="tests",
            )  # fmt: skip
        made = Rollout.objects.create(
            service=service, cluster=cluster, from_release=old, to_release=new,
            plan_kind="surge_canary", plan={}, steps=[], replicas=2, phase="succeeded",
            phase_since=NOW, started_at=HOUR, ended_at=NEXT,
        )  # fmt: skip
        for hour in HOUR, NEXT:
            GpuTime.objects.create(
                hour=hour, cluster=cluster, gpu_product="H100", state="serving",
                service=service, gpu_ms=3_600_000,
            )  # fmt: skip
            GpuTime.objects.create(
                hour=hour, cluster=cluster, gpu_product="H100", state="free", gpu_ms=1_800_000
            )
            RolloutGpuTime.objects.create(
                rollout=made, hour=hour, gpu_product="H100", gpu_ms=1_800_000
            )
    return made


def test_a_rollout_costs_what_its_gpus_cost_in_their_hours(rollout):
    assert allocate_due(LATER) == 2
    with fleet_scope():
        found = rollout_cost(SYSTEM, rollout.pk)
        (listed,) = rollout_costs(SYSTEM, HOUR, LATER)
        (part,) = rollout_costs(SYSTEM, NEXT, LATER)
    assert (found.cost, found.currency, found.unpriced_ms) == (Decimal("2.5"), "USD", 0)
    assert found.gpu_hours == 1
    assert listed == found
    assert part.cost == Decimal("1.5")


def test_hours_without_a_known_cost_are_never_free(rollout):
    with fleet_scope():
        found = rollout_cost(SYSTEM, rollout.pk)
        assert (found.cost, found.currency, found.unpriced_ms) == (0, "", 3_600_000)
        assert rollout_cost(SYSTEM, rollout.pk + 1) is None


def test_idle_is_listed_by_who_held_it_and_adds_up(rollout, acme, gateway):
    load(gateway, usage(acme, service_id=rollout.service_id, gpu_ms=900_000))
    allocate_due(LATER)
    with fleet_scope():
        _, found = idle_costs(SYSTEM, HOUR, LATER)
        whole = economics(SYSTEM, HOUR, LATER, now=LATER)
    assert sum(row.amount for row in found) == whole.idle
    assert {(row.model, row.state) for row in found} == {("chat", "serving"), ("", "free")}


def test_finance_of_the_fleet_sees_them_without_seeing_rollouts(rollout):
    allocate_due(LATER)
    with fleet_scope():
        assert rollout_cost(viewer("finance"), rollout.pk).cost == Decimal("2.5")


def test_only_the_fleets_people_see_them(rollout, acme):
    for somebody in (viewer("finance", acme), viewer("viewer")):
        with fleet_scope(), pytest.raises((Forbidden, NotFound)):
            rollout_costs(somebody, HOUR, LATER)
        with fleet_scope(), pytest.raises((Forbidden, NotFound)):
            idle_costs(somebody, HOUR, LATER)


def test_a_drill_costs_what_its_rollout_costs(rollout):
    allocate_due(LATER)
    with fleet_scope():
        assert drill_costs(SYSTEM, HOUR, LATER) == []
        drill = Drill.objects.create(
            service=rollout.service, rollout=rollout, moment="soaking", limits={}, promise={}
        )
        (found,) = drill_costs(viewer("finance"), HOUR, LATER)
        assert (found.label, found.cost_of) == (str(drill), rollout_cost(SYSTEM, rollout.pk))
        assert found.cost_of.cost == Decimal("2.5")
