"""All that the fleet costs is somebody's: by tenant, service and release, to the last unit."""

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from django.db.models import Sum
from hypothesis import given
from hypothesis import strategies as st

from billing.actions.allocation import allocate_due
from billing.actions.node_prices import set_gpu_prices
from billing.actions.other_costs import import_other_costs
from billing.models import Allocation, CostPool
from billing.queries.economics import economics
from billing.queries.release_margins import release_margins
from billing.queries.unit_costs import SERVICE, TENANT, unit_costs
from billing.rules.allocation import spread_over
from billing.rules.other_costs import COLUMNS, Line, spread, tokens_by
from fleet.models import Cluster, GpuTime, Service
from tenants.base.scope import fleet_scope
from tests.billing.factories import HOUR, NOW, SYSTEM, load, make_prices, usage

LATER = HOUR + timedelta(hours=1, minutes=5)
PRICE = Decimal("2.61")
money = st.integers(0, 10**16).map(lambda units: Decimal(units).scaleb(-12))


@given(amount=money, direct=st.dictionaries(st.integers(1, 40), money, max_size=25))
def test_parts_of_idle_and_overhead_are_all_of_it(amount, direct):
    parts = spread_over(amount, direct)
    whole = sum(direct.values())
    assert sum(parts.values()) == (amount if whole else 0)
    for key, part in parts.items():
        exact = Fraction(amount) * Fraction(direct[key]) / Fraction(whole)
        assert abs(Fraction(part) - exact) < Fraction(1, 10**12)
    if whole and amount:
        assert sum(Fraction(part) / Fraction(amount) for part in parts.values()) == 1


usages = st.lists(
    st.tuples(
        st.sampled_from(["chat", "code"]),
        st.sampled_from(["", "Example AI", "Other"]),
        st.integers(1, 3),
        st.sampled_from(["rel-a", "rel-b", ""]),
        st.integers(0, 10**9),
    ),
    max_size=12,
)
bills = st.lists(
    st.tuples(
        st.sampled_from(["platform", "hosted"]),
        st.sampled_from(["Example AI: Chat", "Other", "Nobody"]),
        st.sampled_from(["", "chat", "code", "ghost"]),
        st.integers(-(10**15), 10**15).map(lambda units: Decimal(units).scaleb(-12)),
    ),
    max_size=6,
)
direct_costs = st.dictionaries(
    st.tuples(st.integers(1, 3), st.sampled_from(["chat", "code"]), st.just("rel-a")), money
)


@given(rows=usages, bills=bills, direct=direct_costs)
def test_tenants_services_and_releases_bear_the_same_sum(rows, bills, direct):
    lines = [
        (Line(HOUR, LATER, kind, name, model, "USD", part), part)
        for kind, name, model, part in bills
    ]
    keys = {
        "tenant": (lambda m, t, r: t),
        "service": (lambda m, t, r: m),
        "release": (lambda m, t, r: (m, r)),
    }
    found = {}
    for name, key in keys.items():
        costs = {}
        for (tenant, model, release), cost in direct.items():
            of = key(model, tenant, release)
            costs[of] = costs.get(of, Decimal(0)) + cost
        tokens = tokens_by(
            [(m, key(m, t, r), n) for m, _, t, r, n in rows],
            [(m, by, key(m, t, r), n) for m, by, t, r, n in rows if by],
        )
        found[name] = spread(lines, costs, tokens)
        borne = sum(found[name].parts.values()) + found[name].unallocated
        assert borne == sum(part for _, part in lines)
    assert len({s.unallocated for s in found.values()}) == 1


@pytest.fixture
def fleet(acme, globex, gateway):
    """Own engines in one hour; one provider answered for both services, another one for nobody."""
    make_prices()
    with fleet_scope():
        cluster = Cluster.objects.create(slug="dc1", name="DC", region="here")
        service = Service.objects.create(name="chat", cluster=cluster)
        start = HOUR - timedelta(days=30)
        set_gpu_prices(
            SYSTEM, currency="USD", hourly={"H100": PRICE}, starts_at=start, now=NOW, why="x"
        )
        for state, of, ms in (("serving", service, 3_600_000), ("free", None, 1_234_567)):
            GpuTime.objects.create(
                hour=HOUR, cluster=cluster, gpu_product="H100", state=state, service=of, gpu_ms=ms
            )
    own = {"service_id": service.pk, "release": "rel-own"}
    away = {"service_id": service.pk, "release": "rel-away", "hosted": "Example AI"}
    load(
        gateway,
        usage(acme, **own, gpu_ms=700_000),
        usage(globex, **own, gpu_ms=333_333),
        usage(acme, **away, prompt_tokens=300, completion_tokens=0),
        usage(globex, **away, model="code", prompt_tokens=100, completion_tokens=0),
    )
    allocate_due(LATER)
    with fleet_scope():
        rows = (
            "platform,Gateways,,USD,720",
            "hosted,Example AI: Chat,,USD,288",
            "hosted,Example AI: Chat,code,USD,72",
            "hosted,Quiet AI,,USD,36",
            "hosted,Quiet AI: Code,ghost,USD,7.2",
        )
        text = "\n".join((",".join(COLUMNS), *(f"2026-11-01,2026-12-01,{row}" for row in rows)))
        import_other_costs(SYSTEM, text, now=NOW)


def test_a_providers_bill_is_of_what_it_answered(fleet, acme, globex):
    with fleet_scope():
        found = economics(SYSTEM, HOUR, LATER, now=LATER)
    services = {m.name: m.other for m in found.models}
    # 0.4 by tokens, 0.1 of code alone; the platform, and what nobody answered, by what GPUs did.
    assert services == {"chat": Decimal("1.05") + Decimal("0.3"), "code": Decimal("0.2")}
    assert found.other.unallocated == Decimal("0.01")
    assert {m.name: m.other for m in found.tenants}["globex"] > Decimal("0.2")


def test_everything_adds_up_by_tenant_service_and_release(fleet):
    with fleet_scope():
        found = economics(SYSTEM, HOUR, LATER, now=LATER)
        releases = release_margins(SYSTEM, HOUR, LATER)
        units = {by: unit_costs(SYSTEM, HOUR, LATER, by=by) for by in (TENANT, SERVICE)}
    borne = found.other.whole - found.other.unallocated
    for margins in (found.tenants, found.models):
        assert sum(m.other for m in margins) == borne
        assert sum(m.idle_share for m in margins) == found.idle > 0
        assert sum(m.overhead_share for m in margins) == found.overhead
        assert sum(m.net for m in margins) == found.margin + found.other.unallocated
    assert releases.whole.other == borne
    assert {row.release for row in releases.rows} == {"rel-own", "rel-away"}
    assert releases.whole.margin == found.charged - found.attributed - borne
    for unit in units.values():
        assert unit.whole.full == found.whole
        assert sum(row.full for row in unit.rows) == found.whole - found.other.unallocated


def test_the_ratios_of_each_origin_are_one(fleet):
    with fleet_scope():
        for pool in CostPool.objects.exclude(cost=0).exclude(cost=None):
            shares = Allocation.objects.filter(pool=pool).values_list("amount", flat=True)
            assert sum(Fraction(a) / Fraction(pool.cost) for a in shares) == 1
        assert CostPool.objects.aggregate(s=Sum("cost"))["s"] > 0
