"""Cost: tenants + idle + overhead = the fleet's bill, to the last unit, for every hour."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db.models import Sum
from hypothesis import given
from hypothesis import strategies as st

from billing.actions.allocation import allocate_due
from billing.actions.node_prices import set_gpu_prices
from billing.models import Allocation, AllocationRun, CostDay, CostPool
from billing.queries.unit_costs import SERVICE, TENANT, unit_costs
from billing.rules.allocation import (
    Consumer,
    GpuPool,
    allocate_pool,
    pool_cost,
    split,
)
from fleet.models import Cluster, GpuTime, Service
from fleet.rules.gpu_time import doings
from fleet.rules.observation import read_nodes
from tenants.base.scope import fleet_scope, tenant_scope
from tenants.errors import Forbidden, NotFound
from tests.billing.factories import HOUR, NOW, SYSTEM, load, make_prices, usage, viewer
from tests.fleet.fake_cluster import make_node

LATER = HOUR + timedelta(hours=1, minutes=5)
H100 = Decimal("2.60")


@given(
    units=st.integers(0, 10**18),
    weights=st.lists(st.integers(0, 10**12), min_size=1, max_size=30).filter(any),
)
def test_it_splits_to_the_last_unit(units, weights):
    amount = Decimal(units).scaleb(-12)
    shares = split(amount, weights)
    assert sum(shares) == amount
    assert all(s == 0 for s, w in zip(shares, weights, strict=True) if w == 0)
    exact = [amount * w / sum(weights) for w in weights]
    assert all(abs(s - e) <= Decimal("1.1E-12") for s, e in zip(shares, exact, strict=True))


def test_it_refuses_to_split_among_nobody():
    with pytest.raises(ValueError, match="no weight"):
        split(Decimal(1), [0, 0])


pools = st.builds(
    GpuPool,
    cluster=st.just("dc1"),
    product=st.just("H100"),
    state=st.sampled_from(["serving", "loading", "draining", "free", "out"]),
    service_id=st.just(1),
    service=st.just("chat"),
    gpu_ms=st.integers(1, 10**9),
)
used = st.dictionaries(
    st.builds(Consumer, st.integers(1, 3), st.integers(1, 3), st.just("chat")),
    st.integers(0, 10**9),
)


@given(pool=pools, used=used, others=st.integers(0, 10**9))
def test_it_gives_every_pool_away_exactly(pool, used, others):
    cost = pool_cost(pool.gpu_ms, H100)
    shares = allocate_pool(pool, cost, used, pool.gpu_ms + others)
    assert sum(s.amount for s in shares) == cost
    if pool.state != "serving":
        assert {s.kind for s in shares} == {"idle" if pool.state == "free" else "overhead"}


def test_it_calls_time_that_nobody_used_idle():
    pool = GpuPool("dc1", "H100", "serving", 1, "chat", 3_600_000)
    shares = allocate_pool(pool, H100, {Consumer(1, 1, "chat"): 900_000}, 3_600_000)
    assert [(s.kind, s.amount) for s in shares] == [
        ("tenant", Decimal("0.65")),
        ("idle", Decimal("1.95")),
    ]


def test_gpus_of_a_service_that_sleeps_are_free_and_charged_to_nobody():
    """No pod, no GPU time of the service; requests that wait for it have no engine time."""
    nodes = read_nodes([make_node("n", gpus=2, product="H100")], [])
    assert [(d.product, d.state) for d in doings(nodes, [], {}).values()] == [("H100", "free")] * 2
    free = GpuPool("dc1", "H100", "free", 0, "", 2 * 3_600_000)
    shares = allocate_pool(free, 2 * H100, {}, 0)
    assert [(s.kind, s.consumer, s.amount) for s in shares] == [("idle", None, 2 * H100)]


def test_it_shares_all_of_a_busy_pool_by_engine_time():
    pool = GpuPool("dc1", "H100", "serving", 1, "chat", 3_600_000)
    busy = {Consumer(1, 1, "chat"): 9_000_000, Consumer(2, 2, "chat"): 27_000_000}
    shares = allocate_pool(pool, H100, busy, 3_600_000)
    assert [s.amount for s in shares] == [Decimal("0.65"), Decimal("1.95")]


@pytest.fixture
def fleet(db):
    with fleet_scope():
        cluster = Cluster.objects.create(slug="dc1", name="DC 1", region="here")
        service = Service.objects.create(name="chat", cluster=cluster)
        set_gpu_prices(
            SYSTEM,
            currency="USD",
            hourly={"H100": H100},
            starts_at=HOUR - timedelta(days=30),
            now=NOW,
            why="tests",
        )
        for state, ms in (("serving", 3_000_000), ("loading", 500_000), ("free", 3_700_000)):
            GpuTime.objects.create(
                hour=HOUR,
                cluster=cluster,
                gpu_product="H100",
                state=state,
                service=None if state == "free" else service,
                gpu_ms=ms,
            )
    return service


def sums():
    with fleet_scope():
        current = Allocation.objects.filter(pool__run__is_current=True)
        return dict(current.values_list("kind").annotate(s=Sum("amount")))


def test_it_attributes_an_hour_to_tenants_idle_and_overhead(fleet, acme, globex, gateway):
    load(
        gateway,
        usage(acme, service_id=fleet.pk, gpu_ms=1_000_000),
        usage(globex, service_id=fleet.pk, gpu_ms=500_000),
    )
    assert allocate_due(LATER) == 1
    found = sums()
    assert set(found) == {"tenant", "idle", "overhead"}
    with fleet_scope():
        run = AllocationRun.objects.get()
        assert run.cost == H100 * 2 == sum(found.values())
        days = CostDay.objects.aggregate(s=Sum("amount"))["s"]
    assert days == run.cost
    assert found["tenant"] == pool_cost(1_500_000, H100)
    assert found["overhead"] == pool_cost(500_000, H100)


def test_it_writes_nothing_when_nothing_changed(fleet, acme, gateway):
    load(gateway, usage(acme, service_id=fleet.pk))
    assert allocate_due(LATER) == 1
    assert allocate_due(LATER + timedelta(minutes=5)) == 0
    with fleet_scope():
        assert AllocationRun.objects.count() == 1


def test_it_attributes_an_hour_again_when_usage_comes_late(fleet, acme, gateway):
    load(gateway, usage(acme, service_id=fleet.pk))
    allocate_due(LATER)
    load(
        gateway, usage(acme, service_id=fleet.pk, gpu_ms=1_000_000), now=LATER + timedelta(hours=1)
    )
    assert allocate_due(LATER + timedelta(hours=2)) == 1
    with fleet_scope():
        assert AllocationRun.objects.filter(is_current=True).count() == 1
        assert CostDay.objects.aggregate(s=Sum("amount"))["s"] == H100 * 2
        mine = CostDay.objects.get(kind="tenant")
    assert mine.weight == 1_000_700


def test_it_attributes_an_hour_again_when_a_gpu_price_was_wrong(fleet, acme, gateway):
    allocate_due(LATER)
    with fleet_scope():
        set_gpu_prices(
            SYSTEM, currency="USD", hourly={"H100": Decimal(4)}, starts_at=HOUR, now=NOW, why="x"
        )
    assert allocate_due(LATER) == 1
    assert sum(sums().values()) == 8


def test_it_lists_a_product_without_a_price_and_counts_it_nowhere(fleet):
    with fleet_scope():
        GpuTime.objects.create(
            hour=HOUR, cluster=fleet.cluster, gpu_product="L40S", state="free", gpu_ms=1_000
        )
    allocate_due(LATER)
    with fleet_scope():
        assert CostPool.objects.get(product="L40S").cost is None
        assert AllocationRun.objects.get().cost == H100 * 2


def test_it_shows_a_tenant_its_own_share_only(fleet, acme, globex, gateway):
    load(gateway, usage(acme, service_id=fleet.pk))
    allocate_due(LATER)
    with tenant_scope(globex.pk):
        assert not Allocation.objects.exists()
        assert not CostDay.objects.exists()
    with tenant_scope(acme.pk):
        assert {a.kind for a in Allocation.objects.all()} == {"tenant"}


@pytest.mark.django_db(transaction=True)
def test_it_gives_the_same_run_when_a_worker_dies(fleet, acme, gateway, monkeypatch):
    load(gateway, usage(acme, service_id=fleet.pk))

    def die(*_args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("billing.actions.allocation._sum_days", die)
        with pytest.raises(KeyboardInterrupt):
            allocate_due(LATER)
    assert allocate_due(LATER) == 1
    assert sum(sums().values()) == H100 * 2


def units(by):
    with fleet_scope():
        return unit_costs(SYSTEM, HOUR, LATER, by=by)


def test_it_says_what_a_million_tokens_and_a_request_cost(fleet, acme, globex, gateway):
    make_prices()
    used = {"service_id": fleet.pk, "gpu_ms": 600_000}
    load(
        gateway,
        usage(acme, **used),
        usage(acme, **used, outcome="failed", completion_tokens=0, usage_quality="none"),
        usage(globex, **used),
        usage(globex, at=NOW - timedelta(days=2), **used),  # an hour without a known cost
    )
    allocate_due(LATER)
    found = units(TENANT)
    acmes, theirs = found.rows
    assert (acmes.name, acmes.requests, acmes.tokens) == ("acme", 1, 130)
    assert (theirs.name, theirs.requests, theirs.tokens) == ("globex", 1, 130)
    assert round(acmes.cost, 10) == round(2 * theirs.cost, 10), "what failed costs too"
    assert round(acmes.cost, 10) == round(pool_cost(1_200_000, H100), 10)
    assert acmes.per_request == acmes.cost
    assert acmes.per_million == acmes.cost * 1_000_000 / 130
    whole = sum(sums().values())
    assert found.whole.full == whole == H100 * 2
    assert round(acmes.full + theirs.full, 10) == round(whole, 10)
    assert round(acmes.full / theirs.full, 10) == 2, "idle and overhead follow what was caused"
    (chat,) = units(SERVICE).rows
    assert (chat.name, chat.requests, chat.tokens) == ("chat", 2, 260)
    assert (chat.cost, chat.charged) == (found.whole.cost, Decimal("0.000154"))


def test_nothing_that_was_answered_has_no_price_of_one(fleet, acme, gateway):
    load(gateway, usage(acme, service_id=fleet.pk, outcome="failed", usage_quality="none"))
    allocate_due(LATER)
    (row,) = units(TENANT).rows
    assert row.cost > 0
    assert row.per_million is row.full_per_million is row.charged_per_million is None
    assert row.per_request is row.full_per_thousand is None


def test_unit_costs_are_of_the_fleet_and_for_those_who_see_its_money(fleet, acme):
    for who, refusal in (viewer("finance", acme), NotFound), (viewer("viewer"), Forbidden):
        with fleet_scope(), pytest.raises(refusal):
            unit_costs(who, HOUR, LATER, by=TENANT)
