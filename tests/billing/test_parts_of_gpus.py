"""Parts of GPUs: an engine on a slice uses the slice, and what it leaves of that is idle."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db.models import Sum
from hypothesis import given
from hypothesis import strategies as st

from billing.actions.allocation import allocate_due
from billing.actions.node_prices import set_gpu_prices
from billing.models import Allocation, AllocationRun
from billing.rules.allocation import Consumer, GpuPool, allocate_pool, pool_cost, serving_ms
from billing.rules.token_work import Use, Weights, allocate_work
from fleet.models import Cluster, GpuInterval, GpuUnit, Service
from tenants.base.scope import fleet_scope
from tests.billing.factories import HOUR, NOW, SYSTEM, load, usage

HOUR_MS = 3_600_000
SEVENTH = HOUR_MS // 7
LATER = HOUR + timedelta(hours=1, minutes=5)
ONE, TWO = Consumer(1, 1, "chat", "r1"), Consumer(2, 2, "chat", "r1")


def pool(gpu_ms, device_ms, **where):
    return GpuPool("dc1", "H100", "serving", 1, "chat", gpu_ms, device_ms=device_ms, **where)


def used_of(pools, used):
    """GPU time of tenants by pool, and of nobody."""
    whole = serving_ms(pools)[1, False]
    found = []
    for one in pools:
        shares = allocate_pool(one, pool_cost(one.gpu_ms, Decimal("2.60")), used, whole)
        assert sum(s.amount for s in shares) == pool_cost(one.gpu_ms, Decimal("2.60"))
        found.append([(s.kind, s.weight) for s in shares])
    return found


def test_a_slice_that_works_half_of_the_hour_is_half_idle():
    (shares,) = used_of([pool(SEVENTH, HOUR_MS)], {ONE: HOUR_MS // 2})
    assert shares == [("tenant", SEVENTH // 2), ("idle", SEVENTH - SEVENTH // 2)]


def test_a_service_on_a_whole_gpu_and_on_a_slice_shares_its_time_by_engines():
    """Both engines worked for half of the hour: half of each is idle."""
    pools = [pool(HOUR_MS, HOUR_MS), pool(SEVENTH, HOUR_MS, profile="1g.10gb")]
    whole, part = used_of(pools, {ONE: HOUR_MS})
    assert whole == [("tenant", HOUR_MS // 2), ("idle", HOUR_MS // 2)]
    assert part == [("tenant", SEVENTH // 2), ("idle", SEVENTH - SEVENTH // 2)]


def test_whole_gpus_are_shared_as_they_were():
    (shares,) = used_of([pool(HOUR_MS, 0)], {ONE: HOUR_MS // 4})
    assert shares == [("tenant", HOUR_MS // 4), ("idle", HOUR_MS - HOUR_MS // 4)]
    assert repr(pool(1, 0)) == repr(pool(1, 7)), "hours keep the digest of their inputs"


def test_token_work_on_a_slice_leaves_idle_what_it_did_not_use():
    one = pool(SEVENTH, HOUR_MS)
    used = {ONE: Use(HOUR_MS // 4, 100, 0, 100), TWO: Use(HOUR_MS // 4, 100, 0, 100)}
    cost = pool_cost(SEVENTH, Decimal("2.60"))
    shares = allocate_work(one, cost, used, serving_ms([one])[1, False], {"r1": Weights(1, 1)})
    assert sum(s.amount for s in shares) == cost
    idle = next(s.weight for s in shares if s.kind == "idle")
    assert abs(idle - SEVENTH // 2) <= 1


@given(
    parts=st.lists(st.tuples(st.integers(1, HOUR_MS), st.integers(1, 7)), min_size=1, max_size=5),
    used=st.integers(0, 5 * HOUR_MS),
)
def test_no_pool_is_used_more_than_it_is_there_while_its_engines_are_not(parts, used):
    pools = [pool(max(1, ms * n // 7), ms) for ms, n in parts]
    whole = sum(ms for ms, _ in parts)
    found = used_of(pools, {ONE: min(used, whole)})
    for one, shares in zip(pools, found, strict=True):
        assert sum(weight for _, weight in shares) == one.gpu_ms


@pytest.mark.django_db
def test_an_hour_of_a_slice_is_shared_by_what_kubernetes_ran(acme, gateway):
    with fleet_scope():
        cluster = Cluster.objects.create(
            slug="dc1", name="DC 1", region="here", gpus_seen_at=HOUR + timedelta(hours=1)
        )
        service = Service.objects.create(name="chat", cluster=cluster)
        for slot, state in enumerate(("serving", "free")):
            unit = GpuUnit.objects.create(cluster=cluster, node="h1", profile="1g.10gb", slot=slot)
            GpuInterval.objects.create(
                unit=unit, product="H100", parts=1, whole=7, capacity="owned", state=state,
                service=service if state == "serving" else None, starts_at=HOUR,
            )  # fmt: skip
        set_gpu_prices(
            SYSTEM, currency="USD", hourly={"H100": Decimal(7)}, starts_at=HOUR, now=NOW, why="x"
        )
    load(gateway, usage(acme, service_id=service.pk, gpu_ms=HOUR_MS // 2,
                        started_at=round(HOUR.timestamp() * 1_000_000)))  # fmt: skip
    assert allocate_due(LATER) == 1
    with fleet_scope():
        sums = Allocation.objects.values_list("kind").annotate(s=Sum("amount"))
        found = {kind: round(amount, 5) for kind, amount in sums}
        assert found == {"tenant": Decimal("0.5"), "idle": Decimal("1.5")}
        assert AllocationRun.objects.get().gpu_ms == 2 * 514_286
