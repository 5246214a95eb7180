"""Reserved GPUs: what their owner does not use is the owner's, and no unit of cost is lost."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db.models import Sum
from hypothesis import given
from hypothesis import strategies as st

from billing.actions.allocation import allocate_due
from billing.actions.node_prices import set_gpu_prices
from billing.actions.reservations import end_reservation, reserve_gpus
from billing.models import Allocation, AllocationRun, CostDay, CostPool
from billing.queries.checks import run_checks
from billing.queries.reservations import idle_costs, list_reservations
from billing.rules.allocation import Consumer, GpuPool, allocate_pool, pool_cost
from billing.rules.reservations import RESERVED_IDLE, Reservation, apportion, charge_owners
from fleet.models import Cluster, GpuTime, Service
from tenants.base.scope import fleet_scope, tenant_scope
from tenants.errors import Conflict, Forbidden, Invalid, NotFound, Stale
from tenants.models import AuditEvent
from tests.billing.factories import HOUR, NOW, SYSTEM, load, usage

HOUR_MS = 3_600_000
PRICE = Decimal("2.60")
LATER = HOUR + timedelta(hours=1, minutes=5)


def cut(pool, used=None):
    shares = allocate_pool(pool, pool_cost(pool.gpu_ms, PRICE), used or {}, pool.gpu_ms)
    return pool, shares


def free(ms, cluster="dc1", node_pool="", product="H100"):
    return cut(GpuPool(cluster, product, "free", 0, "", ms, node_pool))


def serving(ms, used):
    consumers = {Consumer(tenant, 9, "chat"): own for tenant, own in used.items()}
    return cut(GpuPool("dc1", "H100", "serving", 1, "chat", ms), consumers)


def reserved(tenant=1, gpus=1, pk=1, **where):
    return Reservation(
        pk, tenant, where.get("product", "H100"), where.get("cluster", ""),
        where.get("node_pool", ""), gpus,
    )  # fmt: skip


def owned(pools, *reservations):
    """By tenant, with None for idle: milliseconds."""
    found = {}
    for shares in charge_owners(pools, reservations, HOUR_MS):
        for share in shares:
            if share.kind == "idle" or share.model == RESERVED_IDLE:
                key = share.consumer.tenant_id if share.consumer else None
                found[key] = found.get(key, 0) + share.weight
    return found


def test_free_gpus_within_a_reservation_are_its_owners():
    assert owned([free(3 * HOUR_MS)], reserved(gpus=2)) == {1: 2 * HOUR_MS, None: HOUR_MS}


def test_what_the_owner_used_is_not_idle():
    pools = [serving(HOUR_MS, {1: HOUR_MS // 4}), free(HOUR_MS)]
    assert owned(pools, reserved(gpus=1)) == {1: HOUR_MS * 3 // 4, None: HOUR_MS}


def test_what_others_use_of_reserved_gpus_is_nobodys_idle_time():
    pools = [serving(HOUR_MS, {2: HOUR_MS})]
    assert owned(pools, reserved(gpus=1)) == {}


def test_it_is_of_its_own_product_and_nodes_only():
    pools = [free(HOUR_MS, product="A100"), free(HOUR_MS, "dc2"), free(HOUR_MS, "dc1", "other")]
    there = reserved(gpus=8, cluster="dc1", node_pool="mine")
    assert owned(pools, there) == {None: 3 * HOUR_MS}


def test_owners_who_want_more_than_there_is_get_their_parts():
    pools = [free(HOUR_MS)]
    found = owned(pools, reserved(1, 1, pk=1), reserved(2, 3, pk=2))
    assert found == {1: HOUR_MS // 4, 2: HOUR_MS * 3 // 4}


def test_use_counts_once_for_two_reservations_of_one_tenant():
    pools = [serving(2 * HOUR_MS, {1: HOUR_MS})]
    found = owned(pools, reserved(pk=1), reserved(pk=2, cluster="dc1"))
    assert found == {1: HOUR_MS}


milliseconds = st.integers(0, 10 * HOUR_MS)
pools_of = st.lists(
    st.one_of(
        st.builds(free, milliseconds, st.sampled_from(["dc1", "dc2"])),
        st.builds(
            serving,
            st.integers(1, 10 * HOUR_MS),
            st.dictionaries(st.integers(1, 3), milliseconds, max_size=3),
        ),
    ),
    max_size=5,
)
reservations_of = st.lists(
    st.tuples(st.integers(1, 3), st.integers(1, 9), st.sampled_from(["", "dc1"])), max_size=4
)


@given(pools=pools_of, wanted=reservations_of)
def test_shares_of_each_pool_still_add_up_to_it(pools, wanted):
    held = [reserved(t, n, pk, cluster=c) for pk, (t, n, c) in enumerate(wanted, 1)]
    found = charge_owners(pools, held, HOUR_MS)
    for (pool, before), after in zip(pools, found, strict=True):
        assert sum(s.amount for s in after) == pool_cost(pool.gpu_ms, PRICE)
        assert sum(s.weight for s in after) == sum(s.weight for s in before)
        assert all(s.weight >= 0 for s in after)
        kept = [s for s in before if s.kind != "idle"]
        assert [s for s in after if s.kind != "idle" and s.model != RESERVED_IDLE] == kept
    idle = sum(s.weight for shares in found for s in shares if s.model == RESERVED_IDLE)
    assert idle <= sum(one.gpus for one in held) * HOUR_MS


@given(total=st.integers(0, 10**12), wants=st.lists(st.integers(0, 10**12), max_size=9))
def test_it_gives_what_is_wanted_or_all_there_is(total, wants):
    parts = apportion(total, wants)
    assert sum(parts) == min(total, sum(wants))
    assert all(0 <= part <= want for part, want in zip(parts, wants, strict=True))


@pytest.fixture
def fleet(db):
    with fleet_scope():
        cluster = Cluster.objects.create(slug="dc1", name="DC 1", region="here")
        service = Service.objects.create(name="chat", cluster=cluster)
        set_gpu_prices(
            SYSTEM, currency="USD", hourly={"H100": PRICE}, starts_at=HOUR - timedelta(days=30),
            now=NOW, why="tests",
        )  # fmt: skip
        for state, of, ms in (("serving", service, HOUR_MS), ("free", None, 2 * HOUR_MS)):
            GpuTime.objects.create(
                hour=HOUR, cluster=cluster, gpu_product="H100", state=state, service=of, gpu_ms=ms
            )
    return service


def reserve(tenant, **changes):
    given = {
        "tenant_id": tenant.id, "product": "H100", "gpus": 2, "starts_at": HOUR, "now": NOW,
        "why": "contract",
    } | changes  # fmt: skip
    with fleet_scope():
        return reserve_gpus(SYSTEM, **given)


def idle_of(tenant):
    with fleet_scope():
        rows = Allocation.objects.filter(pool__run__is_current=True, model=RESERVED_IDLE)
        return rows.filter(tenant_id=tenant.id).aggregate(s=Sum("amount"))["s"]


def test_an_hour_is_attributed_again_when_gpus_were_reserved_in_it(fleet, acme, gateway):
    load(gateway, usage(acme, service_id=fleet.pk, gpu_ms=HOUR_MS // 2))
    assert allocate_due(LATER) == 1
    assert idle_of(acme) is None
    reserve(acme)
    assert allocate_due(LATER + timedelta(days=30)) == 1
    assert idle_of(acme) == PRICE * 3 / 2
    with fleet_scope():
        assert AllocationRun.objects.get(is_current=True).cost == 3 * PRICE
        assert CostDay.objects.aggregate(s=Sum("amount"))["s"] == 3 * PRICE
        whole = CostPool.objects.filter(run__is_current=True).aggregate(s=Sum("cost"))["s"]
        assert whole == 3 * PRICE
        (line,) = idle_costs(SYSTEM, now=HOUR + timedelta(days=1))
        assert (line.tenant_id, line.amount) == (acme.id, PRICE * 3 / 2)
        wrong = [c for c in run_checks(HOUR - timedelta(days=1)) if not c.holds]
    assert not [c.sentence for c in wrong if "cost" in c.sentence or "pools" in c.sentence]


def test_it_is_of_full_hours_and_says_why(acme):
    for wrong in (
        {"starts_at": HOUR + timedelta(minutes=1)},
        {"ends_at": HOUR},
        {"gpus": 0},
        {"product": ""},
        {"why": " "},
    ):
        with pytest.raises(Invalid):
            reserve(acme, **wrong)


def test_it_ends_at_the_next_full_hour_at_the_earliest_and_once(acme):
    row = reserve(acme)
    now = HOUR + timedelta(hours=3, minutes=20)
    with fleet_scope():
        with pytest.raises(Invalid):
            end_reservation(SYSTEM, row.pk, ends_at=HOUR + timedelta(hours=3), now=now)
        end = HOUR + timedelta(hours=4)
        with pytest.raises(Stale):
            end_reservation(SYSTEM, row.pk, ends_at=end, now=now, expected=7)
        end_reservation(SYSTEM, row.pk, ends_at=end, now=now, expected=1, why="over")
        with pytest.raises(Conflict):
            end_reservation(SYSTEM, row.pk, ends_at=end, now=end)
        kinds = AuditEvent.objects.filter(verb__startswith="gpu_reservation")
        assert set(kinds.values_list("verb", "tenant_id")) == {
            ("gpu_reservation.create", acme.id),
            ("gpu_reservation.end", acme.id),
        }


def test_a_tenant_sees_its_own_and_changes_none(acme, globex, mallory):
    row = reserve(acme)
    theirs = reserve(globex, gpus=1)
    with tenant_scope(globex.id):
        stranger = mallory
        assert [r.pk for r in list_reservations(stranger)] == [theirs.pk]
        with pytest.raises((Forbidden, NotFound)):
            end_reservation(
                stranger, theirs.pk, ends_at=HOUR + timedelta(hours=9), now=NOW, expected=1
            )
        with pytest.raises((Forbidden, NotFound)):
            list_reservations(stranger, acme.id)
    assert row.pk != theirs.pk
